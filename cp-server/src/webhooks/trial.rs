//! The test of an endpoint: one event, sent at once.

use cp_contracts::{Event, EventActor, EventTarget};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Map;

use super::carriers::Carrier;
use super::reach::{disabled, load};
use super::rows::{Webhook, WebhookId, WebhookStatus};
use crate::kernel::access::caller::Scope;
use crate::kernel::access::platform::AnyOwner;
use crate::kernel::error::Result;
use crate::kernel::http::answer::Resource;
use crate::kernel::http::cx::Cx;
use crate::kernel::outbound::posting::DeliveryError;

/// The type of the event that a test sends.
const TEST: &str = "webhooks.test";
/// The position of an event that is not in the log.
const NOWHERE: i64 = -1;

/// The result of a test.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Tested {
    /// The status of the answer, or the SMTP code; null without one.
    status: Option<u16>,
    duration_ms: i64,
    /// The reason of a failure; null for a success.
    error: Option<DeliveryError>,
    /// The first 1,024 bytes of the answer. For several e-mail addresses: a line for each one that failed.
    answer: Option<String>,
}

pub(super) async fn test(cx: &mut Cx<Scope>, AnyOwner(id): AnyOwner<WebhookId>) -> Result<Tested> {
    let webhook = load(cx, id).await?;
    if webhook.status == WebhookStatus::Disabled {
        return Err(disabled());
    }
    let carrier = Carrier::load(&cx.app, &mut cx.tx, id).await?;
    let event = Event {
        id: cx.app.random.uuid(cx.now),
        seq: NOWHERE,
        kind: TEST.to_owned(),
        at: cx.now,
        organization_id: webhook.organization_id.map(|id| id.0),
        actor: EventActor {
            kind: cx.caller.kind.to_string(),
            id: cx.caller.actor_id(),
            name: cx.caller.name.clone(),
            extra: Map::new(),
        },
        target: EventTarget {
            kind: Webhook::NOUN.to_owned(),
            id: Some(id.to_string()),
            extra: Map::new(),
        },
        changed: Vec::new(),
        reason: None,
        erased: false,
        after: None,
        truncated: false,
        extra: Map::new(),
    };
    let parcel = carrier.parcel(&cx.app, None, event, None)?;
    // A slow receiver holds neither a connection nor the writer.
    cx.release();
    let outcome = parcel.send(&cx.app).await;
    cx.begin().await?;
    let (status, duration_ms) = (outcome.status, outcome.duration_ms);
    Ok(Tested { status, duration_ms, error: outcome.error, answer: outcome.answer })
}
