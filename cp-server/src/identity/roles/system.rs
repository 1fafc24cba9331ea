//! The system roles: the same in every installation, with the same IDs.

use std::sync::LazyLock;

use uuid::Uuid;

use super::row::RoleScope;
use crate::identity::ids::RoleId;
use crate::identity::role_grants::privileges_of;
use crate::kernel::access::permissions::{Permission, Permissions, Privileges};
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
    /// Codes that data planes interpret, and this server only stores.
    of_data_planes: &'static [&'static str],
}

pub const OWNER: &str = "ORGANIZATION_OWNER";
pub const ADMIN: &str = "ORGANIZATION_ADMIN";
pub const VIEWER: &str = "ORGANIZATION_VIEWER";

/// The codes of the data planes that the roles of organizations and workspaces hold, by level.
const OWNERS: &[&str] = &[
    "billing:manage",
    "runs:delete",
    "runs:read",
    "runs:write",
    "settings:read",
    "settings:write",
];
const ADMINS: &[&str] =
    &["runs:delete", "runs:read", "runs:write", "settings:read", "settings:write"];
const MEMBERS: &[&str] = &["runs:read", "runs:write", "settings:read"];
const VIEWERS: &[&str] = &["runs:read", "settings:read"];

/// A system role with what it gives.
struct Resolved {
    role: &'static SystemRole,
    given: Privileges,
}

/// Every system role with what it gives, in the order of [`SYSTEM`]. The declarations of permissions
/// do not change, so one computation serves every credential that is read.
static RESOLVED: LazyLock<Vec<Resolved>> = LazyLock::new(|| {
    let given = |role: &SystemRole| privileges_of(&role.codes(), role.rank);
    SYSTEM.iter().map(|role| Resolved { role, given: given(role) }).collect()
});

impl SystemRole {
    /// Returns the role's codes: those of data planes, and the permissions that are declared as
    /// held by it or by a lower role of its family.
    fn codes(&self) -> Vec<String> {
        if self.scope == RoleScope::Platform {
            return vec!["*".to_owned()];
        }
        let is_below = |code: &str| {
            SYSTEM.iter().any(|other| {
                other.code == code && other.scope == self.scope && other.rank <= self.rank
            })
        };
        let holds = |one: &&Permission| one.details().held_by.iter().any(|code| is_below(code));
        let own = Permission::all().iter().filter(holds).map(|one| one.as_str());
        let mut codes: Vec<String> =
            own.chain(self.of_data_planes.iter().copied()).map(str::to_owned).collect();
        codes.sort();
        codes
    }
}

/// Returns the system roles' codes with their scopes and permissions.
pub fn of_system() -> impl Iterator<Item = (&'static str, RoleScope, Permissions)> {
    RESOLVED.iter().map(|one| (one.role.code, one.role.scope, one.given.permissions))
}

/// Returns whether a system role has this code of data planes.
pub fn is_code_of_system(code: &str) -> bool {
    SYSTEM.iter().any(|role| role.of_data_planes.contains(&code))
}

/// Returns the rank of a token's codes: that of the highest organization role whose codes the token
/// holds completely.
pub fn rank_of(held: &Privileges) -> i64 {
    let of_organization = RESOLVED.iter().filter(|one| one.role.scope == RoleScope::Organization);
    let covered = of_organization.filter(|one| held.lacking(&one.given).is_empty());
    covered.map(|one| one.role.rank).max().unwrap_or(0)
}

/// Lowest first: lists are newest first, and IDs follow this order.
#[rustfmt::skip]
const SYSTEM: &[SystemRole] = &[
    SystemRole { code: "GROUP_MEMBER", name: "Group member", scope: RoleScope::Group, rank: 2, of_data_planes: &[] },
    SystemRole { code: "GROUP_ADMIN", name: "Group admin", scope: RoleScope::Group, rank: 3, of_data_planes: &[] },
    SystemRole { code: "PROJECT_VIEWER", name: "Project viewer", scope: RoleScope::Project, rank: 1, of_data_planes: &["runs:read"] },
    SystemRole { code: "PROJECT_MEMBER", name: "Project member", scope: RoleScope::Project, rank: 2, of_data_planes: &["runs:read", "runs:write"] },
    SystemRole { code: "PROJECT_ADMIN", name: "Project admin", scope: RoleScope::Project, rank: 3, of_data_planes: &["runs:delete", "runs:read", "runs:write"] },
    SystemRole { code: "WORKSPACE_VIEWER", name: "Workspace viewer", scope: RoleScope::Workspace, rank: 1, of_data_planes: VIEWERS },
    SystemRole { code: "WORKSPACE_MEMBER", name: "Workspace member", scope: RoleScope::Workspace, rank: 2, of_data_planes: MEMBERS },
    SystemRole { code: "WORKSPACE_ADMIN", name: "Workspace admin", scope: RoleScope::Workspace, rank: 3, of_data_planes: ADMINS },
    SystemRole { code: "WORKSPACE_OWNER", name: "Workspace owner", scope: RoleScope::Workspace, rank: 4, of_data_planes: OWNERS },
    SystemRole { code: VIEWER, name: "Viewer", scope: RoleScope::Organization, rank: 1, of_data_planes: VIEWERS },
    SystemRole { code: "ORGANIZATION_MEMBER", name: "Member", scope: RoleScope::Organization, rank: 2, of_data_planes: MEMBERS },
    SystemRole { code: ADMIN, name: "Admin", scope: RoleScope::Organization, rank: 3, of_data_planes: ADMINS },
    SystemRole { code: OWNER, name: "Owner", scope: RoleScope::Organization, rank: 4, of_data_planes: OWNERS },
    SystemRole { code: "SUPERADMIN", name: "Superadmin", scope: RoleScope::Platform, rank: 5, of_data_planes: &[] },
];

/// Updates the system roles; every start does it, on every replica.
pub async fn seed(app: &App) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let now = app.clock.now();
    for (order, Resolved { role, given }) in RESOLVED.iter().enumerate() {
        let permissions = given.codes.clone();
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
        // An upsert would handle a conflict in only one of the two unique indexes, and fail on the
        // other when replicas start together.
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

/// Returns the same ID in every installation: a UUIDv8 (RFC 9562, section 5.8) of the order and the
/// code.
fn system_id(order: usize, code: &str) -> RoleId {
    let hash = sha256(code.as_bytes());
    let mut bytes = [0; 16];
    bytes[1] = u8::try_from(order).unwrap_or(u8::MAX);
    bytes[2..].copy_from_slice(&hash[..14]);
    RoleId(Uuid::new_v8(bytes))
}
