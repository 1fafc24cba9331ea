//! Roles: named sets of permissions. System roles are the same everywhere; an organization adds
//! its own.

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Deserialize;
use uuid::Uuid;

use super::invitations;
use crate::App;
use crate::kernel::answer::{Created, NoContent, Resource};
use crate::kernel::caller::{Anywhere, Scope};
use crate::kernel::clock::after;
use crate::kernel::endpoint::Cx;
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::ids::{OrganizationId, RoleId};
use crate::kernel::json::{Between, Patch};
use crate::kernel::page::{List, Page};
use crate::kernel::place::{Org, PlatformKey, Shared};
use crate::kernel::query::Rows;
use crate::kernel::record::Codes;
use crate::kernel::secret::sha256;
use crate::kernel::text::{Name, PermissionCode, Prose, RoleCode};
use crate::tenancy::workspaces;

crate::routes! { roles:
    /// Lists the system roles.
    GET "/roles" RolesRead => list_system;
    /// Lists the organization's own roles.
    GET "/organizations/{org}/roles" RolesRead => list;
    /// Creates a role of the organization.
    POST "/organizations/{org}/roles" RolesWrite => create;
    /// Reads a role.
    GET "/roles/{id}" RolesRead => read;
    /// Changes a role of an organization.
    PATCH "/roles/{id}" RolesWrite => update;
    /// Deletes a role that nobody has.
    DELETE "/roles/{id}" RolesWrite => delete;
}

crate::text_enum! {
    /// What a role can be held on.
    RoleScope {
        Platform = "platform",
        Organization = "organization",
        Workspace = "workspace",
        Project = "project",
        Group = "group",
    }
}

crate::record! {
    /// A named set of permissions.
    Role in roles {
        id: RoleId,
        /// Null for a system role.
        organization_id: Option<OrganizationId>,
        code: String,
        name: String,
        description: Option<Prose>,
        scope: RoleScope,
        /// Higher ranks are above lower ones.
        rank: i64,
        permissions: Codes,
        is_system: bool,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

impl Resource for Role {
    const NOUN: &'static str = "role";
    const PATH: &'static str = "roles";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

impl PlatformKey for RoleId {
    const NOUN: &'static str = "role";
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleFilter {
    code: Option<String>,
    scope: Option<RoleScope>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    code: RoleCode,
    name: Name,
    description: Option<Prose>,
    scope: RoleScope,
    #[serde(default = "lowest")]
    rank: Between<0, 100>,
    #[serde(default)]
    permissions: Vec<PermissionCode>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RolePatch {
    name: Option<Name>,
    #[serde(default)]
    description: Patch<Prose>,
    rank: Option<Between<0, 100>>,
    permissions: Option<Vec<PermissionCode>>,
}

fn lowest() -> Between<0, 100> {
    Between(0)
}

async fn list_system(
    cx: &mut Cx<Scope>,
    _: Anywhere,
    list: List<RoleFilter>,
) -> Result<Page<Role>> {
    let query = cx.tx.select("WHERE organization_id IS NULL");
    list.page(narrowed(query, &list.filter)).await
}

async fn list(cx: &mut Cx, _: Org, list: List<RoleFilter>) -> Result<Page<Role>> {
    let query = cx.tx.select("WHERE organization_id = $1").bind(cx.org);
    list.page(narrowed(query, &list.filter)).await
}

fn narrowed<'c>(query: Rows<'c, Role>, filter: &RoleFilter) -> Rows<'c, Role> {
    query.and_some(" AND code = ?", filter.code.as_deref()).and_some(" AND scope = ?", filter.scope)
}

async fn create(cx: &mut Cx, _: Org, new: NewRole) -> Result<Created<Role>> {
    let taken = || {
        let detail = "code: a role of this code exists already.";
        Error::new(ProblemCode::CodeTaken, detail).at("code")
    };
    // A system role's code is never shadowed, whoever is first.
    if SYSTEM.iter().any(|role| role.code == new.code.as_str()) {
        return Err(taken());
    }
    let sql = "INSERT INTO roles
               (id, organization_id, code, name, description, scope, rank, permissions, is_system,
                created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, FALSE, $9, $9)";
    let insert = cx
        .tx
        .returning(sql)
        .bind(RoleId::new(&cx.app.random, cx.now))
        .bind(cx.org)
        .bind(new.code)
        .bind(new.name)
        .bind(new.description)
        .bind(new.scope)
        .bind(new.rank.0)
        .bind(codes(new.permissions))
        .bind(cx.now);
    insert.one().await.on_conflict("roles_code", taken).map(Created)
}

/// System roles belong to everyone; others only to their organization.
async fn visible(cx: &mut Cx<Scope>, id: RoleId) -> Result<Role> {
    let query = cx.tx.select("WHERE id = $1").bind(id);
    let role: Option<Role> = match cx.org.organization() {
        None => query.opt().await?,
        Some(own) => {
            query.and(" AND (organization_id IS NULL OR organization_id = ?)", own).opt().await?
        }
    };
    role.ok_or_else(|| Error::not_found("role"))
}

/// The role, if it may be changed.
async fn changeable(cx: &mut Cx<Scope>, id: RoleId) -> Result<(Role, OrganizationId)> {
    let role = visible(cx, id).await?;
    match role.organization_id {
        Some(organization) => {
            cx.trail.organization = Some(organization);
            Ok((role, organization))
        }
        None => Err(Error::new(
            ProblemCode::SystemProtected,
            "System roles cannot be changed or deleted; create a role of your own.",
        )),
    }
}

async fn read(cx: &mut Cx<Scope>, Shared(id): Shared<RoleId>) -> Result<Role> {
    visible(cx, id).await
}

async fn update(cx: &mut Cx<Scope>, Shared(id): Shared<RoleId>, patch: RolePatch) -> Result<Role> {
    let (before, organization) = changeable(cx, id).await?;
    let sql = "UPDATE roles
               SET name = COALESCE($2, name), description = $3, rank = COALESCE($4, rank),
                   permissions = COALESCE($5, permissions), updated_at = $6
               WHERE id = $1 AND organization_id IS NOT NULL";
    let update = cx
        .tx
        .returning(sql)
        .bind(id)
        .bind(patch.name)
        .bind(patch.description.over(before.description))
        .bind(patch.rank.map(|rank| rank.0))
        .bind(patch.permissions.map(codes))
        .bind(after(before.updated_at, cx.now));
    let role = update.one().await?;
    workspaces::bump(cx, organization, None).await?;
    Ok(role)
}

async fn delete(cx: &mut Cx<Scope>, Shared(id): Shared<RoleId>) -> Result<NoContent> {
    changeable(cx, id).await?;
    invitations::forget_closed(cx, id).await?;
    // The condition holds the rule; counting afterwards only makes the message.
    let sql = "DELETE FROM roles WHERE id = $1 AND organization_id IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM memberships WHERE role_id = $1)";
    if cx.tx.q(sql).bind(id).exec().await? == 1 {
        return Ok(NoContent);
    }
    let sql = "SELECT COUNT(*) FROM memberships WHERE role_id = $1";
    let count: i64 = cx.tx.q(sql).bind(id).value().await?.unwrap_or(0);
    let detail = format!("{count} memberships have this role; give them another one first.");
    Err(Error::new(ProblemCode::InUse, detail).with("count", count))
}

/// The role that a membership names, by code (short forms too) or id.
///
/// A role of another organization does not exist here.
pub async fn resolve(
    cx: &mut Cx,
    organization: OrganizationId,
    scope: RoleScope,
    name: &str,
) -> Result<Role> {
    let unknown = || {
        let detail = format!("role: there is no {scope} role {name:?} here; invalid role.");
        Error::new(ProblemCode::RoleUnknown, detail).at("role")
    };
    let code = name.to_uppercase();
    let long = format!("{}_{code}", scope.as_str().to_uppercase());
    let query = cx
        .tx
        .select("WHERE (organization_id IS NULL OR organization_id = $1) AND scope = $2")
        .bind(organization)
        .bind(scope);
    let query = match name.parse::<RoleId>() {
        Ok(id) => query.and(" AND id = ?", id),
        Err(_) => query.and(" AND (code = ? OR", code).and(" code = ?)", long),
    };
    let found: Vec<Role> = query.all().await?;
    // An organization's own ADMIN comes before the short form of a system role.
    let own = found.iter().position(|role| !role.is_system);
    found.into_iter().nth(own.unwrap_or(0)).ok_or_else(unknown)
}

/// A role that every installation has.
pub async fn system<G>(cx: &mut Cx<G>, code: &'static str) -> Result<RoleId> {
    let sql = "SELECT id FROM roles WHERE organization_id IS NULL AND code = $1";
    let found = cx.tx.q(sql).bind(code).value().await?;
    found.ok_or_else(|| Error::internal(anyhow::anyhow!("the system roles are not seeded")))
}

pub async fn load<G>(cx: &mut Cx<G>, id: RoleId) -> Result<Role> {
    Ok(cx.tx.select("WHERE id = $1").bind(id).one().await?)
}

pub async fn purge(cx: &mut Cx) -> Result<()> {
    cx.tx.q("DELETE FROM roles WHERE organization_id = $1").bind(cx.org).exec().await?;
    Ok(())
}

fn codes(permissions: Vec<PermissionCode>) -> Codes {
    let mut codes: Vec<String> = permissions.into_iter().map(PermissionCode::into_string).collect();
    codes.sort();
    codes.dedup();
    codes.into()
}

/// The role's permissions, then the extra ones that it lacks.
pub fn union(role: &[String], extra: &[String]) -> Vec<String> {
    let mut all = role.to_vec();
    for code in extra {
        if !all.contains(code) {
            all.push(code.clone());
        }
    }
    all
}

/// A role that every installation has.
struct SystemRole {
    code: &'static str,
    name: &'static str,
    scope: RoleScope,
    rank: i64,
    permissions: &'static [&'static str],
}

pub const OWNER: &str = "ORGANIZATION_OWNER";
pub const ADMIN: &str = "ORGANIZATION_ADMIN";
pub const VIEWER: &str = "ORGANIZATION_VIEWER";

const ALL: &[&str] = &[
    "org:read",
    "org:write",
    "org:delete",
    "members:read",
    "members:write",
    "members:delete",
    "projects:read",
    "projects:write",
    "projects:delete",
    "runs:read",
    "runs:write",
    "runs:delete",
    "artifacts:read",
    "artifacts:write",
    "artifacts:delete",
    "billing:read",
    "billing:manage",
    "settings:read",
    "settings:write",
];
const ADMINS: &[&str] = &[
    "org:read",
    "org:write",
    "members:read",
    "members:write",
    "members:delete",
    "projects:read",
    "projects:write",
    "projects:delete",
    "runs:read",
    "runs:write",
    "runs:delete",
    "artifacts:read",
    "artifacts:write",
    "artifacts:delete",
    "billing:read",
    "settings:read",
    "settings:write",
];
const MEMBERS: &[&str] = &[
    "org:read",
    "members:read",
    "settings:read",
    "projects:read",
    "projects:write",
    "runs:read",
    "runs:write",
    "artifacts:read",
    "artifacts:write",
];
const VIEWERS: &[&str] =
    &["org:read", "members:read", "settings:read", "projects:read", "runs:read", "artifacts:read"];

/// Least first: lists are newest first, and ids follow this order.
#[rustfmt::skip]
const SYSTEM: &[SystemRole] = &[
    SystemRole { code: "GROUP_MEMBER", name: "Group member", scope: RoleScope::Group, rank: 2, permissions: &[] },
    SystemRole { code: "GROUP_ADMIN", name: "Group admin", scope: RoleScope::Group, rank: 3, permissions: &["members:read", "members:write", "members:delete"] },
    SystemRole { code: "PROJECT_VIEWER", name: "Project viewer", scope: RoleScope::Project, rank: 1, permissions: &["projects:read", "runs:read", "artifacts:read"] },
    SystemRole { code: "PROJECT_MEMBER", name: "Project member", scope: RoleScope::Project, rank: 2, permissions: &["projects:read", "projects:write", "runs:read", "runs:write", "artifacts:read", "artifacts:write"] },
    SystemRole { code: "PROJECT_ADMIN", name: "Project admin", scope: RoleScope::Project, rank: 3, permissions: &["projects:read", "projects:write", "projects:delete", "runs:read", "runs:write", "runs:delete", "artifacts:read", "artifacts:write", "artifacts:delete"] },
    SystemRole { code: "WORKSPACE_VIEWER", name: "Workspace viewer", scope: RoleScope::Workspace, rank: 1, permissions: VIEWERS },
    SystemRole { code: "WORKSPACE_MEMBER", name: "Workspace member", scope: RoleScope::Workspace, rank: 2, permissions: MEMBERS },
    SystemRole { code: "WORKSPACE_ADMIN", name: "Workspace admin", scope: RoleScope::Workspace, rank: 3, permissions: ADMINS },
    SystemRole { code: "WORKSPACE_OWNER", name: "Workspace owner", scope: RoleScope::Workspace, rank: 4, permissions: ALL },
    SystemRole { code: VIEWER, name: "Viewer", scope: RoleScope::Organization, rank: 1, permissions: VIEWERS },
    SystemRole { code: "ORGANIZATION_MEMBER", name: "Member", scope: RoleScope::Organization, rank: 2, permissions: MEMBERS },
    SystemRole { code: ADMIN, name: "Admin", scope: RoleScope::Organization, rank: 3, permissions: ADMINS },
    SystemRole { code: OWNER, name: "Owner", scope: RoleScope::Organization, rank: 4, permissions: ALL },
    SystemRole { code: "SUPERADMIN", name: "Superadmin", scope: RoleScope::Platform, rank: 5, permissions: &["*"] },
];

/// Brings the system roles up to date; every start does it, on every replica.
pub async fn seed(app: &App) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    for (order, role) in SYSTEM.iter().enumerate() {
        let permissions: Vec<String> = role.permissions.iter().map(|p| (*p).to_owned()).collect();
        let sql = "INSERT INTO roles
                   (id, code, name, scope, rank, permissions, is_system, created_at, updated_at)
                   VALUES ($1, $2, $3, $4, $5, $6, TRUE, $7, $7)
                   ON CONFLICT DO NOTHING";
        let id = system_id(order, role.code);
        tx.q(sql)
            .bind(id)
            .bind(role.code)
            .bind(role.name)
            .bind(role.scope)
            .bind(role.rank)
            .bind(Codes::from(permissions.clone()))
            .bind(now)
            .exec()
            .await?;
        // An upsert would watch one of the two unique indexes, and trip over the other when
        // replicas start together.
        let sql = "UPDATE roles SET name = $2, rank = $3, permissions = $4, updated_at = $5
                   WHERE id = $1 AND (name <> $2 OR rank <> $3 OR permissions <> $4)";
        tx.q(sql)
            .bind(id)
            .bind(role.name)
            .bind(role.rank)
            .bind(Codes::from(permissions))
            .bind(now)
            .exec()
            .await?;
    }
    tx.commit().await?;
    Ok(())
}

/// The same id in every installation: a UUIDv8 (RFC 9562, section 5.8) of the order and the code.
fn system_id(order: usize, code: &str) -> RoleId {
    let hash = sha256(code.as_bytes());
    let mut bytes = [0; 16];
    bytes[1] = u8::try_from(order).unwrap_or(u8::MAX);
    bytes[2..].copy_from_slice(&hash[..14]);
    RoleId(Uuid::new_v8(bytes))
}
