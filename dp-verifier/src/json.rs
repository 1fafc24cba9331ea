//! JSON, read strictly: what two readers could understand differently is refused.
//!
//! # Design
//!
//! A reader of our own, because serde_json cannot be made strict from outside: it skips the UTF-8
//! check in members it ignores, lets the last of two equal names win, reads arrays as structs by
//! position, and changes how numbers arrive when any crate of the host's build turns on
//! `arbitrary_precision`. Here every name is unique (RFC 8259 §4 leaves that open, RFC 7515 §4 and
//! RFC 7519 §4 ask for it), nesting is bounded, and the whole text is UTF-8 (RFC 8259 §8.1).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

/// How many objects and arrays may be open at once.
const MAX_DEPTH: usize = 64;

/// Why a text is not what was asked for, and where.
#[derive(Debug)]
pub(crate) struct Fault {
    /// The members that lead to the place, outermost first, joined by dots; empty at the top.
    path: String,
    what: &'static str,
}

impl Fault {
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { path: String::new(), what }
    }

    /// The same fault, seen from the object that has `member`.
    pub(crate) fn within(mut self, member: &str) -> Self {
        self.path = match self.path.as_str() {
            "" => member.to_owned(),
            path => format!("{member}.{path}"),
        };
        self
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(self.what),
            path => write!(f, "{path}: {}", self.what),
        }
    }
}

type Result<T, E = Fault> = std::result::Result<T, E>;

/// Something that can be read from JSON.
pub(crate) trait Read<'a>: Sized {
    /// Reads one value.
    fn read(reader: &mut Reader<'a>) -> Result<Self>;

    /// What an absent member means; `None` when the member is required.
    fn absent() -> Option<Self> {
        None
    }
}

/// Reads a whole document of one value.
pub(crate) fn document<'a, T: Read<'a>>(bytes: &'a [u8]) -> Result<T> {
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::new("is not UTF-8"))?;
    let mut reader = Reader { rest: text, room: MAX_DEPTH };
    let value = T::read(&mut reader)?;
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(Fault::new("goes on after its end")),
    }
}

/// A position in a JSON text.
pub(crate) struct Reader<'a> {
    rest: &'a str,
    room: usize,
}

impl<'a> Reader<'a> {
    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        let first = *self.rest.as_bytes().first()?;
        if !is_space(first) {
            return Some(first);
        }
        self.rest = self.rest.trim_start_matches([' ', '\n', '\r', '\t']);
        self.rest.as_bytes().first().copied()
    }

    /// Takes the next byte that is not white space when it is `byte`, which is ASCII.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.skip(1);
        }
        found
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn literal(&mut self, literal: &str) -> Result<()> {
        match self.rest.strip_prefix(literal) {
            Some(rest) => self.rest = rest,
            None => return Err(NOT_JSON),
        }
        Ok(())
    }

    /// Takes `null` when it comes next.
    pub(crate) fn null(&mut self) -> Result<bool> {
        let found = self.peek() == Some(b'n');
        if found {
            self.literal("null")?;
        }
        Ok(found)
    }

    /// Reads an object, calling `member` at the value of each of its members.
    ///
    /// It is for `member` to see that names are unique, since it keeps what was read.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Result<()>,
    ) -> Result<()> {
        if !self.take(b'{') {
            return Err(Fault::new("must be an object"));
        }
        self.enter()?;
        if !self.take(b'}') {
            loop {
                if !self.at_string() {
                    return Err(NOT_JSON);
                }
                let name = self.string()?;
                if !self.take(b':') {
                    return Err(NOT_JSON);
                }
                member(self, name)?;
                if self.take(b'}') {
                    break;
                }
                if !self.take(b',') {
                    return Err(NOT_JSON);
                }
            }
        }
        self.leave();
        Ok(())
    }

    fn array(&mut self) -> Result<Vec<Value>> {
        if !self.take(b'[') {
            return Err(Fault::new("must be an array"));
        }
        self.enter()?;
        let mut items = Vec::new();
        if !self.take(b']') {
            loop {
                items.push(Value::read(self)?);
                if self.take(b']') {
                    break;
                }
                if !self.take(b',') {
                    return Err(NOT_JSON);
                }
            }
        }
        self.leave();
        Ok(items)
    }

    fn enter(&mut self) -> Result<()> {
        self.room = self.room.checked_sub(1).ok_or(Fault::new("is nested too deeply"))?;
        Ok(())
    }

    fn leave(&mut self) {
        self.room = self.room.saturating_add(1);
    }

    /// Whether a string comes next.
    pub(crate) fn at_string(&mut self) -> bool {
        self.peek() == Some(b'"')
    }

    /// Reads a string, borrowing it from the text when it has no escapes.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>> {
        if !self.take(b'"') {
            return Err(Fault::new("must be a string"));
        }
        let plain = self.plain()?;
        if self.rest.starts_with('"') {
            self.skip(1);
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        loop {
            if self.rest.starts_with('"') {
                self.skip(1);
                return Ok(Cow::Owned(text));
            }
            text.push(self.escape()?);
            text.push_str(self.plain()?);
        }
    }

    /// Takes the characters up to the next quote or backslash.
    fn plain(&mut self) -> Result<&'a str> {
        let stop = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
        let end = self.rest.as_bytes().iter().position(stop);
        let Some((plain, rest)) = end.and_then(|end| self.rest.split_at_checked(end)) else {
            return Err(NOT_JSON);
        };
        self.rest = rest;
        // A control character stops it too, and is neither a quote nor an escape.
        if rest.starts_with(['"', '\\']) { Ok(plain) } else { Err(NOT_JSON) }
    }

    fn escape(&mut self) -> Result<char> {
        let escaped = self.rest.as_bytes().get(1).copied();
        // Only ASCII can follow a backslash, so that two bytes are two characters.
        let plain = match escaped {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(NOT_JSON),
        };
        self.skip(2);
        Ok(plain)
    }

    /// Takes `\uXXXX`, or two of them that are one character (RFC 8259 §7).
    fn unicode(&mut self) -> Result<char> {
        let first = self.code_unit()?;
        let is_first_of_two = (0xD800..0xDC00).contains(&first);
        let units = if is_first_of_two { vec![first, self.code_unit()?] } else { vec![first] };
        match char::decode_utf16(units).next() {
            Some(Ok(character)) => Ok(character),
            _ => Err(Fault::new("has half a surrogate pair")),
        }
    }

    fn code_unit(&mut self) -> Result<u16> {
        let digits = self.rest.strip_prefix("\\u").and_then(|rest| rest.get(..4));
        // `from_str_radix` would also take a sign.
        let digits = digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit())).ok_or(NOT_JSON)?;
        self.skip(6);
        u16::from_str_radix(digits, 16).map_err(|_| NOT_JSON)
    }

    /// Takes the text of a number (RFC 8259 §6), and whether it is written as an integer.
    fn number(&mut self) -> Result<(&'a str, bool)> {
        self.peek();
        let part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let end = self.rest.bytes().position(|byte| !part(&byte)).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at_checked(end).unwrap_or_default();
        if text.is_empty() {
            return Err(Fault::new("must be a number"));
        }
        let (int, tail) = digits(text.strip_prefix('-').unwrap_or(text));
        if int.is_empty() || (int.starts_with('0') && int != "0") {
            return Err(NOT_JSON);
        }
        let is_integer = tail.is_empty();
        let mut tail = tail;
        if let Some(fraction) = tail.strip_prefix('.') {
            let (fraction, after) = digits(fraction);
            if fraction.is_empty() {
                return Err(NOT_JSON);
            }
            tail = after;
        }
        if let Some(exponent) = tail.strip_prefix(['e', 'E']) {
            let (exponent, after) = digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
            if exponent.is_empty() {
                return Err(NOT_JSON);
            }
            tail = after;
        }
        if !tail.is_empty() {
            return Err(NOT_JSON);
        }
        self.rest = rest;
        Ok((text, is_integer))
    }
}

const NOT_JSON: Fault = Fault::new("is not JSON");

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or_default()
}

/// Keeps the value of a member, unless the name was there before.
pub(crate) fn keep<'a, T: Read<'a>>(
    reader: &mut Reader<'a>,
    member: &str,
    slot: &mut Option<T>,
) -> Result<()> {
    let value = T::read(reader).map_err(|fault| fault.within(member))?;
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::new("occurs twice").within(member)),
    }
}

/// The value of a member after its object was read.
pub(crate) fn found<'a, T: Read<'a>>(slot: Option<T>, member: &str) -> Result<T> {
    slot.or_else(T::absent).ok_or_else(|| Fault::new("is missing").within(member))
}

impl<'a> Read<'a> for Value {
    fn read(reader: &mut Reader<'a>) -> Result<Self> {
        Ok(match reader.peek() {
            Some(b'{') => Value::Object(Map::read(reader)?),
            Some(b'[') => Value::Array(reader.array()?),
            Some(b'"') => Value::String(reader.string()?.into_owned()),
            Some(b't') => reader.literal("true").map(|()| Value::Bool(true))?,
            Some(b'f') => reader.literal("false").map(|()| Value::Bool(false))?,
            Some(b'n') => reader.literal("null").map(|()| Value::Null)?,
            Some(b'-' | b'0'..=b'9') => {
                let (text, is_integer) = reader.number()?;
                Value::Number(value_of(text, is_integer)?)
            }
            _ => return Err(NOT_JSON),
        })
    }
}

fn value_of(text: &str, is_integer: bool) -> Result<Number> {
    // Minus zero is a float, or its sign would be lost.
    if is_integer && text != "-0" {
        if let Ok(number) = text.parse::<u64>() {
            return Ok(number.into());
        }
        if let Ok(number) = text.parse::<i64>() {
            return Ok(number.into());
        }
    }
    let float = text.parse().ok().and_then(Number::from_f64);
    float.ok_or(Fault::new("has a number out of range"))
}

impl<'a> Read<'a> for Map<String, Value> {
    fn read(reader: &mut Reader<'a>) -> Result<Self> {
        let mut members = Map::new();
        reader.object(|reader, name| keep_unknown(reader, name, &mut members))?;
        Ok(members)
    }
}

/// Keeps a member that the contract does not name.
pub(crate) fn keep_unknown<'a>(
    reader: &mut Reader<'a>,
    name: Cow<'a, str>,
    members: &mut Map<String, Value>,
) -> Result<()> {
    let value = Value::read(reader)?;
    match members.insert(name.into_owned(), value) {
        None => Ok(()),
        Some(_) => Err(Fault::new("has a member twice")),
    }
}

impl<'a, T: Read<'a>> Read<'a> for BTreeMap<String, T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self> {
        let mut members = Self::new();
        reader.object(|reader, name| {
            match members.insert(name.into_owned(), T::read(reader)?) {
                None => Ok(()),
                Some(_) => Err(Fault::new("has a member twice")),
            }
        })?;
        Ok(members)
    }

    fn absent() -> Option<Self> {
        Some(Self::new())
    }
}

impl<'a> Read<'a> for String {
    fn read(reader: &mut Reader<'a>) -> Result<Self> {
        reader.string().map(Cow::into_owned)
    }
}

impl<'a, T: Read<'a>> Read<'a> for Option<T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self> {
        if reader.null()? { Ok(None) } else { T::read(reader).map(Some) }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

/// Integers are read from integers only: `1.0` and `1e0` are other spellings of no integer.
macro_rules! integers {
    ($($int:ty)+) => {$(
        impl<'a> Read<'a> for $int {
            fn read(reader: &mut Reader<'a>) -> Result<Self> {
                let parsed = match reader.number() {
                    Ok((text, true)) if text != "-0" => text.parse().ok(),
                    _ => None,
                };
                parsed.ok_or(Fault::new(concat!("must be an integer (", stringify!($int), ")")))
            }
        }
    )+};
}

integers!(i64 u64);

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
