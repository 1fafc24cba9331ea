//! Identifiers: one type per table, a plain UUID on the wire, so that a swapped argument does not
//! compile.
//!
//! Slices declare their own with [`ids!`](crate::ids). This file has those of callers and the
//! journal.

use std::fmt::Display;

use serde::de::DeserializeOwned;

use crate::kernel::access::areas::AreaKind;
use crate::kernel::db::values::Value;

/// An identifier whose row belongs to one organization.
pub trait Owned:
    Copy + DeserializeOwned + Display + Send + Sync + for<'q> Value<'q> + 'static
{
    /// The noun in messages and audit events.
    const NOUN: &'static str;
    /// The noun in the message about a missing row.
    const MISSING: &'static str = Self::NOUN;
    /// Finds the organization that owns the row, as [`crate::kernel::access::caller::Owner`]. A row
    /// of the platform yields no row.
    const OWNER: &'static str;
    /// The query of the areas that contain the row, if there are any.
    const WITHIN: Option<Within> = None;
}

/// The query of the areas that contain a row.
#[derive(Clone, Copy, Debug)]
pub struct Within {
    pub kinds: &'static [AreaKind],
    /// Yields the [`crate::kernel::access::areas::Area`]s of the row `$1`. The query uses an alias
    /// for the row's own table, because `$1` may be a column of that table.
    pub sql: &'static str,
}

#[macro_export]
macro_rules! ids {
    (@missing) => {};
    (@missing $missing:literal) => { const MISSING: &'static str = $missing; };
    (@within) => {};
    (@within $kinds:expr, $sql:expr) => {
        const WITHIN: Option<$crate::kernel::access::ids::Within> = Some($crate::kernel::access::ids::Within { kinds: $kinds, sql: $sql });
    };
    ($($name:ident, $noun:literal
        $(of $table:ident . $owner:ident $(as $missing:literal)? $(in $kinds:expr, $sql:expr)?)?;
    )+) => {$(
        #[doc = concat!("The ID of one ", $noun, ".")]
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type, serde::Serialize,
            serde::Deserialize,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub uuid::Uuid);

        impl $name {
            pub fn new(random: &$crate::kernel::clock::Random, now: chrono::DateTime<chrono::Utc>) -> Self {
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
        $(impl $crate::kernel::access::ids::Owned for $name {
            const NOUN: &'static str = $noun;
            const OWNER: &'static str = concat!(
                "SELECT id, status = 'suspended' AS suspended FROM organizations WHERE id = (SELECT ",
                stringify!($owner), " FROM ", stringify!($table), " WHERE id = $1)",
            );
            $crate::ids!(@missing $($missing)?);
            $crate::ids!(@within $($kinds, $sql)?);
        })?
    )+};
}

crate::ids! {
    OrganizationId, "organization" of organizations.id;
    UserId, "user";
    ProjectId, "project" of projects.organization_id in &[AreaKind::Project],
        "SELECT 'project' AS kind, p.id FROM projects p WHERE p.id = $1";
    DeploymentId, "deployment" of deployments.organization_id in &[AreaKind::Deployment],
        "SELECT 'deployment' AS kind, $1 AS id";
    AuditEventId, "audit event";
}
