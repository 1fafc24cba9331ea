//! Grants: the permissions of a person's roles at this server, with their scopes.
//!
//! # Design
//! A role's codes are those of the data planes (`org:write`, `settings:read`); this API requires
//! finer ones. A code grants its own permission, and each permission that is declared as implied by
//! it. No code implies what an organization buys (subscriptions, licenses, limits, billing): the
//! vendor decides it.

use crate::kernel::access::areas::{Area, AreaKind};
use crate::kernel::access::ids::{OrganizationId, ProjectId, UserId};
use crate::kernel::access::permissions::{Permission, Permissions, Privileges};
use crate::kernel::access::policy::{Domain, Grant};
use crate::kernel::db::Conn;
use crate::kernel::db::record::Codes;
use crate::kernel::error::Result;
use crate::tenancy::ids::{GroupId, WorkspaceId};

/// Returns the permissions of codes at this server. Codes of the data planes' own grant none.
pub fn permissions_of<'a>(codes: impl IntoIterator<Item = &'a str>) -> Permissions {
    codes.into_iter().fold(Permissions::NONE, |all, code| {
        let own = Permissions::known([code]);
        let implied =
            Permission::all().iter().filter(|one| one.details().implied_by.contains(&code));
        all.union(implied.fold(own, |set, one| set.with(*one)))
    })
}

/// Returns the privileges of codes in a role of this rank.
pub fn privileges_of<'a>(codes: impl IntoIterator<Item = &'a String>, rank: i64) -> Privileges {
    let codes: Vec<String> = codes.into_iter().cloned().collect();
    let permissions = permissions_of(codes.iter().map(String::as_str));
    Privileges { permissions, codes, rank }
}

/// A membership of a person, or the role of one of their teams on a project.
#[derive(sqlx::FromRow)]
struct Holding {
    organization_id: OrganizationId,
    workspace_id: Option<WorkspaceId>,
    group_id: Option<GroupId>,
    project_id: Option<ProjectId>,
    /// The product label of the group. A login may be restricted to some labels.
    product: Option<String>,
    role_code: String,
    role_rank: i64,
    role_permissions: Codes,
    extra: Option<Codes>,
}

/// Returns the grants of the person's active memberships and of their teams' roles on projects.
///
/// `products` restricts the groups that count; empty counts all.
pub async fn of_person(
    tx: &mut Conn,
    user: UserId,
    organization: Option<OrganizationId>,
    products: &[String],
) -> Result<Vec<Grant>> {
    seats(tx, user, organization, false).await.map(|seats| {
        let counts = |seat: &Holding| {
            let label = seat.product.as_deref().unwrap_or_default();
            label.is_empty() || products.is_empty() || products.iter().any(|p| p == label)
        };
        seats.into_iter().filter(counts).map(Holding::into_grant).collect()
    })
}

/// Returns the grants of all of the person's memberships, including those that are not active
/// (yet): everywhere, or in one organization.
pub async fn of_every_seat(
    tx: &mut Conn,
    user: UserId,
    organization: Option<OrganizationId>,
) -> Result<Vec<Grant>> {
    Ok(seats(tx, user, organization, true).await?.into_iter().map(Holding::into_grant).collect())
}

async fn seats(
    tx: &mut Conn,
    user: UserId,
    organization: Option<OrganizationId>,
    with_inactive: bool,
) -> Result<Vec<Holding>> {
    let sql = "SELECT m.organization_id, m.workspace_id, m.group_id, NULL AS project_id, g.product,
                      r.code AS role_code, r.rank AS role_rank,
                      r.permissions AS role_permissions,
                      m.permissions AS extra, m.id AS membership
               FROM memberships m
               JOIN roles r ON r.id = m.role_id
               LEFT JOIN groups g ON g.id = m.group_id
               WHERE m.user_id = $1 AND (m.status = 'active' OR $4)
                 AND ($2 OR m.organization_id = $3)
               UNION ALL
               SELECT p.organization_id, NULL, NULL, p.project_id, g.product, r.code, r.rank,
                      r.permissions, NULL, m.id
               FROM memberships m
               JOIN groups g ON g.id = m.group_id
               JOIN project_grants p ON p.group_id = g.id
               JOIN roles r ON r.id = p.role_id
               WHERE m.user_id = $1 AND (m.status = 'active' OR $4)
                 AND ($2 OR m.organization_id = $3)
               ORDER BY membership, project_id";
    let query = tx.q(sql).bind(user).bind(organization.is_none()).bind(organization);
    Ok(query.bind(with_inactive).all().await?)
}

impl Holding {
    fn into_grant(self) -> Grant {
        let area = self
            .workspace_id
            .map(|id| Area { kind: AreaKind::Workspace, id: id.0 })
            .or(self.group_id.map(|id| Area { kind: AreaKind::Group, id: id.0 }))
            .or(self.project_id.map(|id| Area { kind: AreaKind::Project, id: id.0 }));
        let own = self.organization_id;
        let on = area.map_or(Domain::Organization(own), |area| Domain::Area(own, area));
        let extra = self.extra.unwrap_or_default();
        let codes = self.role_permissions.iter().chain(extra.iter());
        Grant::new(on, privileges_of(codes, self.role_rank), self.role_code)
    }
}

/// Returns the grants in an organization of roles that a provider vouches for.
pub async fn of_roles(
    tx: &mut Conn,
    organization: OrganizationId,
    codes: &[String],
) -> Result<Vec<Grant>> {
    let mut grants = Vec::new();
    for code in codes {
        let sql = "SELECT rank, permissions FROM roles
                   WHERE (organization_id IS NULL OR organization_id = $1)
                     AND scope = 'organization' AND code = $2";
        let role: Option<(i64, Codes)> = tx.q(sql).bind(organization).bind(code).opt().await?;
        // A role of the provider that this server does not know.
        let Some((rank, codes)) = role else { continue };
        let on = Domain::Organization(organization);
        let given = privileges_of(codes.iter(), rank);
        grants.push(Grant::new(on, given, format!("{code}, by the provider")));
    }
    Ok(grants)
}
