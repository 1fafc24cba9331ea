//! me: who the caller itself is, what it may do, and why.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::kernel::caller::{Anywhere, CallerKind, Scope};
use crate::kernel::endpoint::Cx;
use crate::kernel::error::Result;
use crate::kernel::ids::{OrganizationId, UserId};
use crate::kernel::permissions::Permissions;
use crate::kernel::policy::{Domain, Grant};

crate::routes! { me:
    /// Tells who the caller is, what it may do, and by which of its grants.
    GET "/me" Any => read;
}

/// The caller, as authorization sees it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Me {
    kind: CallerKind,
    id: Uuid,
    name: String,
    /// The person, when the caller is one.
    user_id: Option<UserId>,
    /// The provider that the person logged in at.
    provider: Option<String>,
    /// The organization that the caller is held to, or a person's first; null on the platform.
    organization_id: Option<OrganizationId>,
    /// The codes of a person's roles; a token has permissions only.
    roles: Vec<String>,
    /// The product labels that the caller is narrowed to; none means all.
    products: Vec<String>,
    /// What the caller may do somewhere; `grants` tells where.
    permissions: Vec<&'static str>,
    /// Each grant counts where it says, and nowhere else.
    grants: Vec<Held>,
}

/// Permissions on a part of the platform, and what gives them.
#[derive(Debug, Serialize, JsonSchema)]
struct Held {
    /// `platform`, `organization`, or an area of one: `workspace`, `project`, or `group` with all
    /// groups below it.
    on: &'static str,
    organization_id: Option<OrganizationId>,
    /// The workspace, project or group.
    id: Option<Uuid>,
    /// A role's code, `service_token` or `system`.
    by: String,
    permissions: Vec<&'static str>,
}

async fn read(cx: &mut Cx<Scope>, _: Anywhere) -> Result<Me> {
    let caller = &cx.caller;
    let is_person = caller.kind == CallerKind::Person;
    let mut roles: Vec<String> = Vec::new();
    for grant in caller.grants.iter().filter(|_| is_person) {
        if !roles.iter().any(|role| **role == *grant.by) {
            roles.push(grant.by.to_string());
        }
    }
    let anywhere = caller.grants.iter().fold(Permissions::NONE, |a, g| a.union(g.permissions));
    let login = caller.login.as_deref();
    Ok(Me {
        kind: caller.kind,
        id: caller.id,
        name: caller.name.clone(),
        user_id: caller.user,
        provider: login.map(|login| login.provider.clone()),
        organization_id: cx.org.organization(),
        roles,
        products: login.map(|login| login.products.clone()).unwrap_or_default(),
        permissions: anywhere.codes(),
        grants: caller.grants.iter().map(Held::from).collect(),
    })
}

impl From<&Grant> for Held {
    fn from(grant: &Grant) -> Self {
        let (on, id) = match grant.on {
            Domain::Platform => ("platform", None),
            Domain::Organization(_) => ("organization", None),
            Domain::Area(_, area) => (area.kind.as_str(), Some(area.id)),
        };
        let (by, permissions) = (grant.by.to_string(), grant.permissions.codes());
        Self { on, organization_id: grant.on.organization(), id, by, permissions }
    }
}
