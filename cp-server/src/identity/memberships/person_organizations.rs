//! Where a person is a member, seen from the person.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::row::{MembershipRole, MembershipStatus};
use crate::identity::ids::{MembershipId, RoleId};
use crate::identity::roles::row::union;
use crate::identity::users::rows as users;
use crate::kernel::access::caller::Scope;
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::access::platform::PlatformRow;
use crate::kernel::db::record::{Codes, Record};
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::page::{List, NoFilter, Page};
use crate::kernel::text::ExternalId;
use crate::tenancy::organizations::OrganizationStatus;

crate::routes! { users:
    /// Lists the person's organizations, with the role in each.
    GET "/users/{id}/organizations" USERS_READ => list_organizations;
}

/// An organization, as one of its members sees it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OrganizationOfUser {
    id: OrganizationId,
    name: String,
    slug: String,
    status: OrganizationStatus,
    external_id: Option<ExternalId>,
    role: MembershipRole,
    membership: MembershipOfUser,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct MembershipOfUser {
    id: MembershipId,
    status: MembershipStatus,
    /// What this member may do beyond the role.
    permissions: Vec<String>,
    /// The role's permissions and the extra ones.
    effective_permissions: Vec<String>,
    created_at: DateTime<Utc>,
}

async fn list_organizations(
    cx: &mut Cx<Scope>,
    PlatformRow(id): PlatformRow<UserId>,
    list: List<NoFilter>,
) -> Result<Page<OrganizationOfUser>> {
    users::load(cx, id).await?;
    let query = cx
        .tx
        .select("WHERE memberships.user_id = $1 AND memberships.scope = 'organization'")
        .bind(id);
    let page: Page<Row> = list.page(query).await?;
    Ok(page.map(OrganizationOfUser::from))
}

#[derive(sqlx::FromRow)]
struct Row {
    membership: MembershipId,
    organization_id: OrganizationId,
    name: String,
    slug: String,
    organization_status: OrganizationStatus,
    external_id: Option<ExternalId>,
    role_id: RoleId,
    role_code: String,
    role_name: String,
    role_rank: i64,
    role_permissions: Codes,
    status: MembershipStatus,
    permissions: Codes,
    created_at: DateTime<Utc>,
}

impl Record for Row {
    const TABLE: &'static str = "memberships
        JOIN organizations ON organizations.id = memberships.organization_id
        JOIN roles ON roles.id = memberships.role_id";
    const COLUMNS: &'static str = "memberships.id AS membership, memberships.organization_id,
        organizations.name, organizations.slug, organizations.status AS organization_status,
        organizations.external_id, memberships.role_id, roles.code AS role_code,
        roles.name AS role_name, roles.rank AS role_rank, roles.permissions AS role_permissions,
        memberships.status, memberships.permissions, memberships.created_at";
    const KEY: &'static str = "memberships.id";
    fn key(&self) -> Uuid {
        self.membership.0
    }
}

impl From<Row> for OrganizationOfUser {
    fn from(row: Row) -> Self {
        Self {
            id: row.organization_id,
            name: row.name,
            slug: row.slug,
            status: row.organization_status,
            external_id: row.external_id,
            role: MembershipRole {
                id: row.role_id,
                code: row.role_code,
                name: row.role_name,
                rank: row.role_rank,
            },
            membership: MembershipOfUser {
                id: row.membership,
                status: row.status,
                effective_permissions: union(&row.role_permissions, &row.permissions),
                permissions: row.permissions.to_vec(),
                created_at: row.created_at,
            },
        }
    }
}
