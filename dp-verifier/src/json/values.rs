//! Values that can be read from JSON: plain types and free-form values.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Number, Value};

use super::reader::{Fault, NOT_JSON, Read, Reader, Result};

/// Stores the value of a known member. Fails when the name occurs twice.
pub(crate) fn keep<'a, T: Read<'a>>(
    reader: &mut Reader<'a>,
    member: &str,
    slot: &mut Option<T>,
) -> Result<()> {
    let value = T::read(reader).map_err(|fault| fault.within(member))?;
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::new(&"occurs twice").within(member)),
    }
}

/// Returns the value of a member after its object was read.
pub(crate) fn found<'a, T: Read<'a>>(slot: Option<T>, member: &str) -> Result<T> {
    slot.or_else(T::absent).ok_or_else(|| Fault::new(&"is missing").within(member))
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
    float.ok_or(Fault::new(&"has a number out of range"))
}

impl<'a> Read<'a> for Map<String, Value> {
    fn read(reader: &mut Reader<'a>) -> Result<Self> {
        let mut members = Map::new();
        reader.object(|reader, name| keep_unknown(reader, name, &mut members))?;
        Ok(members)
    }
}

/// Stores a member that the contract does not name.
pub(crate) fn keep_unknown<'a>(
    reader: &mut Reader<'a>,
    name: Cow<'a, str>,
    members: &mut Map<String, Value>,
) -> Result<()> {
    let value = Value::read(reader)?;
    match members.insert(name.into_owned(), value) {
        None => Ok(()),
        Some(_) => Err(Fault::new(&"has a member twice")),
    }
}

impl<'a, T: Read<'a>> Read<'a> for BTreeMap<String, T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self> {
        let mut members = Self::new();
        reader.object(|reader, name| {
            match members.insert(name.into_owned(), T::read(reader)?) {
                None => Ok(()),
                Some(_) => Err(Fault::new(&"has a member twice")),
            }
        })?;
        Ok(members)
    }

    fn absent() -> Option<Self> {
        Some(Self::new())
    }
}

impl<'a, T: Read<'a>> Read<'a> for Vec<T> {
    fn read(reader: &mut Reader<'a>) -> Result<Self> {
        reader.array()
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

impl<'a> Read<'a> for bool {
    fn read(reader: &mut Reader<'a>) -> Result<Self> {
        match reader.peek() {
            Some(b't') => reader.literal("true").map(|()| true),
            Some(b'f') => reader.literal("false").map(|()| false),
            _ => Err(Fault::new(&"must be true or false")),
        }
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

/// Reads integers. `1.0` and `1e0` are not spellings of an integer.
///
/// `integers!(i64 u64)` implements `Read` for both types.
macro_rules! integers {
    ($($int:ty)+) => {$(
        impl<'a> Read<'a> for $int {
            fn read(reader: &mut Reader<'a>) -> Result<Self> {
                let parsed = match reader.number() {
                    Ok((text, true)) if text != "-0" => text.parse().ok(),
                    _ => None,
                };
                parsed.ok_or(Fault::new(&concat!("must be an integer (", stringify!($int), ")")))
            }
        }
    )+};
}

integers!(i64 u64);
