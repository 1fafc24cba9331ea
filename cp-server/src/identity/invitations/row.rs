//! Invitations as they are stored, with their roles.

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::types::Json;
use uuid::Uuid;

use crate::identity::ids::{InvitationId, RoleId};
use crate::identity::inviter::Inviter;
use crate::identity::memberships::row::MembershipRole;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::db::record::Record;
use crate::kernel::error::Error;
use crate::kernel::section::{ExportRequest, Exported};
use crate::kernel::text::Prose;
use crate::tenancy::ids::WorkspaceId;

crate::text_enum! { InvitationStatus {
    Pending = "pending", Accepted = "accepted", Revoked = "revoked", Expired = "expired",
} }

/// A seat that is offered to an e-mail address.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Invitation {
    pub(super) id: InvitationId,
    organization_id: OrganizationId,
    email: String,
    role: MembershipRole,
    /// The workspace that the person joins as well.
    workspace_id: Option<WorkspaceId>,
    message: Option<Prose>,
    pub(super) status: InvitationStatus,
    expires_at: DateTime<Utc>,
    accepted_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// An invitation as it is stored.
#[derive(sqlx::FromRow)]
pub struct InvitationRow {
    pub(super) id: InvitationId,
    pub(super) organization_id: OrganizationId,
    pub(super) email: String,
    pub(super) role_id: RoleId,
    pub(super) role_code: String,
    pub(super) role_name: String,
    pub(super) role_rank: i64,
    pub(super) workspace_id: Option<WorkspaceId>,
    pub(super) message: Option<Prose>,
    pub(super) status: InvitationStatus,
    pub(super) expires_at: DateTime<Utc>,
    pub(super) accepted_at: Option<DateTime<Utc>>,
    pub(super) token_hash: Vec<u8>,
    pub(super) inviter: Option<Json<Inviter>>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
}

impl Record for InvitationRow {
    const TABLE: &'static str = "invitations JOIN roles ON roles.id = invitations.role_id";
    const COLUMNS: &'static str = "invitations.id, invitations.organization_id, invitations.email,
        invitations.role_id, roles.code AS role_code, roles.name AS role_name,
        roles.rank AS role_rank, invitations.workspace_id, invitations.message,
        invitations.status, invitations.expires_at, invitations.accepted_at,
        invitations.token_hash, invitations.inviter,
        invitations.created_at, invitations.updated_at";
    const KEY: &'static str = "invitations.id";
    fn key(&self) -> Uuid {
        self.id.0
    }
}

impl Exported for InvitationRow {
    type Shown = Invitation;
    fn shown(self, request: &ExportRequest) -> Invitation {
        self.at(request.now)
    }
}

impl InvitationRow {
    /// Returns the invitation as of this instant: it expires by time, without a write.
    pub fn at(self, now: DateTime<Utc>) -> Invitation {
        let over = self.status == InvitationStatus::Pending && self.expires_at <= now;
        let status = if over { InvitationStatus::Expired } else { self.status };
        let (id, code) = (self.role_id, self.role_code);
        let role = MembershipRole { id, code, name: self.role_name, rank: self.role_rank };
        Invitation {
            id: self.id,
            organization_id: self.organization_id,
            email: self.email,
            role,
            workspace_id: self.workspace_id,
            message: self.message,
            status,
            expires_at: self.expires_at,
            accepted_at: self.accepted_at,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

pub(super) fn closed(status: InvitationStatus) -> Error {
    let detail = format!("The invitation is {status}; only a pending one can be used.");
    Error::new(ProblemCode::InvitationClosed, detail).with("invitation_status", status.as_str())
}
