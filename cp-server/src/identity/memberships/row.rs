//! Memberships as they are stored, with their roles and their persons.

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use uuid::Uuid;

use super::{AcceptedAs, At, Membership, MembershipRole, MembershipStatus};
use crate::identity::escalation::Inviter;
use crate::identity::roles::{self, RoleScope};
use crate::kernel::ids::{GroupId, MembershipId, OrganizationId, RoleId, UserId, WorkspaceId};
use crate::kernel::record::{Codes, Record};

/// A membership with its role and its person: one statement, never one per member.
#[derive(sqlx::FromRow)]
pub struct MembershipRow {
    pub(super) id: MembershipId,
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

impl From<MembershipRow> for Membership {
    fn from(row: MembershipRow) -> Self {
        let effective_permissions = roles::union(&row.role_permissions, &row.permissions);
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
