//! Secrets of connections, sealed in their rows.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use zeroize::Zeroizing;

use super::kinds::{AuthMode, ConnectionType, Spec};
use super::row::{NOUN, Resource};
use crate::governance::ids::ResourceId;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Patch;
use crate::kernel::sealed::Sealed;
use crate::kernel::secret::Secret;
use crate::kernel::text::SecretName;

pub(super) const SECRET: Sealed = Sealed { table: "resources", noun: NOUN, column: "secret" };

/// The largest secret as JSON, in bytes.
const SIZE: usize = 16 * 1024;
/// The most members of a secret.
const MEMBERS: usize = 20;

/// A secret of named strings. No message quotes a value.
#[derive(Debug)]
pub struct NamedSecrets(Secret<Vec<(String, String)>>);

impl NamedSecrets {
    /// Returns the secret as JSON.
    fn plain(&self) -> Result<Zeroizing<Vec<u8>>> {
        let members: std::collections::BTreeMap<&str, &str> =
            self.0.expose().iter().map(|(name, value)| (&**name, &**value)).collect();
        let plain = Zeroizing::new(serde_json::to_vec(&members).map_err(Error::internal)?);
        if plain.len() > SIZE {
            let detail = format!("`secret` must have at most {SIZE} bytes of JSON.");
            return Err(Error::invalid("secret", detail));
        }
        Ok(plain)
    }

    fn has(&self, name: &str) -> bool {
        self.0.expose().iter().any(|(own, _)| own == name)
    }
}

impl<'de> Deserialize<'de> for NamedSecrets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Vec<(String, String)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<SecretName>()? {
                    members.push((name.into_string(), map.next_value()?));
                }
                Ok(members)
            }
        }
        // The parser's own messages would quote the value.
        let rule = || {
            let rule = format!("must be an object of 1 to {MEMBERS} named strings");
            serde::de::Error::custom(rule)
        };
        let members = deserializer.deserialize_map(Members).map_err(|_: D::Error| rule())?;
        if !(1..=MEMBERS).contains(&members.len()) {
            return Err(rule());
        }
        Ok(Self(Secret::new(members)))
    }
}

impl JsonSchema for NamedSecrets {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NamedSecrets".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object", "additionalProperties": {"type": "string"}, "writeOnly": true,
            "minProperties": 1, "maxProperties": MEMBERS,
        })
    }
}

/// Seals a new secret; `None` when the request sets none.
pub(super) async fn seal(
    cx: &mut Cx,
    id: ResourceId,
    secret: &Patch<NamedSecrets>,
) -> Result<Option<Vec<u8>>> {
    let Patch::Set(secret) = secret else { return Ok(None) };
    let plain = secret.plain()?;
    SECRET.seal(cx, cx.at, id.0, &plain).await.map(Some)
}

/// Checks that the secret fits the kind and the resulting `spec`, and that `secret_ref` exists.
pub(super) async fn check(
    cx: &mut Cx,
    spec: &Spec,
    secret: &Patch<NamedSecrets>,
    before: Option<&Resource>,
) -> Result<()> {
    let is_stored = before.is_some_and(|before| before.secret.is_set());
    let has_secret = match secret {
        Patch::Keep => is_stored,
        Patch::Clear => false,
        Patch::Set(_) => true,
    };
    let Spec::Connection(connection) = spec else {
        let detail = "`secret` is allowed for connections only.";
        let is_sent = matches!(secret, Patch::Set(_));
        return if is_sent { Err(Error::invalid("secret", detail)) } else { Ok(()) };
    };
    if let Some(name) = &connection.secret_ref {
        if has_secret {
            let detail = "`secret` and `spec.secret_ref` must not be set together. Remove one.";
            return Err(Error::invalid("secret", detail));
        }
        let sql = "SELECT 1 FROM secret_refs WHERE organization_id = $1 AND name = $2 LIMIT 1";
        let found: Option<i32> = cx.tx.q(sql).bind(cx.at).bind(name.as_str()).value().await?;
        return match found {
            Some(_) => Ok(()),
            None => Err(Error::not_found("secret reference").at("spec.secret_ref")),
        };
    }
    if connection.r#type != ConnectionType::Composio
        || connection.auth_mode != Some(AuthMode::ApiKey)
    {
        return Ok(());
    }
    let has_key = match (secret, before) {
        (Patch::Set(secret), _) => secret.has("api_key"),
        (Patch::Keep, Some(before)) if is_stored => stored_has_key(cx, before.id).await?,
        // A copy begins without the secret of its publisher. It can be renamed or disabled before it
        // has its own.
        (Patch::Keep, Some(before)) => before.source_id.is_some() && needs_key(before),
        _ => false,
    };
    if has_key {
        return Ok(());
    }
    let detail = "`secret` must have `api_key`, or `spec.secret_ref` must be set, for a composio \
                  connection with an API key.";
    Err(Error::invalid("secret", detail))
}

/// Returns whether the connection lacked its key before, and no secret reference stood for it.
fn needs_key(before: &Resource) -> bool {
    let member = |name: &str| before.spec.get(name).and_then(serde_json::Value::as_str);
    member("type") == Some(ConnectionType::Composio.as_str())
        && member("auth_mode") == Some(AuthMode::ApiKey.as_str())
        && member("secret_ref").is_none()
}

async fn stored_has_key(cx: &mut Cx, id: ResourceId) -> Result<bool> {
    let sql = "SELECT secret FROM resources WHERE id = $1 AND secret IS NOT NULL";
    let sealed: Option<Vec<u8>> = cx.tx.q(sql).bind(id).value().await?;
    let Some(sealed) = sealed else { return Ok(false) };
    let plain = SECRET.open(&cx.app, cx.at, id.0, &sealed)?;
    let members: NamedSecrets = serde_json::from_slice(&plain).map_err(Error::internal)?;
    Ok(members.has("api_key"))
}
