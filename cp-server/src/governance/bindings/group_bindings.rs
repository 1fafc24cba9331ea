//! The bindings of a group, for the group's admins.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::kinds::{BindingKind, Effect};
use super::{Binding, BindingFilter, NewBinding, Removal, page, remove, set};
use crate::identity::scopes::{ScopeKind, ScopeRef};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{NoContent, Put};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::page::{List, Page};
use crate::kernel::text::Label;
use crate::tenancy::ids::GroupId;

crate::routes! { groups:
    /// Lists the group's bindings, newest first.
    GET "/groups/{id}/bindings" BINDINGS_READ => list_bindings;
    /// Sets a binding of the group. Group admins never set `mandatory`.
    PUT "/groups/{id}/bindings" BINDINGS_WRITE => put_binding, harmless;
    /// Removes a binding of the group.
    DELETE "/groups/{id}/bindings" BINDINGS_WRITE => delete_binding, harmless;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGroupBinding {
    /// The kind of the subject.
    kind: BindingKind,
    /// A resource's ID, the name or prefix of a model, or the code of a feature.
    subject: String,
    /// The scope; the group of the path when absent.
    scope: Option<ScopeRef>,
    /// The product label of a model or a feature; empty (all products) when absent.
    product: Option<Label>,
    /// `allow` when absent.
    effect: Option<Effect>,
    /// `{can_manage}` of a connection, `{config}` of a feature; empty for other kinds.
    #[serde(default)]
    value: Map<String, Value>,
    /// Whether no narrower level undoes the binding. False when absent.
    #[serde(default)]
    mandatory: bool,
}

/// The binding to remove.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupRemoval {
    /// The kind of the subject.
    kind: BindingKind,
    /// The subject of the binding.
    subject: String,
    /// The scope; the group of the path when absent.
    scope: Option<ScopeRef>,
    /// The product label of a model or a feature; empty when absent.
    product: Option<Label>,
}

async fn list_bindings(
    cx: &mut Cx,
    id: GroupId,
    list: List<BindingFilter>,
) -> Result<Page<Binding>> {
    let scope = of_group(id, list.filter.scope)?;
    page(cx, list, Some(scope)).await
}

async fn put_binding(cx: &mut Cx, id: GroupId, new: NewGroupBinding) -> Result<Put<Binding>> {
    let NewGroupBinding { kind, subject, scope, product, effect, value, mandatory } = new;
    let scope = of_group(id, scope)?;
    set(cx, NewBinding { kind, subject, scope, product, effect, value, mandatory }).await
}

async fn delete_binding(cx: &mut Cx, id: GroupId, which: GroupRemoval) -> Result<NoContent> {
    let GroupRemoval { kind, subject, scope, product } = which;
    let scope = of_group(id, scope)?;
    remove(cx, Removal { kind, subject, scope, product }).await
}

/// Returns the group's scope; a request may name no other.
fn of_group(id: GroupId, named: Option<ScopeRef>) -> Result<ScopeRef> {
    let own = ScopeRef { kind: ScopeKind::Group, id: id.0 };
    match named {
        Some(other) if other != own => {
            let detail = format!("`scope` must be `{own}`, the group of the path. Leave it out.");
            Err(Error::invalid("scope", detail))
        }
        _ => Ok(own),
    }
}
