//! The reader of one JSON text.

use std::borrow::Cow;

/// The maximum nesting of objects and arrays.
const MAX_DEPTH: usize = 64;

/// The reason why a text does not have the expected form, and the place.
///
/// The type has the size of two pointers, so that results fit into registers: every result contains
/// it, and few results use it.
#[derive(Debug)]
pub(crate) struct Fault {
    what: &'static &'static str,
    /// The members that lead to the place, outermost first, joined by dots. `None` at the top.
    #[expect(clippy::box_collection, reason = "one word instead of three")]
    path: Option<Box<String>>,
}

impl Fault {
    pub(crate) const fn new(what: &'static &'static str) -> Self {
        Self { what, path: None }
    }

    /// Prefixes the place with a member of the enclosing object.
    #[cold]
    pub(crate) fn within(self, member: &str) -> Self {
        let path = match self.path {
            None => member.to_owned(),
            Some(path) => format!("{member}.{path}"),
        };
        Self { path: Some(Box::new(path)), ..self }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.path {
            None => f.write_str(self.what),
            Some(path) => write!(f, "{path}: {}", self.what),
        }
    }
}

pub(super) type Result<T, E = Fault> = std::result::Result<T, E>;

/// A type that can be read from JSON.
pub(crate) trait Read<'a>: Sized {
    /// Reads one value.
    fn read(reader: &mut Reader<'a>) -> Result<Self>;

    /// Returns the value of an absent member, or `None` when the member is required.
    fn absent() -> Option<Self> {
        None
    }
}

/// Reads a document of one value.
pub(crate) fn document<'a, T: Read<'a>>(bytes: &'a [u8]) -> Result<T> {
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::new(&"is not UTF-8"))?;
    let mut reader = Reader { rest: text, room: MAX_DEPTH };
    let value = T::read(&mut reader)?;
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(Fault::new(&"has text after its end")),
    }
}

/// A position in a JSON text.
pub(crate) struct Reader<'a> {
    rest: &'a str,
    room: usize,
}

impl<'a> Reader<'a> {
    /// Returns the next byte that is not white space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        let first = *self.rest.as_bytes().first()?;
        if !is_space(first) {
            return Some(first);
        }
        self.rest = self.rest.trim_start_matches([' ', '\n', '\r', '\t']);
        self.rest.as_bytes().first().copied()
    }

    /// Consumes the next byte that is not white space if it is `byte`, which is ASCII.
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

    pub(super) fn literal(&mut self, literal: &str) -> Result<()> {
        match self.rest.strip_prefix(literal) {
            Some(rest) => self.rest = rest,
            None => return Err(NOT_JSON),
        }
        Ok(())
    }

    /// Consumes `null` if it comes next.
    pub(crate) fn null(&mut self) -> Result<bool> {
        let found = self.peek() == Some(b'n');
        if found {
            self.literal("null")?;
        }
        Ok(found)
    }

    /// Reads an object, and calls `member` at the value of each member.
    ///
    /// `member` stores the values, so it also checks that names are unique.
    pub(crate) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Result<()>,
    ) -> Result<()> {
        if !self.take(b'{') {
            return Err(Fault::new(&"must be an object"));
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

    pub(super) fn array<T: Read<'a>>(&mut self) -> Result<Vec<T>> {
        if !self.take(b'[') {
            return Err(Fault::new(&"must be an array"));
        }
        self.enter()?;
        let mut items = Vec::new();
        if !self.take(b']') {
            loop {
                items.push(T::read(self)?);
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
        self.room = self.room.checked_sub(1).ok_or(Fault::new(&"is nested too deeply"))?;
        Ok(())
    }

    fn leave(&mut self) {
        self.room = self.room.saturating_add(1);
    }

    /// Returns whether a string comes next.
    pub(crate) fn at_string(&mut self) -> bool {
        self.peek() == Some(b'"')
    }

    /// Reads a string. A string without escapes is borrowed from the text.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>> {
        if !self.take(b'"') {
            return Err(Fault::new(&"must be a string"));
        }
        let (plain, mut end) = self.plain()?;
        if end == b'"' {
            return Ok(Cow::Borrowed(plain));
        }
        let mut text = plain.to_owned();
        while end == b'\\' {
            text.push(self.escape()?);
            let (plain, next) = self.plain()?;
            text.push_str(plain);
            end = next;
        }
        Ok(Cow::Owned(text))
    }

    /// Consumes the characters up to the next quote or backslash, and that character.
    fn plain(&mut self) -> Result<(&'a str, u8)> {
        let is_end = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..=0x1f);
        let length = self.rest.as_bytes().iter().position(is_end).ok_or(NOT_JSON)?;
        let (plain, rest) = self.rest.split_at_checked(length).ok_or(NOT_JSON)?;
        self.rest = rest;
        match rest.as_bytes().first() {
            Some(end @ (b'"' | b'\\')) => {
                self.skip(1);
                Ok((plain, *end))
            }
            // A control character must be escaped (RFC 8259 §7).
            _ => Err(NOT_JSON),
        }
    }

    /// Consumes an escape sequence after its backslash.
    fn escape(&mut self) -> Result<char> {
        let character = match self.rest.as_bytes().first() {
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
        self.skip(1);
        Ok(character)
    }

    /// Consumes `uXXXX`, or the two parts of a surrogate pair.
    fn unicode(&mut self) -> Result<char> {
        let first = self.code_unit("u")?;
        let is_first_of_two = (0xD800..0xDC00).contains(&first);
        let second = if is_first_of_two { Some(self.code_unit("\\u")?) } else { None };
        match char::decode_utf16([first].into_iter().chain(second)).next() {
            Some(Ok(character)) => Ok(character),
            _ => Err(Fault::new(&"has half a surrogate pair")),
        }
    }

    fn code_unit(&mut self, prefix: &str) -> Result<u16> {
        self.literal(prefix)?;
        // `from_str_radix` would also accept a sign.
        let is_hex = |digits: &&str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let digits = self.rest.get(..4).filter(is_hex).ok_or(NOT_JSON)?;
        self.skip(4);
        u16::from_str_radix(digits, 16).map_err(|_| NOT_JSON)
    }

    /// Consumes a number (RFC 8259 §6). Returns its text, and whether it is written as an integer.
    pub(super) fn number(&mut self) -> Result<(&'a str, bool)> {
        self.peek();
        let part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        let end = self.rest.bytes().position(|byte| !part(&byte)).unwrap_or(self.rest.len());
        let (text, rest) = self.rest.split_at_checked(end).unwrap_or_default();
        if text.is_empty() {
            return Err(Fault::new(&"must be a number"));
        }
        let (int, mut tail) = digits(after(text, b"-").unwrap_or(text));
        if int.is_empty() || (int != "0" && after(int, b"0").is_some()) {
            return Err(NOT_JSON);
        }
        let is_integer = tail.is_empty();
        if let Some(fraction) = after(tail, b".") {
            let (fraction, more) = digits(fraction);
            if fraction.is_empty() {
                return Err(NOT_JSON);
            }
            tail = more;
        }
        if let Some(exponent) = after(tail, b"eE") {
            let (exponent, more) = digits(after(exponent, b"+-").unwrap_or(exponent));
            if exponent.is_empty() {
                return Err(NOT_JSON);
            }
            tail = more;
        }
        if !tail.is_empty() {
            return Err(NOT_JSON);
        }
        self.rest = rest;
        Ok((text, is_integer))
    }
}

pub(super) const NOT_JSON: Fault = Fault::new(&"is not JSON");

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
}

/// Returns the text after its first character if that is one of `any`, which are ASCII.
fn after<'a>(text: &'a str, any: &[u8]) -> Option<&'a str> {
    let is_first = text.as_bytes().first().is_some_and(|first| any.contains(first));
    if is_first { text.get(1..) } else { None }
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or_default()
}
