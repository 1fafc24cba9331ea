//! SCIM resources as responses, with their version.

use axum::http::{HeaderValue, StatusCode};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

use super::projection::Projection;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{Answer, Output, etag};

/// A resource or another document of SCIM: 200.
#[derive(Debug)]
pub struct Shown {
    body: Value,
    tag: Option<HeaderValue>,
}

impl Shown {
    /// Returns a document without a version.
    pub(super) fn of(body: Value) -> Result<Self> {
        Ok(Self { body, tag: None })
    }
}

/// A resource before it is shown.
#[derive(Debug)]
pub(super) struct Resource {
    pub(super) noun: &'static str,
    pub(super) id: String,
    pub(super) location: String,
    pub(super) body: Map<String, Value>,
}

impl Resource {
    /// Sets `meta.version`, which is also the entity tag: the hash of the whole resource.
    fn versioned(&mut self) -> Result<HeaderValue> {
        let tag = etag(&serde_json::to_vec(&self.body).map_err(Error::internal)?);
        if let Some(Value::Object(meta)) = self.body.get_mut("meta") {
            meta.insert("version".into(), tag.to_str().unwrap_or_default().into());
        }
        Ok(tag)
    }

    /// Returns the resource as it is in lists.
    pub(super) fn listed(mut self, projection: &Projection) -> Result<Value> {
        self.versioned()?;
        projection.apply(&mut self.body);
        Ok(Value::Object(self.body))
    }

    /// Returns a part of the resource, whose whole is not read.
    pub(super) fn without_version(mut self, projection: &Projection) -> Value {
        projection.apply(&mut self.body);
        Value::Object(self.body)
    }

    pub(super) fn shown(mut self, projection: &Projection) -> Result<Shown> {
        let tag = self.versioned()?;
        projection.apply(&mut self.body);
        Ok(Shown { body: Value::Object(self.body), tag: Some(tag) })
    }

    pub(super) fn made(self, projection: &Projection) -> Result<Made> {
        let (location, made) = (self.location.clone(), (self.noun, self.id.clone()));
        Ok(Made { location, made, shown: self.shown(projection)? })
    }
}

/// A created resource: 201 with its `Location`.
#[derive(Debug)]
pub struct Made {
    location: String,
    made: (&'static str, String),
    shown: Shown,
}

impl Output for Shown {
    const STATUS: StatusCode = StatusCode::OK;
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Some(generator.subschema_for::<ScimDocument>())
    }
    fn answer(self, is_audited: bool) -> Result<Answer> {
        let body = serde_json::to_vec(&self.body).map_err(Error::internal)?;
        Ok(Answer {
            status: Self::STATUS,
            location: None,
            body: Some(body.into()),
            tag: self.tag,
            made: None,
            after: is_audited.then_some(self.body),
            stream: None,
        })
    }
}

impl Output for Made {
    const STATUS: StatusCode = StatusCode::CREATED;
    const MAKES: bool = true;
    fn schema(generator: &mut SchemaGenerator) -> Option<Schema> {
        Shown::schema(generator)
    }
    fn answer(self, is_audited: bool) -> Result<Answer> {
        let answer = self.shown.answer(is_audited)?;
        let (location, made) = (Some(self.location), Some(self.made));
        Ok(Answer { status: Self::STATUS, location, made, ..answer })
    }
}

/// The schema of responses: `/Schemas` describes the resources.
struct ScimDocument;

impl JsonSchema for ScimDocument {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ScimDocument".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "A resource or message of SCIM (RFC 7643, RFC 7644).",
            "required": ["schemas"],
            "properties": {
                "schemas": {
                    "type": "array", "items": {"type": "string"},
                    "description": "The URNs of the schemas that describe the other members.",
                },
            },
        })
    }
}
