//! The inputs of the operations on endpoints.

use schemars::JsonSchema;
use serde::Deserialize;

use super::addresses::Emails;
use super::headers::NewHeaders;
use super::rows::{Include, Ordering, WebhookStatus};
use super::signing::Signature;
use crate::events::types::TypeNames;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::http::json::{Between, Patch};
use crate::kernel::text::{HttpUrl, Name};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookFilter {
    /// Returns the webhooks with this status only.
    pub(super) status: Option<WebhookStatus>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// The URL that receives the events: https, and a public address. Required without `emails`.
    pub(super) url: Option<HttpUrl>,
    /// 1 to 10 e-mail addresses that receive notices as mail, instead of `url`. An address that belongs to
    /// no member agrees by a link first. An organization asks at most 20 addresses a day.
    pub(super) emails: Option<Emails>,
    /// The types of events, 1 to 50: `licenses.revoke`, or `licenses.*` for all of a resource. With
    /// `emails`, notices and `webhooks.disabled` only.
    pub(super) types: TypeNames,
    /// The display name.
    pub(super) name: Option<Name>,
    /// For a webhook of the platform: up to 1,000 organizations whose events it receives. All events
    /// when absent.
    pub(super) organizations: Option<Vec<OrganizationId>>,
    /// The signature of the messages; `hmac` when absent.
    #[serde(default = "hmac")]
    pub(super) signature: Signature,
    /// Additional content of the events; none when absent.
    #[serde(default)]
    pub(super) include: Vec<Include>,
    /// The order of the deliveries; `subject` when absent.
    #[serde(default = "by_subject")]
    pub(super) ordering: Ordering,
    /// Up to 8 additional headers of the messages, such as a credential. They are never returned.
    #[serde(default)]
    pub(super) headers: NewHeaders,
}

fn hmac() -> Signature {
    Signature::Hmac
}

fn by_subject() -> Ordering {
    Ordering::Subject
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookPatch {
    /// The URL that receives the events. Another origin requires `headers` if the webhook has some.
    pub(super) url: Option<HttpUrl>,
    /// The e-mail addresses. They replace the ones before. An address that has not agreed gets another
    /// link, at most one a day. An organization asks at most 20 addresses a day.
    pub(super) emails: Option<Emails>,
    /// The types of events. They replace the ones before.
    pub(super) types: Option<TypeNames>,
    /// The display name. Null removes it.
    #[serde(default)]
    pub(super) name: Patch<Name>,
    /// The organizations of a webhook of the platform. Null for all.
    #[serde(default)]
    pub(super) organizations: Patch<Vec<OrganizationId>>,
    /// Additional content of the events.
    pub(super) include: Option<Vec<Include>>,
    /// The order of the deliveries.
    pub(super) ordering: Option<Ordering>,
    /// The additional headers. They replace the ones before.
    pub(super) headers: Option<NewHeaders>,
}

impl WebhookPatch {
    /// Returns whether events go to another destination, or other events go to the one before.
    pub(super) fn redirects(&self) -> bool {
        self.url.is_some()
            || self.emails.is_some()
            || self.types.is_some()
            || self.include.is_some()
            || !matches!(self.organizations, Patch::Keep)
    }
}

/// The seconds of an overlap: up to 7 days.
type Overlap = Between<0, 604_800>;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRotation {
    /// The seconds for which the old secret signs too, from 0 to 604,800 (7 days); 86,400 when absent.
    /// The next rotation ends it at once.
    #[serde(default = "a_day")]
    pub(super) overlap_seconds: Overlap,
}

fn a_day() -> Overlap {
    Between(86_400)
}
