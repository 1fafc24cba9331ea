//! me: who the caller itself is.

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::kernel::caller::{Anywhere, CallerKind, Scope};
use crate::kernel::endpoint::Cx;
use crate::kernel::error::Result;
use crate::kernel::ids::{OrganizationId, UserId};

crate::routes! { me:
    /// Tells who the caller is and what it may do.
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
    /// The organization that the caller is held to; null on the platform.
    organization_id: Option<OrganizationId>,
    /// The codes of a person's roles; a token has permissions only.
    roles: Vec<String>,
    /// The product labels that the caller is narrowed to; none means all.
    products: Vec<String>,
    permissions: Vec<&'static str>,
}

async fn read(cx: &mut Cx<Scope>, _: Anywhere) -> Result<Me> {
    Ok(Me {
        kind: cx.caller.kind,
        id: cx.caller.id,
        name: cx.caller.name.clone(),
        user_id: cx.caller.user,
        provider: None,
        organization_id: cx.org.organization(),
        roles: Vec::new(),
        products: Vec::new(),
        permissions: cx.caller.permissions.codes(),
    })
}
