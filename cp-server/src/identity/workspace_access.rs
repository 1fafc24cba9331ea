//! Whether a person may enter a workspace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kernel::access::ids::UserId;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::tenancy::ids::WorkspaceId;
use crate::tenancy::workspaces::Isolation;

crate::routes! { workspaces:
    /// Tells whether a person may enter the workspace, and by what.
    ///
    /// An active membership of the workspace lets in. Else one of the organization does: of at
    /// least a member's rank, of any rank when the isolation is relaxed, of none when it is strict.
    GET "/workspaces/{id}/access" USERS_WHOAMI => check_access;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    user: UserId,
}

crate::text_enum! {
    /// By what a person may enter.
    Via {
        WorkspaceMembership = "workspace_membership",
        OrganizationMembership = "organization_membership",
    }
}

/// Whether a person may enter, and by what.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Access {
    allowed: bool,
    /// Null when not allowed.
    via: Option<Via>,
    workspace_id: WorkspaceId,
    user_id: UserId,
    /// The workspace's own, or the organization's.
    isolation: Isolation,
}

#[derive(sqlx::FromRow)]
struct Facts {
    isolation: Isolation,
    is_active: bool,
    in_workspace: bool,
    /// Of the person's role in the organization.
    rank: Option<i64>,
}

async fn check_access(cx: &mut Cx, id: WorkspaceId, asked: Asked) -> Result<Access> {
    let sql = "SELECT COALESCE(NULLIF(w.isolation, 'inherited'),
                               o.settings ->> 'isolation_level', 'standard') AS isolation,
                      EXISTS (SELECT 1 FROM users u WHERE u.id = $3 AND u.is_active) AS is_active,
                      EXISTS (SELECT 1 FROM memberships m
                              WHERE m.workspace_id = w.id AND m.user_id = $3
                                AND m.scope = 'workspace' AND m.status = 'active') AS in_workspace,
                      (SELECT r.rank FROM memberships m JOIN roles r ON r.id = m.role_id
                       WHERE m.organization_id = w.organization_id AND m.user_id = $3
                         AND m.scope = 'organization' AND m.status = 'active') AS rank
               FROM workspaces w JOIN organizations o ON o.id = w.organization_id
               WHERE w.id = $1 AND w.organization_id = $2";
    let facts: Facts = cx.tx.q(sql).bind(id).bind(cx.at).bind(asked.user).one().await?;
    let via = facts.is_active.then(|| via(facts.isolation, facts.in_workspace, facts.rank));
    let via = via.flatten();
    let (workspace_id, user_id, isolation) = (id, asked.user, facts.isolation);
    Ok(Access { allowed: via.is_some(), via, workspace_id, user_id, isolation })
}

/// The rank of `ORGANIZATION_MEMBER`.
const MEMBER: i64 = 2;

fn via(isolation: Isolation, in_workspace: bool, rank: Option<i64>) -> Option<Via> {
    if in_workspace {
        return Some(Via::WorkspaceMembership);
    }
    let enough = match isolation {
        Isolation::Strict => false,
        Isolation::Standard => rank.is_some_and(|rank| rank >= MEMBER),
        Isolation::Relaxed => rank.is_some(),
    };
    enough.then_some(Via::OrganizationMembership)
}
