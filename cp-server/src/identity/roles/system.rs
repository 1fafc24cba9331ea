//! The system roles: the same in every installation, with the same ids.

use uuid::Uuid;

use super::row::RoleScope;
use crate::identity::ids::RoleId;
use crate::identity::role_grants::{permissions_of, privileges_of};
use crate::kernel::access::permissions::{Permissions, Privileges};
use crate::kernel::app::App;
use crate::kernel::db::record::Codes;
use crate::kernel::error::Result;
use crate::kernel::secret::sha256;

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

/// The system roles' codes, where they are held, and what they let do here.
pub fn of_system() -> impl Iterator<Item = (&'static str, RoleScope, Permissions)> {
    SYSTEM
        .iter()
        .map(|role| (role.code, role.scope, permissions_of(role.permissions.iter().copied())))
}

/// The codes of data planes that system roles have.
pub fn is_code_of_system(code: &str) -> bool {
    SYSTEM.iter().any(|role| role.permissions.contains(&code))
}

/// The rank of what a token holds: that of the highest system role of organizations whose codes it
/// holds, all of them.
pub fn rank_of(held: &Privileges) -> i64 {
    let of_organization = SYSTEM.iter().filter(|role| role.scope == RoleScope::Organization);
    let codes = |role: &SystemRole| role.permissions.iter().map(|code| (*code).to_owned());
    let given = |role: &SystemRole| privileges_of(&codes(role).collect::<Vec<_>>(), role.rank);
    let covered = of_organization.filter(|role| held.lacking(&given(role)).is_empty());
    covered.map(|role| role.rank).max().unwrap_or(0)
}

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
