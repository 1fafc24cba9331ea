//! Roles as they are stored, and their look-up.

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;

use crate::identity::ids::RoleId;
use crate::identity::role_grants::privileges_of;
use crate::kernel::access::caller::Privileges;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::db::record::Codes;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Resource;
use crate::kernel::http::cx::Cx;
use crate::kernel::text::{Prose, named};

crate::text_enum! {
    /// The scope at which a role can be held.
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

impl Role {
    /// Returns the privileges that the role grants to its holder.
    pub fn privileges(&self) -> Privileges {
        privileges_of(self.permissions.iter(), self.rank)
    }
}

impl Resource for Role {
    const NOUN: &'static str = "role";
    const PATH: &'static str = "roles";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

/// Returns the role that a membership names, by code (short forms too) or ID.
///
/// A role of another organization does not exist here.
pub async fn resolve(
    cx: &mut Cx,
    organization: OrganizationId,
    scope: RoleScope,
    name: &str,
) -> Result<Role> {
    let unknown = || {
        let detail =
            format!("`role` must name a role of this {scope}: {} is an invalid role.", named(name));
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

/// Returns a role that every installation has.
pub async fn load_system<G>(cx: &mut Cx<G>, code: &'static str) -> Result<Role> {
    let found =
        cx.tx.select("WHERE organization_id IS NULL AND code = $1").bind(code).opt().await?;
    found.ok_or_else(|| Error::internal(anyhow::anyhow!("the system roles are not seeded")))
}

pub async fn load<G>(cx: &mut Cx<G>, id: RoleId) -> Result<Role> {
    Ok(cx.tx.select("WHERE id = $1").bind(id).one().await?)
}

/// Returns the role's permissions, followed by the extra ones that the role lacks.
pub fn union(role: &[String], extra: &[String]) -> Vec<String> {
    let mut all = role.to_vec();
    for code in extra {
        if !all.contains(code) {
            all.push(code.clone());
        }
    }
    all
}
