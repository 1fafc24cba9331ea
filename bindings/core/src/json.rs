//! Objects, from JSON.

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Reads an object. serde would also read the members from an array, in an order that later versions
/// change.
pub(crate) fn object<T: DeserializeOwned>(value: &Value) -> Result<T, serde_json::Error> {
    match value {
        Value::Object(_) => T::deserialize(value),
        _ => Err(serde_json::Error::custom("not an object")),
    }
}

/// Reads a member that is an object or absent.
pub(crate) fn object_member<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    from: D,
) -> Result<Option<T>, D::Error> {
    let members = Option::<Map<String, Value>>::deserialize(from)?;
    let members = members.map(|members| T::deserialize(Value::Object(members)));
    members.transpose().map_err(D::Error::custom)
}
