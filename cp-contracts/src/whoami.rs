//! The identity of a logged-in person: the responses of `GET /api/v1/users/whoami`.
//!
//! Readers of contract 1.x get [`WhoAmIResponseV1`], readers of 2.x get [`WhoAmIResponseV2`]; see
//! [`ContractVersion`](crate::ContractVersion). These types write absent optional members as
//! `null`, as the published form does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

/// The response of contract 1.x.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WhoAmIResponseV1 {
    /// The person.
    pub user: WhoAmIUserV1,
    /// The workspaces that the person belongs to.
    pub memberships: Vec<WhoAmIMembershipV1>,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The person, in contract 1.x.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WhoAmIUserV1 {
    /// The user's id.
    pub id: Uuid,
    /// The user's e-mail address.
    pub email: String,
    /// The user's name.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Whether the user may log in. A user who may not has no memberships here.
    pub is_active: bool,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The person's membership in one workspace, in contract 1.x.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WhoAmIMembershipV1 {
    /// The workspace's id.
    pub workspace_id: Uuid,
    /// The workspace's display name.
    pub workspace_name: String,
    /// The workspace's name in URLs.
    pub workspace_slug: String,
    /// The organization that owns the workspace.
    pub organization_id: Uuid,
    /// `ACTIVE`, `INVITED` or `SUSPENDED`. Only this response uses upper case, as published.
    pub status: String,
    /// The role held there.
    pub role: WhoAmIRoleV1,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A role, in contract 1.x.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WhoAmIRoleV1 {
    /// The role's id.
    pub id: Uuid,
    /// The role's code, such as `WORKSPACE_OWNER`.
    pub code: String,
    /// Its display name.
    pub name: String,
    /// A description in one sentence.
    #[serde(default)]
    pub description: Option<String>,
    /// Whether the system defines the role.
    pub is_system: bool,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The response of contract 2.x.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WhoAmIResponseV2 {
    /// The person.
    pub user: WhoAmIUserV2,
    /// Whether the person has all permissions on the platform.
    #[serde(default)]
    pub superadmin: bool,
    /// The workspaces that the person belongs to, with the permissions in each.
    #[serde(default)]
    pub workspaces: Vec<WhoAmIWorkspaceV2>,
    /// The organizations that the person administers. This grants nothing inside their workspaces.
    #[serde(default)]
    pub organizations: Vec<WhoAmIOrganizationV2>,
    /// By workspace id, a number that grows whenever the response for that workspace may change.
    #[serde(default)]
    pub rbac_revision: BTreeMap<Uuid, i64>,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The person, in contract 2.x.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WhoAmIUserV2 {
    /// The user's id.
    pub id: Uuid,
    /// The user's e-mail address.
    pub email: String,
    /// The user's name.
    #[serde(default)]
    pub display_name: Option<String>,
    /// Whether the user may log in. A user who may not has no permissions here.
    pub is_active: bool,
    /// Whether the user has all permissions on the platform.
    #[serde(default)]
    pub is_superadmin: bool,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The person's membership in one workspace, in contract 2.x.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WhoAmIWorkspaceV2 {
    /// The workspace's id.
    pub workspace_id: Uuid,
    /// The workspace's name in URLs.
    pub workspace_slug: String,
    /// The workspace's display name.
    pub workspace_name: String,
    /// The organization that owns the workspace.
    pub organization_id: Uuid,
    /// That organization's name in URLs.
    pub organization_slug: String,
    /// The membership's status, such as `active`.
    pub status: String,
    /// The role held there.
    pub role: WhoAmIRoleV2,
    /// The permissions there.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// The groups that the person belongs to there.
    #[serde(default)]
    pub groups: Vec<WhoAmIGroup>,
    /// A number that grows whenever the response for this workspace may change.
    #[serde(default = "first_revision")]
    pub rbac_revision: i64,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The person's role in the administration of one organization, in contract 2.x (since 2.4).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WhoAmIOrganizationV2 {
    /// The organization's id.
    pub organization_id: Uuid,
    /// The organization's name in URLs.
    pub organization_slug: String,
    /// The organization's display name.
    pub organization_name: String,
    /// The membership's status, such as `active`.
    pub status: String,
    /// The role held there.
    pub role: WhoAmIRoleV2,
    /// The permissions there.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A role, in contract 2.x.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WhoAmIRoleV2 {
    /// The role's code, such as `WORKSPACE_OWNER`.
    pub code: String,
    /// Its display name.
    pub name: String,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A group that the person belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WhoAmIGroup {
    /// The group's id.
    pub id: Uuid,
    /// Its display name.
    pub name: String,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The revision of an older response that has none.
fn first_revision() -> i64 {
    1
}
