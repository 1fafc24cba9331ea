//! The e-mail addresses of a request.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use crate::kernel::text::Email;

/// The most addresses of an endpoint.
const MOST: usize = 10;

/// 1 to 10 different addresses.
#[derive(Clone, Debug)]
pub struct Emails(pub Vec<Email>);

impl<'de> Deserialize<'de> for Emails {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = Vec::<Email>::deserialize(deserializer)?;
        let mut keys: Vec<String> = all.iter().map(Email::key).collect();
        keys.sort();
        keys.dedup();
        if !(1..=MOST).contains(&all.len()) || keys.len() != all.len() {
            let rule = format!("must have 1 to {MOST} different addresses (got {})", all.len());
            return Err(de::Error::custom(rule));
        }
        Ok(Self(all))
    }
}

impl JsonSchema for Emails {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Emails".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let email = generator.subschema_for::<Email>();
        json_schema!({"type": "array", "items": email, "minItems": 1, "maxItems": MOST})
    }
}
