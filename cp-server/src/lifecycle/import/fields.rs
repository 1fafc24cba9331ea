//! The fields of a line, apart from its kind.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::kind::Kind;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::json;
use crate::kernel::http::json::refusal::{self, BODY, Refusal};

/// The fields of a line. A field that a line does not name stays as it is.
#[derive(Clone)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// Refuses fields that lines of this kind do not have.
    pub fn of(kind: Kind, members: Map<String, Value>) -> Result<Self> {
        let known = kind.fields();
        let unknown = members.keys().find(|name| known.iter().all(|field| field.name != **name));
        let Some(unknown) = unknown else { return Ok(Self(members)) };
        let names: Vec<String> = known.iter().map(|field| format!("`{}`", field.name)).collect();
        let message = format!("unknown field `{unknown}`, expected one of {}", names.join(", "));
        Err(refusal::error(vec![Refusal::of(BODY, ".", &message)]))
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| !value.is_null())
    }

    /// Returns a value that identifies the object, and keeps it for the operation.
    pub fn identity<T: DeserializeOwned>(&self, name: &'static str) -> Result<T> {
        match self.0.get(name) {
            Some(value) if !value.is_null() => json::read_member(name, value.clone()),
            _ => Err(required(name)),
        }
    }

    /// Removes a field that the operation does not know.
    pub fn take<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<Option<T>> {
        match self.0.remove(name) {
            Some(value) if !value.is_null() => json::read_member(name, value).map(Some),
            _ => Ok(None),
        }
    }

    pub fn take_required<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T> {
        self.take(name)?.ok_or_else(|| required(name))
    }

    /// Sets a field of the operation.
    pub fn set(&mut self, name: &str, value: impl ToString) {
        self.0.insert(name.to_owned(), value.to_string().into());
    }

    pub fn set_json(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    pub fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Removes the fields whose values the object has already. Returns `None` if none remains.
    pub fn without_equal(mut self, object: &Value) -> Option<Self> {
        self.0.retain(|name, value| object.get(name).is_none_or(|known| known != value));
        (!self.0.is_empty()).then_some(self)
    }

    /// Reads the input of the operation.
    pub fn read<T: DeserializeOwned + JsonSchema>(self) -> Result<T> {
        json::read(&serde_json::to_vec(&self.0).map_err(Error::internal)?)
    }
}

/// Returns the refusal of a line without this field.
pub fn required(name: &'static str) -> Error {
    Error::invalid(name, format!("`{name}` is required."))
}

/// Parses the ID that a reference may be.
pub fn id_of<T: FromStr>(reference: &str) -> Option<T> {
    reference.parse().ok()
}
