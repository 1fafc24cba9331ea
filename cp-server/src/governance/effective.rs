//! Effective answers: what a person, an agent or the organization may use now, and why.
//!
//! # Design
//! One statement reads everything, and the fold runs in memory. Rendered answers are cached until the
//! next commit of this replica that matters in the organization, and for at most one second. So a
//! data plane can poll with `If-None-Match` while other organizations change.

pub mod facts;
pub mod fold;
pub mod items;

use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::ProblemCode;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

use self::facts::{Facts, Question};
use self::items::{AppliedGuardrail, Arranged, Item, SeenListing};
use super::bindings::kinds::BindingKind;
use super::ids::ResourceId;
use crate::identity::memberships::MembershipStatus;
use crate::identity::scopes::ScopeRef;
use crate::kernel::access::caller::{CallerKind, Permission};
use crate::kernel::access::ids::{OrganizationId, ProjectId, UserId};
use crate::kernel::access::place::Org;
use crate::kernel::access::products;
use crate::kernel::app::Part;
use crate::kernel::cache::{Asked, Cache, Mark};
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Rendered;
use crate::kernel::http::cx::Cx;
use crate::kernel::text::Label;
use crate::licensing::entitlement::organization_entitlements::Inactive;
use crate::tenancy::ids::{GroupId, WorkspaceId};

crate::routes! {
    /// What a person may use, and why.
    effective:
    /// Returns what a person, or the organization itself, may use now, and why.
    ///
    /// Without `user`, a person gets the answer for that person, and a machine gets the
    /// organization's own. The chain has the levels whose bindings count, nearest first. Callers
    /// without `bindings:read` in the whole organization see allowed items only. Guardrails are
    /// returned also when the organization is not active.
    GET "/organizations/{org}/effective" EFFECTIVE_READ => read;
}

/// The kinds of a question, separated by commas.
#[derive(Clone, Debug)]
pub struct Kinds(Vec<BindingKind>);

impl FromStr for Kinds {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut kinds: Vec<BindingKind> =
            text.split(',').map(str::parse).collect::<Result<_, _>>()?;
        kinds.sort_by_key(|kind| kind.as_str());
        kinds.dedup();
        Ok(Self(kinds))
    }
}

impl<'de> Deserialize<'de> for Kinds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Kinds {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Kinds".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "examples": ["agent,model"]})
    }
}

crate::text_enum! { With { Spec = "spec" } }

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EffectiveQuery {
    /// The kinds of the items, separated by commas; all kinds when absent.
    kinds: Option<Kinds>,
    /// The product label; empty when absent.
    product: Option<Label>,
    /// The person. Another person than the caller requires `bindings:read` in the organization.
    user: Option<UserId>,
    /// Restricts the groups of the chain to this one and those above it. The person must be in it,
    /// or below it.
    group: Option<GroupId>,
    /// The agent whose own bindings are the nearest level.
    agent: Option<ResourceId>,
    /// The project.
    project: Option<ProjectId>,
    /// The workspace; its project is a level, too.
    workspace: Option<WorkspaceId>,
    /// The only subject of the answer: a resource's ID, a model's name or a feature's code.
    subject: Option<String>,
    /// Adds the `spec` of allowed agents and connections; for machines and callers with
    /// `bindings:read`.
    include: Option<With>,
}

/// What may be used now.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "EffectiveAnswer")]
pub struct Effective {
    organization_id: OrganizationId,
    /// The organization's revision, which grows with every change of a binding or resource.
    revision: i64,
    product: String,
    /// Null for the organization's own answer.
    user_id: Option<UserId>,
    /// Whether anything is allowed at all.
    active: bool,
    inactive_reason: Option<Inactive>,
    /// The levels whose bindings count, nearest first.
    chain: Vec<Vec<ScopeRef>>,
    /// By kind and subject.
    items: Vec<Item>,
    /// The guardrails that apply, by key.
    guardrails: Vec<AppliedGuardrail>,
}

/// The longest time until a change elsewhere is visible.
const REMEMBERED: TimeDelta = TimeDelta::seconds(1);

/// Cached answers, by the question and whether the caller sees all items.
#[derive(Default)]
pub struct EffectiveAnswers(Cache<(Question, bool, bool), (Mark, Rendered<Effective>)>);

impl Part for EffectiveAnswers {}

async fn read(cx: &mut Cx, _: Org, query: EffectiveQuery) -> Result<Rendered<Effective>> {
    let is_privileged = cx.caller.may_throughout(cx.at, Permission::BINDINGS_READ);
    let is_explicit = query.user.is_some();
    let question = question(cx, query, is_privileged)?;
    let key = (question.clone(), is_explicit, is_privileged);
    let (commits, answers) = (&cx.app.commits, &EffectiveAnswers::of(&cx.app).0);
    let asked = answers.ask(key, cx.now, cx.tx.is_idle(), |(mark, _)| commits.is_current(mark));
    let turn = match asked.await {
        Asked::Known((_, known)) => return Ok(known),
        Asked::Missing(turn) => turn,
    };
    let mark = commits.mark_now(cx.at);
    let facts = facts::read(&mut cx.tx, &question).await?;
    let facts = facts.ok_or_else(|| Error::not_found("organization"))?;
    check(&facts, &question, is_explicit)?;
    let inactive_reason = inactive_at(&facts, cx.now);
    let active = inactive_reason.is_none();
    let arranged = Arranged::new(&facts, active, is_privileged);
    let answer = Rendered::new(&Effective {
        organization_id: cx.at,
        revision: facts.whole.revision,
        user_id: question.user.filter(|_| facts.whole.member_status.is_some()),
        active,
        inactive_reason,
        items: arranged.items(&question)?,
        guardrails: arranged.guardrails(&question),
        chain: facts.chain.clone(),
        product: question.product,
    })?;
    if !cx.tx.is_shared() {
        turn.keep((mark, answer.clone()), cx.now + REMEMBERED);
    }
    Ok(answer)
}

/// Returns the person of a question about the product: the caller, when the request names none.
///
/// # Errors
/// 403 at `product` or `user`.
pub fn person(cx: &Cx, product: &str, user: Option<UserId>) -> Result<Option<UserId>> {
    let caller = &cx.caller;
    products::refuse_reading(caller, product)?;
    let own = caller.user.filter(|user| caller.is_user_in(*user, cx.at));
    if user.is_some() && user != own && !caller.may_throughout(cx.at, Permission::BINDINGS_READ) {
        let detail = "`user` can be another person only for callers that hold bindings:read in the \
                      whole organization.";
        return Err(Error::new(ProblemCode::Forbidden, detail).at("user"));
    }
    Ok(user.or(own))
}

/// Returns the listings of the organization that the question's person sees.
///
/// # Errors
/// 404 and 422 as an effective answer, and 422 at `product` when there are too many.
pub async fn listings(
    tx: &mut Conn,
    of: &Question,
    is_explicit: bool,
    now: DateTime<Utc>,
) -> Result<Vec<SeenListing>> {
    let facts = facts::read(tx, of).await?;
    let facts = facts.ok_or_else(|| Error::not_found("organization"))?;
    check(&facts, of, is_explicit)?;
    let active = inactive_at(&facts, now).is_none();
    Arranged::new(&facts, active, false).listings()
}

fn inactive_at(facts: &Facts, now: DateTime<Utc>) -> Option<Inactive> {
    facts.whole.entitlements.inactive_at(now).or_else(|| {
        let is_suspended = facts.whole.member_status == Some(MembershipStatus::Suspended);
        is_suspended.then_some(Inactive::MemberSuspended)
    })
}

/// Resolves the query for this caller.
fn question(cx: &Cx, query: EffectiveQuery, is_privileged: bool) -> Result<Question> {
    let caller = &cx.caller;
    let product = query.product.map(Label::into_string).unwrap_or_default();
    let user = person(cx, &product, query.user)?;
    let with_spec = query.include.is_some();
    if with_spec && !is_privileged && caller.kind != CallerKind::ServiceToken {
        let detail = "`include` is allowed for machines and for callers that hold bindings:read in \
                      the whole organization.";
        return Err(Error::new(ProblemCode::Forbidden, detail).at("include"));
    }
    let all = || BindingKind::ALL.to_vec();
    Ok(Question {
        organization: cx.at,
        kinds: query.kinds.map_or_else(all, |kinds| kinds.0),
        product,
        user,
        group: query.group,
        agent: query.agent,
        project: query.project,
        workspace: query.workspace,
        subject: query.subject,
        with_spec,
    })
}

/// Checks that the parts exist that the question names.
fn check(facts: &Facts, of: &Question, is_explicit: bool) -> Result<()> {
    let whole = &facts.whole;
    let is_member = whole.member_status.is_some();
    for (field, is_missing) in [
        ("user", is_explicit && !is_member),
        ("group", of.group.is_some() && !whole.has_group),
        ("agent", of.agent.is_some() && !whole.has_agent),
        ("project", of.project.is_some() && !whole.has_project),
        ("workspace", of.workspace.is_some() && !whole.has_workspace),
    ] {
        if is_missing {
            return Err(Error::not_found(field).at(field));
        }
    }
    if of.group.is_some() && of.user.is_some() && is_member && !whole.in_group {
        let detail = "`group` must be a group of the person, or a group above one.";
        return Err(Error::invalid("group", detail));
    }
    let of_workspace = of.workspace.is_some() && of.project.is_some();
    if of_workspace && whole.workspace_project != of.project {
        let detail = "`project` must be the project of `workspace`. Leave it out.";
        return Err(Error::invalid("project", detail));
    }
    Ok(())
}
