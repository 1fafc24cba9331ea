//! Events: what happened on the control plane, as its stream and its webhooks report it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

/// An event: one audit event with its place in the log. Since 2.11.0.
///
/// An event names what changed, without values. A receiver that needs more reads the API with its own
/// permissions, and gets the current state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Event {
    /// The event's id, which is that of the audit event. It is the same in every delivery.
    pub id: Uuid,
    /// The position in the log, counted from 0.
    pub seq: i64,
    /// The type, such as `licenses.revoke`. Later versions of the server add types.
    #[serde(rename = "type")]
    pub kind: String,
    /// When the server recorded the event.
    pub at: DateTime<Utc>,
    /// The organization; absent for events of the platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization_id: Option<Uuid>,
    /// The caller that acted.
    pub actor: EventActor,
    /// The object that changed.
    pub target: EventTarget,
    /// The names of the members that differ before and after; empty when a state is not known, as for
    /// a new object.
    pub changed: Vec<String>,
    /// The reason, in the words of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether the content of the event was erased.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub erased: bool,
    /// The state after the change, with masked secrets; only for webhooks that include it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
    /// Whether `after` is left out because the event would be too large.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The caller that acted. Since 2.11.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EventActor {
    /// The kind of the caller, such as `person` or `service_token`.
    pub kind: String,
    /// The id of the user or service token.
    pub id: Uuid,
    /// The display name at the time of the event.
    pub name: String,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The object that changed. Since 2.11.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EventTarget {
    /// The kind of the object, such as `license`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The object's id; absent when the event names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The body of a webhook, in the form of the Standard Webhooks specification. Since 2.11.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WebhookPayload {
    /// The type of the event.
    #[serde(rename = "type")]
    pub kind: String,
    /// When the event happened.
    pub timestamp: DateTime<Utc>,
    /// The event.
    pub data: Event,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
