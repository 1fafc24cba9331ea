//! Memberships as they are stored, with their roles and persons.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::types::Json;
use uuid::Uuid;

use crate::identity::ids::{MembershipId, RoleId};
use crate::identity::inviter::Inviter;
use crate::identity::roles::row::{RoleScope, union};
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::access::personal::Personal;
use crate::kernel::db::record::{Codes, Record};
use crate::kernel::http::answer::Resource;
use crate::kernel::section::{ExportRequest, Exported};
use crate::tenancy::ids::{GroupId, WorkspaceId};

/// The place of a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    Organization,
    Workspace(WorkspaceId),
    Group(GroupId),
}

impl At {
    pub fn scope(self) -> RoleScope {
        match self {
            Self::Organization => RoleScope::Organization,
            Self::Workspace(_) => RoleScope::Workspace,
            Self::Group(_) => RoleScope::Group,
        }
    }

    pub fn workspace(self) -> Option<WorkspaceId> {
        if let Self::Workspace(id) = self { Some(id) } else { None }
    }
}

crate::text_enum! {
    MembershipStatus { Invited = "invited", Active = "active", Suspended = "suspended" }
}

crate::text_enum! {
    /// The way in which a seat was taken.
    AcceptedAs {
        /// The person took it while logged in.
        Person = "person",
        /// The holder of the invitation's token took it, without a login.
        Token = "token",
        /// The person's first login took it.
        FirstLogin = "first_login",
        /// The platform seated the person.
        Vendor = "vendor",
        /// The person was a member of the organization already.
        Member = "member",
    }
}

/// A person's seat in an organization or workspace.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Membership {
    id: MembershipId,
    organization_id: OrganizationId,
    scope: RoleScope,
    workspace_id: Option<WorkspaceId>,
    group_id: Option<GroupId>,
    user_id: UserId,
    email: String,
    role: MembershipRole,
    status: MembershipStatus,
    /// The member's permissions beyond the role.
    permissions: Vec<String>,
    /// The role's permissions and the extra ones.
    effective_permissions: Vec<String>,
    /// The instant at which the person took the seat; null while it is offered.
    accepted_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct MembershipRole {
    pub(in crate::identity) id: RoleId,
    pub(in crate::identity) code: String,
    pub(in crate::identity) name: String,
    pub(in crate::identity) rank: i64,
}

impl Personal for MembershipId {
    // A suspended member can neither accept nor leave.
    const PERSON: &'static str =
        "SELECT user_id FROM memberships WHERE id = $1 AND status <> 'suspended'";
}

impl Resource for Membership {
    const NOUN: &'static str = "membership";
    const PATH: &'static str = "memberships";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

/// A membership with its role and its person: one statement, never one per member.
#[derive(sqlx::FromRow)]
pub struct MembershipRow {
    pub id: MembershipId,
    pub(super) organization_id: OrganizationId,
    pub(super) scope: RoleScope,
    pub(super) workspace_id: Option<WorkspaceId>,
    pub(super) group_id: Option<GroupId>,
    pub(super) user_id: UserId,
    pub(super) email: String,
    pub(super) role_id: RoleId,
    pub(super) role_code: String,
    pub(super) role_name: String,
    pub(super) role_rank: i64,
    pub(super) role_permissions: Codes,
    pub(super) status: MembershipStatus,
    pub(super) permissions: Codes,
    pub(super) accepted_at: Option<DateTime<Utc>>,
    pub(super) accepted_as: Option<AcceptedAs>,
    pub(super) inviter: Option<Json<Inviter>>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

impl Record for MembershipRow {
    const TABLE: &'static str = "memberships
        JOIN roles ON roles.id = memberships.role_id
        JOIN users ON users.id = memberships.user_id";
    const COLUMNS: &'static str = "memberships.id, memberships.organization_id, memberships.scope,
        memberships.workspace_id, memberships.group_id, memberships.user_id, users.email, memberships.role_id,
        roles.code AS role_code, roles.name AS role_name, roles.rank AS role_rank,
        roles.permissions AS role_permissions, memberships.status, memberships.permissions,
        memberships.accepted_at, memberships.accepted_as, memberships.inviter,
        memberships.created_at, memberships.updated_at";
    const KEY: &'static str = "memberships.id";
    fn key(&self) -> Uuid {
        self.id.0
    }
}

impl MembershipRow {
    pub(super) fn at(&self) -> At {
        match (self.workspace_id, self.group_id) {
            (Some(workspace), _) => At::Workspace(workspace),
            (None, Some(group)) => At::Group(group),
            (None, None) => At::Organization,
        }
    }
}

impl Exported for MembershipRow {
    type Shown = Membership;
    fn shown(self, _: &ExportRequest) -> Membership {
        self.into()
    }
}

impl From<MembershipRow> for Membership {
    fn from(row: MembershipRow) -> Self {
        let effective_permissions = union(&row.role_permissions, &row.permissions);
        Self {
            id: row.id,
            organization_id: row.organization_id,
            scope: row.scope,
            workspace_id: row.workspace_id,
            group_id: row.group_id,
            user_id: row.user_id,
            email: row.email,
            role: MembershipRole {
                id: row.role_id,
                code: row.role_code,
                name: row.role_name,
                rank: row.role_rank,
            },
            status: row.status,
            permissions: row.permissions.to_vec(),
            effective_permissions,
            accepted_at: row.accepted_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}
