//! Additional headers of messages, such as a credential of the receiver.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use zeroize::Zeroizing;

use super::rows::{MaskedHeaders, WebhookId};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::sealed::Sealed;
use crate::kernel::secret::Secret;

pub(super) const HEADERS: Sealed = Sealed { table: "webhooks", noun: "webhook", column: "headers" };

const MOST: usize = 8;
const LONGEST: usize = 1024;
/// Headers that HTTP or the message itself needs.
const RESERVED: [&str; 17] = [
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "forwarded",
];
/// Beginnings of such names.
const RESERVED_BEGINNINGS: [&str; 4] = ["proxy-", "sec-", "webhook-", "x-forwarded-"];

/// Headers of a request to create or change a webhook.
#[derive(Debug, Default)]
pub struct NewHeaders(BTreeMap<String, Secret<String>>);

impl NewHeaders {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the form in which answers show the headers.
    pub fn masked(&self) -> MaskedHeaders {
        MaskedHeaders::new(self.0.keys().cloned().collect())
    }
}

impl<'de> Deserialize<'de> for NewHeaders {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let sent = BTreeMap::<String, Secret<String>>::deserialize(deserializer)?;
        if sent.len() > MOST {
            let rule = format!("must have at most {MOST} headers (got {})", sent.len());
            return Err(de::Error::custom(rule));
        }
        let mut headers = BTreeMap::new();
        for (name, value) in sent {
            let name = name.to_ascii_lowercase();
            let is_reserved = RESERVED.contains(&&*name)
                || RESERVED_BEGINNINGS.iter().any(|beginning| name.starts_with(beginning));
            if HeaderName::try_from(&*name).is_err() || name.len() > 100 || is_reserved {
                let rule =
                    "must have names of additional headers: none that HTTP or the message needs";
                return Err(de::Error::custom(rule));
            }
            let text = value.expose();
            let is_visible = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            if text.is_empty() || text.len() > LONGEST || !is_visible || text.trim() != *text {
                let rule = format!("must have values of 1 to {LONGEST} visible ASCII characters");
                return Err(de::Error::custom(rule));
            }
            headers.insert(name, value);
        }
        Ok(Self(headers))
    }
}

impl JsonSchema for NewHeaders {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "NewHeaders".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object", "maxProperties": MOST, "writeOnly": true,
            "additionalProperties": {"type": "string", "minLength": 1, "maxLength": LONGEST},
        })
    }
}

/// Seals the values of a webhook's headers; `None` without headers.
pub(super) async fn seal_headers<G>(
    cx: &mut Cx<G>,
    owner: Option<OrganizationId>,
    id: WebhookId,
    headers: &NewHeaders,
) -> Result<Option<Vec<u8>>> {
    if headers.0.is_empty() {
        return Ok(None);
    }
    let pairs: BTreeMap<&str, &str> =
        headers.0.iter().map(|(name, value)| (name.as_str(), value.expose().as_str())).collect();
    let text = Zeroizing::new(serde_json::to_vec(&pairs).map_err(Error::internal)?);
    HEADERS.seal(cx, owner, id.0, &text).await.map(Some)
}

/// Reads headers that were sealed.
pub(super) fn opened(text: &[u8]) -> Result<HeaderMap> {
    let pairs: BTreeMap<String, String> = serde_json::from_slice(text).map_err(Error::internal)?;
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::try_from(name).map_err(Error::internal)?;
        let mut value = HeaderValue::from_str(&value).map_err(Error::internal)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}
