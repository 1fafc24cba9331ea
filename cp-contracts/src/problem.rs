//! Problem documents (RFC 9457) and the closed list of their codes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The body of every error response of the control plane: `application/problem+json` (RFC 9457).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Problem {
    /// A URI reference that names the kind of problem: `/problems/<code>` below the server's base URL. It
    /// leads to a page about the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// A short description of the kind of problem, fixed for each code.
    pub title: String,
    /// The HTTP status, 400 to 599.
    pub status: u16,
    /// The explanation of this occurrence, and what to do about it.
    pub detail: String,
    /// The machine-readable code. Match on this member, never on the texts.
    pub code: ProblemCode,
    /// The refused field of the request, such as `seat_cap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The refused fields, when a request has several. The first one is also in `field` and `detail`.
    /// Since 2.8.0.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// The request's id, as in the `X-Request-Id` header and the server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Members that some codes add, such as `limit` and `used` of `quota_exceeded`.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The refusal of one field of a request. Since 2.8.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FieldError {
    /// The path of the field, such as `filter.key_id`.
    pub field: String,
    /// The explanation, and what to do about it.
    pub detail: String,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $status:literal, $title:literal;)+) => {
        /// The reason for a refusal: a closed list that only minor versions of this crate extend.
        ///
        /// A code that this version does not know becomes [`ProblemCode::Other`]. Readers then rely
        /// on the HTTP status.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ProblemCode {
            $($(#[doc = $doc])+ $name,)+
            /// A code of a later version of the contract.
            Other(String),
        }

        impl ProblemCode {
            /// All codes of this version.
            pub const ALL: &'static [ProblemCode] = &[$(ProblemCode::$name,)+];

            /// Returns the code as the document spells it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$name => $code,)+
                    Self::Other(code) => code,
                }
            }

            /// Returns the HTTP status of the code, or 500 for an unknown code.
            #[must_use]
            pub fn status(&self) -> u16 {
                match self {
                    $(Self::$name => $status,)+
                    Self::Other(_) => 500,
                }
            }

            /// Returns the title of the code.
            #[must_use]
            pub fn title(&self) -> &'static str {
                match self {
                    $(Self::$name => $title,)+
                    Self::Other(_) => "Unknown problem",
                }
            }
        }

        impl From<Cow<'_, str>> for ProblemCode {
            fn from(code: Cow<'_, str>) -> Self {
                match &*code {
                    $($code => Self::$name,)+
                    _ => Self::Other(code.into_owned()),
                }
            }
        }
    };
}

codes! {
    /// The request is not well-formed: JSON syntax, query string, header.
    BadRequest = "bad_request", 400, "The request is not well-formed";
    /// The request has no credential, or an invalid one.
    Unauthenticated = "unauthenticated", 401, "A valid credential is needed";
    /// The object is visible to the caller, but the caller lacks the permission.
    Forbidden = "forbidden", 403, "The caller lacks the permission";
    /// The object does not exist, or it is not visible to the caller.
    NotFound = "not_found", 404, "The object was not found";
    /// whoami: no user is linked to this provider and subject.
    IdentityUnknown = "identity_unknown", 404, "No user is linked to this identity";
    /// No usage limit is set for this scope, metric, unit, window and period.
    LimitNotSet = "limit_not_set", 404, "No such limit is set";
    /// The path exists, but not with this method; see `Allow`.
    MethodNotAllowed = "method_not_allowed", 405, "The path does not support this method";
    /// The response exists in no version or form that the caller accepts.
    NotAcceptable = "not_acceptable", 406, "No acceptable form of the response exists";
    /// The request took too long.
    Timeout = "timeout", 408, "The request took too long";
    /// The current state of the object does not allow the operation.
    Conflict = "conflict", 409, "The current state does not allow this";
    /// The slug is in use.
    SlugTaken = "slug_taken", 409, "The slug is in use";
    /// The external id is in use.
    ExternalIdTaken = "external_id_taken", 409, "The external id is in use";
    /// The name is in use.
    NameTaken = "name_taken", 409, "The name is in use";
    /// The code is in use.
    CodeTaken = "code_taken", 409, "The code is in use";
    /// The e-mail address is in use.
    EmailTaken = "email_taken", 409, "The e-mail address is in use";
    /// The e-mail domain belongs to another organization.
    EmailDomainTaken = "email_domain_taken", 409, "The e-mail domain is in use";
    /// The (provider, subject) pair is linked to a user.
    AuthAccountTaken = "auth_account_taken", 409, "The identity is linked to a user";
    /// The principal has a membership in this scope.
    AlreadyMember = "already_member", 409, "Already a member";
    /// The owner can only be changed by a transfer of ownership.
    OwnerProtected = "owner_protected", 409, "The owner is protected";
    /// An invitation of this address is already pending.
    InvitationPending = "invitation_pending", 409, "The address is already invited";
    /// The invitation was accepted or revoked, or it has expired.
    InvitationClosed = "invitation_closed", 409, "The invitation is closed";
    /// A role cannot grant ownership; only a transfer can.
    UseTransferOwnership = "use_transfer_ownership", 409, "Ownership is transferred, not granted";
    /// Other objects use this one.
    InUse = "in_use", 409, "The object is in use";
    /// Allocations would exceed what they are a part of.
    OverAllocated = "over_allocated", 409, "The allocations exceed the available amount";
    /// The system created the object, and callers cannot change it.
    SystemProtected = "system_protected", 409, "System objects cannot be changed";
    /// The organization still has projects or live licenses.
    OrganizationNotEmpty = "organization_not_empty", 409, "The organization is not empty";
    /// The status cannot change to the requested one.
    StatusChangeRefused = "status_change_refused", 409, "The status cannot change that way";
    /// The organization already has a live subscription.
    SubscriptionExists = "subscription_exists", 409, "The organization has a live subscription";
    /// A live license exists for this deployment and subscription.
    LicenseExists = "license_exists", 409, "A live license exists";
    /// The organization is suspended.
    OrganizationSuspended = "organization_suspended", 409, "The organization is suspended";
    /// The deployment is not active.
    DeploymentInactive = "deployment_inactive", 409, "The deployment is not active";
    /// The subscription grants no entitlement now.
    SubscriptionInactive = "subscription_inactive", 409, "The subscription is not active";
    /// The license is permanently revoked.
    LicenseRevoked = "license_revoked", 409, "The license is revoked";
    /// The license is suspended.
    LicenseSuspended = "license_suspended", 409, "The license is suspended";
    /// The license has expired.
    LicenseExpired = "license_expired", 409, "The license has expired";
    /// The term of the license has not begun.
    LicenseNotYetValid = "license_not_yet_valid", 409, "The license is not valid yet";
    /// The key has not been published long enough to sign: data planes may not know it yet.
    KeyNotYetPropagated = "key_not_yet_propagated", 409, "The key was published too recently";
    /// The usage report, or a later one, was already imported.
    ReportReplayed = "report_replayed", 409, "The report was already imported";
    /// No seat of the pool is free.
    SeatsExhausted = "seats_exhausted", 409, "All seats are taken";
    /// The lease has ended.
    LeaseOver = "lease_over", 409, "The lease has ended";
    /// The lease is borrowed, and lasts until the end of the borrowing.
    LeaseBorrowed = "lease_borrowed", 409, "The lease is borrowed";
    /// The webhook is disabled: it receives no events.
    WebhookDisabled = "webhook_disabled", 409, "The webhook is disabled";
    /// The first request of this idempotency key is still running.
    IdempotencyInProgress = "idempotency_in_progress", 409, "The first request is still running";
    /// `If-Match` names another version of the object.
    PreconditionFailed = "precondition_failed", 412, "The object has changed";
    /// The body is too large.
    TooLarge = "too_large", 413, "The request body is too large";
    /// The request target is too long.
    UriTooLong = "uri_too_long", 414, "The request target is too long";
    /// The media type of the body is not supported.
    UnsupportedMediaType = "unsupported_media_type", 415, "The media type is not supported";
    /// The value of a field is not acceptable; `field` names the field.
    Invalid = "invalid", 422, "A value is not acceptable";
    /// No role with this code or id exists in this scope.
    RoleUnknown = "role_unknown", 422, "The role does not exist here";
    /// A group cannot be its own descendant.
    GroupCycle = "group_cycle", 422, "A group cannot be below itself";
    /// The metric is counted from existing objects and cannot be adjusted.
    QuotaIsCounted = "quota_is_counted", 422, "The metric is counted, not adjusted";
    /// The license token would exceed the size of a header.
    TokenTooLarge = "token_too_large", 422, "The license token would be too large";
    /// The idempotency key belongs to another request.
    IdempotencyKeyReused = "idempotency_key_reused", 422, "The idempotency key was used before";
    /// The private key is not usable for signing.
    KeyRefused = "key_refused", 422, "The signing key is refused";
    /// The caller sent too many requests.
    RateLimited = "rate_limited", 429, "Too many requests";
    /// The quota is used up.
    QuotaExceeded = "quota_exceeded", 429, "The quota is used up";
    /// The usage limit is reached.
    LimitExceeded = "limit_exceeded", 429, "The usage limit is reached";
    /// The request's header block is too large.
    HeadersTooLarge = "headers_too_large", 431, "The request headers are too large";
    /// The server failed; its log has the cause under the request's id.
    Internal = "internal", 500, "The server failed";
    /// A provider that the server called for the request refused it or did not answer.
    ProviderFailed = "provider_failed", 502, "The provider failed";
    /// The server is temporarily unable to handle the request; see `Retry-After`.
    Unavailable = "unavailable", 503, "The server is temporarily unavailable";
}

impl Serialize for ProblemCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ProblemCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Cow::<'de, str>::deserialize(deserializer)?.into())
    }
}

impl std::fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for ProblemCode {
    fn schema_name() -> Cow<'static, str> {
        "ProblemCode".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let known: Vec<&str> = Self::ALL.iter().map(Self::as_str).collect();
        schemars::json_schema!({
            "type": "string",
            "description": "A machine-readable code; readers must expect codes they do not know.",
            "examples": known,
        })
    }
}
