//! Endpoints, deliveries and attempts as they are stored.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use sqlx::types::Json;
use uuid::Uuid;

use super::signing::Signature;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::db::record::Texts;
use crate::kernel::http::answer::Resource;
use crate::kernel::outbound::posting::DeliveryError;
use crate::kernel::secret::Masked;
use crate::kernel::text::Name;

crate::ids! {
    WebhookId, "webhook" of webhooks.organization_id;
    DeliveryId, "webhook delivery" of webhook_deliveries.organization_id;
}

crate::text_enum! {
    /// Whether an endpoint receives events.
    WebhookStatus {
        Enabled = "enabled",
        Disabled = "disabled",
    }
}

crate::text_enum! {
    /// The reason for which an endpoint is disabled.
    DisabledReason {
        /// A caller disabled it.
        Requested = "requested",
        /// All attempts of five days failed.
        Failing = "failing",
        /// The receiver answered 410 Gone.
        Gone = "gone",
    }
}

crate::text_enum! {
    /// The order of an endpoint's deliveries.
    Ordering {
        /// Events of one object keep their order: a failed one delays the later ones.
        Subject = "subject",
        /// Each event is sent at once.
        None = "none",
    }
}

crate::text_enum! {
    /// Additional content of an endpoint's events.
    Include as "WebhookInclude" {
        /// The state after the change, with masked secrets.
        After = "after",
    }
}

crate::text_enum! {
    /// The state of a delivery.
    DeliveryStatus {
        /// An attempt is due, or will be.
        Pending = "pending",
        /// The receiver accepted it.
        Delivered = "delivered",
        /// All attempts failed. For mail: those to at least one address.
        Failed = "failed",
        /// The endpoint was disabled.
        Skipped = "skipped",
    }
}

crate::record! {
    /// An endpoint that receives events.
    Webhook in webhooks {
        id: WebhookId,
        /// Null for endpoints of the platform.
        organization_id: Option<OrganizationId>,
        name: Option<Name>,
        /// The URL that receives the events; null for a webhook that sends mail.
        url: Option<String> = "NULLIF(webhooks.url, '')",
        /// The addresses that receive the events as mail; null for a webhook with a URL.
        emails: Option<Texts>,
        /// The addresses that have not agreed, and get no mail before; null for a webhook with a URL.
        unconfirmed: Option<Texts>,
        /// The types of events, such as `licenses.revoke`, or `licenses.*` for all of a resource.
        types: Texts,
        /// The organizations whose events an endpoint of the platform receives; null for all.
        organizations: Option<Organizations>,
        /// The signature of the messages; null for mail.
        signature: Option<Signature> = "CASE WHEN webhooks.emails IS NULL THEN webhooks.signature END",
        /// The public key that verifies the messages; null for `hmac`.
        public_key: Option<String>,
        include: Includes,
        ordering: Ordering,
        /// The additional headers of messages. Their values are masked.
        headers: MaskedHeaders = "webhooks.header_names",
        status: WebhookStatus,
        disabled_reason: Option<DisabledReason>,
        /// The first failure since the last success; null after a success.
        failing_since: Option<DateTime<Utc>>,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

impl Resource for Webhook {
    const NOUN: &'static str = "webhook";
    const PATH: &'static str = "webhooks";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

crate::record! {
    /// An event for an endpoint.
    Delivery in webhook_deliveries {
        id: DeliveryId,
        organization_id: Option<OrganizationId>,
        webhook_id: WebhookId,
        /// The event, and the `webhook-id` of every attempt.
        event_id: Uuid,
        /// The event's position in the log.
        seq: i64,
        /// The type of the event.
        #[serde(rename = "type")]
        kind: String = "webhook_deliveries.type",
        status: DeliveryStatus,
        /// The number of attempts.
        attempts: i32,
        /// The instant of the next attempt; null when none is due, or an earlier delivery about the same object is pending.
        next_attempt_at: Option<DateTime<Utc>> = "webhook_deliveries.next_at",
        created_at: DateTime<Utc>,
        finished_at: Option<DateTime<Utc>>,
    }
}

/// One request to an endpoint.
#[derive(Clone, Debug, Serialize, JsonSchema, sqlx::FromRow)]
pub struct Attempt {
    /// The number of the attempt, from 1.
    pub n: i32,
    pub at: DateTime<Utc>,
    pub duration_ms: i64,
    /// The status of the answer; null without one.
    pub status: Option<i32>,
    /// The reason of a failure; null for a success.
    pub error: Option<DeliveryError>,
    /// The first 1,024 bytes of the answer. For several e-mail addresses: a line for each one that failed.
    pub answer: Option<String>,
}

crate::json_columns! {
    /// Identifiers of organizations.
    Organizations(Vec<OrganizationId>);
    /// The additional contents of an endpoint's events.
    Includes(Vec<Include>);
}

/// The names of additional headers; their values are secrets.
#[derive(Clone, Debug, PartialEq, sqlx::Type)]
#[sqlx(transparent)]
pub struct MaskedHeaders(Json<Vec<String>>);

impl MaskedHeaders {
    pub fn new(names: Vec<String>) -> Self {
        Self(Json(names))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for MaskedHeaders {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(Some(self.0.len()))?;
        for name in self.0.iter() {
            members.serialize_entry(name, &Masked::SET)?;
        }
        members.end()
    }
}

impl JsonSchema for MaskedHeaders {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "MaskedHeaders".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let masked = generator.subschema_for::<Masked>();
        json_schema!({"type": "object", "additionalProperties": masked})
    }
}
