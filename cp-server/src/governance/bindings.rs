//! Bindings: a subject is allowed for, or denied to, a scope.
//!
//! # Design
//! A binding has no ID in paths: its kind, product, subject and scope identify it. Every change
//! takes the organization's lock first, so that its checks and its write see one state.

pub mod group_bindings;
mod guards;
pub mod kinds;
mod rows;

use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use self::kinds::{BindingKind, Effect, SCOPES};
use self::rows::NOUN;
use super::ids::ResourceId;
use crate::identity::scopes::{self, ScopeKind, ScopeRef};
use crate::kernel::access::caller::Permission;
use crate::kernel::access::place::Org;
use crate::kernel::access::products;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{NoContent, Put, Resource as _};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::page::{List, Page};
use crate::kernel::section::Section;
use crate::kernel::text::Label;
use crate::tenancy::organizations;

pub use self::guards::{guardrails, refuse_unguarded, set as set_guardrails};
pub use self::rows::{Binding, Grant, Subject, insert, leave};

crate::permissions! {
    /// Read bindings.
    BINDINGS_READ = "bindings:read", held by ["GROUP_ADMIN"], implied by ["org:write"];
    /// Set and remove bindings.
    BINDINGS_WRITE = "bindings:write", held by ["GROUP_ADMIN"], implied by ["org:write"];
    /// Read what may be used, and why.
    EFFECTIVE_READ = "effective:read", implied by ["org:read"];
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "bindings",
    NOUN,
    Export::Section(Section::many::<Binding>("bindings")),
)
.permissions(PERMISSIONS)
.before_project(|cx, project, _| Box::pin(rows::leave_project(cx, project)));

crate::routes! {
    /// Grants and denials of agents, models, features and other subjects for scopes.
    bindings declares DECLARATION:
    /// Lists the organization's bindings, newest first.
    GET "/organizations/{org}/bindings" BINDINGS_READ => list;
    /// Sets a binding. There is one for each kind, product, subject and scope.
    ///
    /// Kinds `agent`, `connection`, `guardrail` and `listing` have the ID of a resource as their
    /// subject. `model` has a name, or a prefix that ends in `*`. `feature` has a code. The nearest
    /// scope decides; a mandatory binding of a wider scope precedes it.
    PUT "/organizations/{org}/bindings" BINDINGS_WRITE => put, harmless;
    /// Removes a binding.
    DELETE "/organizations/{org}/bindings" BINDINGS_WRITE => delete, harmless;
    /// Replaces all bindings of a subject.
    POST "/organizations/{org}/bindings/replace" BINDINGS_WRITE => replace, harmless;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BindingFilter {
    /// Returns the bindings of this kind only.
    kind: Option<BindingKind>,
    /// Returns the bindings of this subject only: an exact match.
    subject: Option<String>,
    /// Returns the bindings of this scope only.
    scope: Option<ScopeRef>,
    /// Returns the bindings with this product label only: an exact match.
    product: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBinding {
    /// The kind of the subject.
    kind: BindingKind,
    /// A resource's ID, the name or prefix of a model, or the code of a feature.
    subject: String,
    /// The scope, such as `organization` or `group:<id>`.
    scope: ScopeRef,
    /// The product label of a model or a feature; empty (all products) when absent. A resource's
    /// binding has the product of the resource.
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
pub struct Removal {
    /// The kind of the subject.
    kind: BindingKind,
    /// The subject of the binding.
    subject: String,
    /// The scope of the binding.
    scope: ScopeRef,
    /// The product label of a model or a feature; empty when absent.
    product: Option<Label>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    /// The kind of the subject.
    kind: BindingKind,
    /// The subject, whose bindings are replaced.
    subject: String,
    /// The product label of a model or a feature; empty (all products) when absent.
    product: Option<Label>,
    /// All bindings of the subject, at most one for each scope.
    items: Vec<NewGrant>,
}

/// A binding of a known subject.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewSubjectBinding")]
pub struct NewGrant {
    /// The scope, such as `organization` or `group:<id>`.
    pub scope: ScopeRef,
    /// `allow` when absent.
    pub effect: Option<Effect>,
    /// `{can_manage}` of a connection, `{config}` of a feature; empty for other kinds.
    #[serde(default)]
    pub value: Map<String, Value>,
    /// Whether no narrower level undoes the binding. False when absent.
    #[serde(default)]
    pub mandatory: bool,
}

/// The bindings of a subject after a replacement, and the changes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Replaced {
    /// The product label of the subject; empty for all products.
    product: String,
    /// All bindings of the subject, the newest first.
    items: Vec<Binding>,
    added: usize,
    changed: usize,
    removed: usize,
}

async fn list(cx: &mut Cx, _: Org, list: List<BindingFilter>) -> Result<Page<Binding>> {
    let Some(scope) = list.filter.scope else { return page(cx, list, None).await };
    scope.refuse_other("scope", SCOPES)?;
    let page = page(cx, list, Some(scope.of(cx.at))).await?;
    // A scope with bindings exists.
    if page.items.is_empty() {
        scopes::refuse_missing(cx, &[scope], &["scope".to_owned()]).await?;
    }
    Ok(page)
}

async fn page(
    cx: &mut Cx,
    list: List<BindingFilter>,
    scope: Option<ScopeRef>,
) -> Result<Page<Binding>> {
    let filter = &list.filter;
    if let Some(product) = &filter.product {
        products::refuse_reading(&cx.caller, product)?;
    }
    let query = cx
        .tx
        .select("WHERE organization_id = $1")
        .bind(cx.at)
        .and_some(" AND kind = ?", filter.kind)
        .and_some(" AND subject = ?", filter.subject.as_deref())
        .and_some(" AND scope_kind = ?", scope.map(|scope| scope.kind))
        .and_some(" AND scope_id = ?", scope.map(|scope| scope.id))
        .and_some(" AND product = ?", filter.product.as_deref());
    list.page(products::visible(query, &cx.caller, "product")).await
}

async fn put(cx: &mut Cx, _: Org, new: NewBinding) -> Result<Put<Binding>> {
    set(cx, new).await
}

async fn set(cx: &mut Cx, new: NewBinding) -> Result<Put<Binding>> {
    organizations::touch(cx, cx.at).await?;
    let of = subject(cx, new.kind, new.subject, new.product).await?;
    let NewBinding { scope, effect, value, mandatory, .. } = new;
    let new = NewGrant { scope, effect, value, mandatory };
    let grant = checked(cx, of.kind, vec![new], |member, _| member.to_owned()).await?;
    let Some(grant) = grant.into_iter().next() else { return Err(Error::stale()) };
    let before = rows::find(cx, &of, grant.scope).await?;
    refuse_partial(cx, grant.mandatory || before.as_ref().is_some_and(|row| row.mandatory))?;
    let Some(before) = before else {
        rows::insert(cx, &of, std::slice::from_ref(&grant)).await?;
        return rows::find(cx, &of, grant.scope).await?.map(Put::New).ok_or_else(Error::stale);
    };
    cx.audit.before = serde_json::to_value(&before).ok();
    if grant.effect == Effect::Deny {
        refuse_unguarding(cx, &of, &[&before]).await?;
    }
    rows::update(cx, &before, &grant).await.map(Put::Known)
}

async fn delete(cx: &mut Cx, _: Org, which: Removal) -> Result<NoContent> {
    remove(cx, which).await
}

async fn remove(cx: &mut Cx, which: Removal) -> Result<NoContent> {
    which.scope.refuse_other("scope", which.kind.scopes())?;
    organizations::touch(cx, cx.at).await?;
    let of = named(cx, which.kind, which.subject, which.product).await?;
    let before = match of {
        Some(of) => {
            let scope = which.scope.of(cx.at);
            rows::find(cx, &of, scope).await?.map(|before| (of, before))
        }
        None => None,
    };
    let Some((of, before)) = before else {
        scopes::refuse_missing(cx, &[which.scope], &["scope".to_owned()]).await?;
        return Err(Error::not_found(NOUN));
    };
    products::refuse_changing(&cx.caller, &of.product)?;
    refuse_partial(cx, before.mandatory)?;
    refuse_unguarding(cx, &of, &[&before]).await?;
    rows::delete(cx, &[before.id]).await?;
    cx.audit.target = Some((NOUN, before.name()));
    cx.audit.before = serde_json::to_value(before).ok();
    Ok(NoContent)
}

async fn replace(cx: &mut Cx, _: Org, new: Replacement) -> Result<Replaced> {
    organizations::touch(cx, cx.at).await?;
    let of = subject(cx, new.kind, new.subject, new.product).await?;
    let field = |member: &str, n: usize| format!("items[{n}].{member}");
    let grants = checked(cx, of.kind, new.items, field).await?;
    let before = rows::of_subject(cx, &of).await?;
    let kept = |row: &Binding| grants.iter().find(|grant| grant.scope == row.scope);
    let is_lost = |row: &&Binding| kept(row).is_none_or(|grant| grant.effect == Effect::Deny);
    let lost: Vec<&Binding> = before.iter().filter(is_lost).collect();
    refuse_unguarding(cx, &of, &lost).await?;
    let removed: Vec<_> = before.iter().filter(|r| kept(r).is_none()).map(|r| r.id).collect();
    rows::delete(cx, &removed).await?;
    let (mut added, mut changed) = (Vec::new(), 0);
    for grant in &grants {
        match before.iter().find(|row| row.scope == grant.scope) {
            Some(row) if grant.is(row) => {}
            Some(row) => {
                rows::update(cx, row, grant).await?;
                changed += 1;
            }
            None => added.push(grant.clone()),
        }
    }
    rows::insert(cx, &of, &added).await?;
    cx.audit.target = Some((of.kind.as_str(), of.subject.clone()));
    cx.audit.before = serde_json::to_value(&before).ok();
    let items = rows::of_subject(cx, &of).await?;
    let (added, removed) = (added.len(), removed.len());
    Ok(Replaced { product: of.product, items, added, changed, removed })
}

/// Finds the subject of a binding that is to be changed.
///
/// # Errors
/// 404 at `subject` when there is no such resource; 403 at `product`.
async fn subject(
    cx: &mut Cx,
    kind: BindingKind,
    subject: String,
    product: Option<Label>,
) -> Result<Subject> {
    kind.refuse_subject(&subject)?;
    let found = named(cx, kind, subject, product).await?;
    let noun = kind.as_str();
    let found = found.ok_or_else(|| Error::not_found(noun).at("subject"))?;
    products::refuse_changing(&cx.caller, &found.product)?;
    Ok(found)
}

/// Finds the subject; `None` when there is no such resource.
async fn named(
    cx: &mut Cx,
    kind: BindingKind,
    subject: String,
    product: Option<Label>,
) -> Result<Option<Subject>> {
    let product = product.map(Label::into_string);
    let Some(resource) = kind.resource() else {
        return Ok(Some(Subject { kind, product: product.unwrap_or_default(), subject }));
    };
    let Ok(id) = subject.parse::<ResourceId>() else { return Ok(None) };
    let sql = "SELECT product FROM resources
               WHERE id = $1 AND organization_id = $2 AND kind = $3";
    let own: Option<String> = cx.tx.q(sql).bind(id).bind(cx.at).bind(resource).value().await?;
    let Some(own) = own else { return Ok(None) };
    if product.is_some_and(|product| product != own) {
        let detail = "`product` must be the product of the resource. Leave it out.";
        return Err(Error::invalid("product", detail));
    }
    Ok(Some(Subject { kind, product: own, subject: id.to_string() }))
}

/// Checks the bindings of a subject. `field` names a member of the binding with this number.
pub async fn checked(
    cx: &mut Cx,
    kind: BindingKind,
    new: Vec<NewGrant>,
    field: impl Fn(&str, usize) -> String,
) -> Result<Vec<Grant>> {
    let mut grants: Vec<Grant> = Vec::new();
    for (n, new) in new.into_iter().enumerate() {
        let at = field("scope", n);
        new.scope.refuse_other(&at, kind.scopes())?;
        let scope = new.scope.of(cx.at);
        let effect = new.effect.unwrap_or(Effect::Allow);
        let value = kind.value(&field("value", n), new.value)?;
        if kind == BindingKind::Guardrail && effect == Effect::Deny && new.mandatory {
            let at = field("mandatory", n);
            let detail = format!("`{at}` must be false for the denial of a guardrail.");
            return Err(Error::invalid(at, detail));
        }
        grants.push(Grant { scope, effect, value, mandatory: new.mandatory });
    }
    let scopes: Vec<ScopeRef> = grants.iter().map(|grant| grant.scope).collect();
    let mut seen = std::collections::HashSet::new();
    if let Some(n) = scopes.iter().position(|scope| !seen.insert(*scope)) {
        let at = field("scope", n);
        let detail = format!("`{at}` must not repeat a scope.");
        return Err(Error::invalid(at, detail));
    }
    let fields: Vec<String> = (0..scopes.len()).map(|n| field("scope", n)).collect();
    scopes::refuse_missing(cx, &scopes, &fields).await?;
    Ok(grants)
}

/// Refuses to set or undo a mandatory binding by a caller in charge of a part of the organization.
fn refuse_partial(cx: &Cx, is_mandatory: bool) -> Result<()> {
    if !is_mandatory || cx.caller.may_throughout(cx.at, Permission::BINDINGS_WRITE) {
        return Ok(());
    }
    let detail = "`mandatory` bindings can be set, changed and removed only by callers that hold \
                  bindings:write in the whole organization.";
    Err(Error::new(ProblemCode::Forbidden, detail).at("mandatory"))
}

/// Refuses to withdraw a guardrail's bindings from agents that have no other active guardrail.
async fn refuse_unguarding(cx: &mut Cx, of: &Subject, lost: &[&Binding]) -> Result<()> {
    let (BindingKind::Guardrail, Ok(guardrail)) = (of.kind, of.subject.parse()) else {
        return Ok(());
    };
    let is_allowed = |row: &&&Binding| row.effect == Effect::Allow;
    let agents = lost.iter().filter(is_allowed).filter_map(|r| r.scope.id_of(ScopeKind::Agent));
    let agents: Vec<Uuid> = agents.collect();
    guards::refuse_unguarded(cx, guardrail, Some(&agents)).await
}
