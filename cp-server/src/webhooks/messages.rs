//! Messages: what an endpoint receives for an event.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use chrono::{DateTime, Utc};
use cp_contracts::{Event, WebhookPayload};
use serde_json::Map;

use super::headers::{HEADERS, opened};
use super::reach::chosen_by;
use super::rows::{Include, Webhook};
use super::secrets::signing;
use super::signing::{Signature, SigningSecret, header as signed_header};
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::digits;
use crate::kernel::error::{Error, Result};
use crate::kernel::journal::canonical::Text;
use crate::kernel::outbound::posting::Message;

/// The largest event with its state, in bytes.
const LARGEST: usize = 20 * 1024;

/// An endpoint, ready to send to.
pub(super) struct Receiver {
    webhook: Webhook,
    secrets: Vec<SigningSecret>,
    headers: HeaderMap,
}

impl Receiver {
    /// Reads the secrets of the endpoint.
    pub(super) async fn load(app: &App, tx: &mut Conn, webhook: Webhook) -> Result<Self> {
        let id = webhook.id;
        let owner = webhook.organization_id;
        let secrets = signing(app, tx, owner, id).await?;
        let sealed: Option<Option<Vec<u8>>> =
            tx.q("SELECT headers FROM webhooks WHERE id = $1").bind(id).value().await?;
        let headers = match sealed.flatten() {
            Some(sealed) => opened(&HEADERS.open(app, owner, id.0, &sealed)?)?,
            None => HeaderMap::new(),
        };
        Ok(Self { webhook, secrets, headers })
    }

    /// Returns the signed message for an event, at this instant.
    pub(super) fn message(
        &self,
        app: &App,
        mut event: Event,
        after: Option<&Text>,
    ) -> Result<Message> {
        if self.webhook.include.contains(&Include::After)
            && let Some(after) = after
        {
            let size = serde_json::to_vec(&event).map_err(Error::internal)?.len();
            match size + after.as_str().len() <= LARGEST {
                true => event.after = Some(after.exact()),
                false => event.truncated = true,
            }
        }
        let url = self.webhook.url.clone().unwrap_or_default();
        let chosen_by = chosen_by(self.webhook.organization_id);
        let unsigned =
            Message { url, chosen_by, headers: self.headers.clone(), body: Bytes::new() };
        let kind = self.webhook.signature.unwrap_or(Signature::Hmac);
        let now = app.clock.now();
        signed(unsigned, event, (kind, &self.secrets), now).map_err(Error::internal)
    }
}

/// Adds an event to a message, and signs it at this instant.
pub fn signed(
    message: Message,
    event: Event,
    (signature, secrets): (Signature, &[SigningSecret]),
    now: DateTime<Utc>,
) -> anyhow::Result<Message> {
    let (id, timestamp) = (event.id.to_string(), now.timestamp());
    let (kind, at) = (event.kind.clone(), event.at);
    let payload = WebhookPayload { kind, timestamp: at, data: event, extra: Map::new() };
    let body = digits::write(&payload)?.into_bytes();
    let signed = signed_header(signature, secrets, (&id, timestamp, &body))?;
    let own = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::USER_AGENT, "license-authority".to_owned()),
        (HeaderName::from_static("webhook-id"), id),
        (HeaderName::from_static("webhook-timestamp"), timestamp.to_string()),
        (HeaderName::from_static("webhook-signature"), signed),
    ];
    let mut message = Message { body: Bytes::from(body), ..message };
    for (name, value) in own {
        message.headers.insert(name, HeaderValue::try_from(value)?);
    }
    Ok(message)
}
