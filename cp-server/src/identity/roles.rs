//! Roles: named sets of permissions. System roles are the same everywhere; an organization adds its
//! own.

pub mod row;
pub mod system;

use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::invitations;
use super::role_grants::privileges_of;
use crate::identity::ids::RoleId;
use crate::kernel::access::caller::{CallerScope, Privileges, Scope};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::place::Org;
use crate::kernel::access::platform::OrgOrPlatform;
use crate::kernel::access::policy::Location;
use crate::kernel::clock::after;
use crate::kernel::db::query::Rows;
use crate::kernel::db::record::Codes;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::answer::{Created, NoContent};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::{Between, Patch};
use crate::kernel::http::page::{List, Page};
use crate::kernel::section::Section;
use crate::kernel::text::{Name, PermissionCode, Prose, RoleCode};
use crate::tenancy::workspaces;

pub use row::{Role, RoleScope};
pub use system::{of_system, seed};

crate::permissions! {
    /// Read roles.
    ROLES_READ = "roles:read", implied by ["org:read"];
    /// Create and change custom roles.
    ROLES_WRITE = "roles:write", implied by ["settings:write"];
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "roles",
    "role",
    Export::Section(Section::many::<Role>("roles").order("code")),
)
.permissions(PERMISSIONS);

crate::routes! {
    /// Named sets of permissions: the roles of the system and those of an organization.
    roles declares DECLARATION:
    /// Lists the system roles.
    GET "/roles" ANY => list_system;
    /// Lists the organization's own roles.
    GET "/organizations/{org}/roles" ROLES_READ => list;
    /// Creates a role of the organization.
    POST "/organizations/{org}/roles" ROLES_WRITE => create, grants;
    /// Reads a role.
    GET "/roles/{id}" ROLES_READ => read;
    /// Changes a role of an organization.
    PATCH "/roles/{id}" ROLES_WRITE => update, grants;
    /// Deletes a role without members.
    DELETE "/roles/{id}" ROLES_WRITE => delete;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleFilter {
    /// Returns the roles with this code only.
    code: Option<String>,
    /// Returns the roles of this scope only.
    scope: Option<RoleScope>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    /// The code, unique in the organization and different from those of system roles.
    code: RoleCode,
    /// The display name.
    name: Name,
    /// A description, up to 4,000 characters.
    description: Option<Prose>,
    /// The scope at which the role can be held.
    scope: RoleScope,
    /// The rank, from 0 to 100; 0 when absent. Higher ranks are above lower ones, and callers grant
    /// at most their own rank.
    #[serde(default = "lowest")]
    rank: Between<0, 100>,
    /// The permission codes of the role; none when absent.
    #[serde(default)]
    permissions: Vec<PermissionCode>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RolePatch {
    /// The new display name.
    name: Option<Name>,
    /// The new description, up to 4,000 characters. Null removes it.
    #[serde(default)]
    description: Patch<Prose>,
    /// The new rank, from 0 to 100; at most the caller's own.
    rank: Option<Between<0, 100>>,
    /// The new permission codes. They replace the ones before.
    permissions: Option<Vec<PermissionCode>>,
}

fn lowest() -> Between<0, 100> {
    Between(0)
}

async fn list_system(
    cx: &mut Cx<Scope>,
    _: CallerScope,
    list: List<RoleFilter>,
) -> Result<Page<Role>> {
    let query = cx.tx.select("WHERE organization_id IS NULL");
    list.page(narrowed(query, &list.filter)).await
}

async fn list(cx: &mut Cx, _: Org, list: List<RoleFilter>) -> Result<Page<Role>> {
    let query = cx.tx.select("WHERE organization_id = $1").bind(cx.at);
    list.page(narrowed(query, &list.filter)).await
}

fn narrowed<'c>(query: Rows<'c, Role>, filter: &RoleFilter) -> Rows<'c, Role> {
    query.and_some(" AND code = ?", filter.code.as_deref()).and_some(" AND scope = ?", filter.scope)
}

async fn create(cx: &mut Cx, _: Org, new: NewRole) -> Result<Created<Role>> {
    let taken = || {
        let detail = "`code` is already used by another role.";
        Error::new(ProblemCode::CodeTaken, detail).at("code")
    };
    // A system role's code is never shadowed, whatever the order of requests.
    if of_system().any(|(code, ..)| code == new.code.as_str()) {
        return Err(taken());
    }
    let permissions = codes(new.permissions)?;
    let given = privileges_of(permissions.iter(), new.rank.0);
    refuse_giving(cx, cx.at, &given)?;
    let sql = "INSERT INTO roles
               (id, organization_id, code, name, description, scope, rank, permissions, is_system,
                created_at, updated_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, FALSE, $9, $9)";
    let insert = cx
        .tx
        .returning(sql)
        .bind(RoleId::new(&cx.app.random, cx.now))
        .bind(cx.at)
        .bind(new.code)
        .bind(new.name)
        .bind(new.description)
        .bind(new.scope)
        .bind(new.rank.0)
        .bind(permissions)
        .bind(cx.now);
    insert.one().await.on_conflict("roles_code", taken).map(Created)
}

/// Returns a role that the organization may see: a system role, or one of its own.
async fn visible(cx: &mut Cx<Scope>, id: RoleId) -> Result<Role> {
    let query = cx.tx.select("WHERE id = $1").bind(id);
    let role: Option<Role> = match cx.at.organization() {
        None => query.opt().await?,
        Some(own) => {
            query.and(" AND (organization_id IS NULL OR organization_id = ?)", own).opt().await?
        }
    };
    role.ok_or_else(|| Error::not_found("role"))
}

/// Returns the role, if it may be changed.
async fn changeable(cx: &mut Cx<Scope>, id: RoleId) -> Result<(Role, OrganizationId)> {
    let role = visible(cx, id).await?;
    match role.organization_id {
        Some(organization) => {
            cx.audit.organization = Some(organization);
            Ok((role, organization))
        }
        None => Err(Error::new(
            ProblemCode::SystemProtected,
            "System roles cannot be changed or deleted; create a role of your own.",
        )),
    }
}

async fn read(cx: &mut Cx<Scope>, OrgOrPlatform(id): OrgOrPlatform<RoleId>) -> Result<Role> {
    visible(cx, id).await
}

async fn update(
    cx: &mut Cx<Scope>,
    OrgOrPlatform(id): OrgOrPlatform<RoleId>,
    patch: RolePatch,
) -> Result<Role> {
    let (before, organization) = changeable(cx, id).await?;
    // The role's permissions before matter, too: a caller neither adds nor removes what it does not
    // hold.
    refuse_giving(cx, organization, &before.privileges())?;
    let permissions = patch.permissions.map(codes).transpose()?;
    let rank = patch.rank.map_or(before.rank, |rank| rank.0);
    let given = permissions.as_ref().unwrap_or(&before.permissions);
    refuse_giving(cx, organization, &privileges_of(given.iter(), rank))?;
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
        .bind(rank)
        .bind(permissions)
        .bind(after(before.updated_at, cx.now));
    let role = update.one().await?;
    workspaces::bump(cx, organization, None).await?;
    Ok(role)
}

async fn delete(cx: &mut Cx<Scope>, OrgOrPlatform(id): OrgOrPlatform<RoleId>) -> Result<NoContent> {
    let (before, organization) = changeable(cx, id).await?;
    refuse_giving(cx, organization, &before.privileges())?;
    invitations::forget_closed(cx, id).await?;
    // The condition enforces the rule; the counts afterwards are only for the message.
    let sql = "DELETE FROM roles WHERE id = $1 AND organization_id IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM memberships WHERE role_id = $1)
               AND NOT EXISTS (SELECT 1 FROM invitations WHERE role_id = $1)";
    if cx.tx.q(sql).bind(id).exec().await? == 1 {
        return Ok(NoContent);
    }
    let sql = "SELECT (SELECT COUNT(*) FROM memberships WHERE role_id = $1),
                      (SELECT COUNT(*) FROM invitations WHERE role_id = $1)";
    let (members, invited): (i64, i64) = cx.tx.q(sql).bind(id).one().await?;
    let detail = match invited {
        0 => format!("{members} memberships have this role. Change their role first."),
        _ => format!(
            "{members} memberships and {invited} open invitations have this role. Change the role \
             of the memberships, and revoke the invitations first."
        ),
    };
    Err(Error::new(ProblemCode::InUse, detail).with("count", members + invited))
}

/// Refuses a role that grants what the caller does not hold in the organization.
fn refuse_giving<G>(cx: &Cx<G>, organization: OrganizationId, given: &Privileges) -> Result<()> {
    cx.caller.refuse_giving(given, Location::Organization(organization), "permissions")
}

fn codes(permissions: Vec<PermissionCode>) -> Result<Codes> {
    let mut codes: Vec<String> = permissions.into_iter().map(PermissionCode::into_string).collect();
    codes.sort();
    codes.dedup();
    Codes::bounded("permissions", codes)
}
