//! Identifiers: one type per table, a plain UUID on the wire, so that a swapped argument does not
//! compile.

use std::fmt::Display;

use serde::de::DeserializeOwned;

use super::query::Value;

/// An identifier whose row belongs to one organization.
pub trait Owned:
    Copy + DeserializeOwned + Display + Send + Sync + for<'q> Value<'q> + 'static
{
    /// What the thing is called in messages and audit events.
    const NOUN: &'static str;
    /// What is said to be missing.
    const MISSING: &'static str = Self::NOUN;
    /// Finds the organization that owns the row; NULL for a row of the platform.
    const OWNER: &'static str;
}

macro_rules! ids {
    (@missing) => {};
    (@missing $missing:literal) => { const MISSING: &'static str = $missing; };
    ($($name:ident, $noun:literal $(, $owner:literal $(as $missing:literal)?)?;)+) => {$(
        #[doc = concat!("The id of one ", $noun, ".")]
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type, serde::Serialize,
            serde::Deserialize,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub uuid::Uuid);

        impl $name {
            pub fn new(random: &super::clock::Random, now: chrono::DateTime<chrono::Utc>) -> Self {
                Self(random.uuid(now))
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, uuid::Error> {
                text.parse().map(Self)
            }
        }
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "format": "uuid"})
            }
        }
        $(impl Owned for $name {
            const NOUN: &'static str = $noun;
            const OWNER: &'static str = $owner;
            ids!(@missing $($missing)?);
        })?
    )+};
}

ids! {
    OrganizationId, "organization", "SELECT id FROM organizations WHERE id = $1";
    WorkspaceId, "workspace", "SELECT organization_id FROM workspaces WHERE id = $1";
    UserId, "user";
    AuthAccountId, "auth account";
    RoleId, "role", "SELECT organization_id FROM roles WHERE id = $1";
    MembershipId, "membership", "SELECT organization_id FROM memberships WHERE id = $1" as "member";
    InvitationId, "invitation", "SELECT organization_id FROM invitations WHERE id = $1";
    GroupId, "group", "SELECT organization_id FROM groups WHERE id = $1";
    ProjectId, "project", "SELECT organization_id FROM projects WHERE id = $1";
    ArtifactId, "artifact", "SELECT organization_id FROM artifacts WHERE id = $1";
    PlanId, "plan";
    SubscriptionId, "subscription", "SELECT organization_id FROM subscriptions WHERE id = $1";
    DeploymentId, "deployment", "SELECT organization_id FROM deployments WHERE id = $1";
    LicenseId, "license", "SELECT organization_id FROM licenses WHERE id = $1";
    BundleId, "bundle", "SELECT organization_id FROM bundles WHERE id = $1";
    StatusListId, "status list";
    UsageReportId, "usage report", "SELECT organization_id FROM usage_reports WHERE id = $1";
    UsageEventId, "usage event", "SELECT organization_id FROM usage_events WHERE id = $1";
    UsageSeriesId, "usage series";
    LimitId, "limit", "SELECT organization_id FROM usage_limits WHERE id = $1";
    TokenId, "service token", "SELECT organization_id FROM service_tokens WHERE id = $1";
    AuditEventId, "audit event";
    ProviderId, "identity provider";
    SecretRefId, "secret reference";
}
