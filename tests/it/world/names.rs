//! Whole bodies as a person would write them down: ids by name.

use std::collections::HashMap;

use serde_json::Value;
use uuid::Uuid;

/// Names for ids: those of the world, then `<1>`, `<2>`… in the order in which new ones appear.
#[derive(Clone, Debug, Default)]
pub struct Names(HashMap<String, String>);

impl Names {
    pub fn add(&mut self, name: impl Into<String>, id: &str) {
        self.0.insert(id.to_owned(), name.into());
    }

    /// The value with its ids replaced, in keys as well.
    pub fn of(&self, value: &Value) -> Value {
        let mut new = HashMap::new();
        self.replace(value, &mut new)
    }

    fn replace(&self, value: &Value, new: &mut HashMap<String, String>) -> Value {
        match value {
            Value::String(text) => Value::String(self.name(text, new)),
            Value::Array(items) => items.iter().map(|item| self.replace(item, new)).collect(),
            Value::Object(members) => members
                .iter()
                .map(|(name, value)| (self.name(name, new), self.replace(value, new)))
                .collect(),
            other => other.clone(),
        }
    }

    fn name(&self, text: &str, new: &mut HashMap<String, String>) -> String {
        if let Some(name) = self.0.get(text) {
            return format!("<{name}>");
        }
        if Uuid::try_parse(text).is_err() {
            return text.to_owned();
        }
        let count = new.len() + 1;
        new.entry(text.to_owned()).or_insert_with(|| format!("<{count}>")).clone()
    }
}
