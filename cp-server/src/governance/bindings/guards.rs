//! The guard of agents: at every instant every agent has an active guardrail of its own, that is an
//! allow at its scope.
//!
//! # Design
//! Each change that could end this takes the organization's lock with `organizations::touch` before
//! it checks. So two changes that are harmless alone cannot leave an agent unguarded together.

use cp_contracts::ProblemCode;
use uuid::Uuid;

use super::kinds::{BindingKind, Effect};
use super::rows::{self, Grant, Subject};
use crate::governance::ids::ResourceId;
use crate::identity::scopes::{ScopeKind, ScopeRef};
use crate::kernel::db::query::Query;
use crate::kernel::db::record::Object;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;

/// The most guardrails of an agent.
const MOST: usize = 50;

/// Refuses to withdraw a guardrail from agents that have no other active one. `None` stands for all
/// of its agents.
///
/// # Errors
/// 409 `in_use` with at most 20 of the agents, and their number.
pub async fn refuse_unguarded(
    cx: &mut Cx,
    guardrail: ResourceId,
    agents: Option<&[Uuid]>,
) -> Result<()> {
    if agents.is_some_and(<[Uuid]>::is_empty) {
        return Ok(());
    }
    let sql = "SELECT b.agent_id, COUNT(*) OVER () AS count FROM bindings b
               WHERE b.organization_id = $1 AND b.resource_id = $2 AND b.kind = 'guardrail'
                 AND b.agent_id IS NOT NULL AND b.effect = 'allow'
                 AND NOT EXISTS (SELECT 1 FROM bindings o JOIN resources r ON r.id = o.resource_id
                                 WHERE o.agent_id = b.agent_id AND o.kind = 'guardrail'
                                   AND o.effect = 'allow' AND o.resource_id <> $2
                                   AND r.status = 'active')";
    let mut query = cx.tx.q(sql).bind(cx.at).bind(guardrail);
    if let Some(agents) = agents {
        query = query.sql(" AND b.agent_id IN ");
        query = query.rows([agents], |query, ids| ids.iter().copied().fold(query, Query::bind));
    }
    let left: Vec<(Uuid, i64)> = query.sql(" ORDER BY b.agent_id LIMIT 20").all().await?;
    let Some((_, count)) = left.first() else { return Ok(()) };
    let detail = format!(
        "The change would leave {count} agents without an active guardrail of their own. Give them \
         another guardrail first."
    );
    let agents: Vec<Uuid> = left.iter().map(|(agent, _)| *agent).collect();
    Err(Error::new(ProblemCode::InUse, detail).with("agents", agents).with("count", count))
}

/// Checks the guardrails of an agent, and returns their subjects.
///
/// # Errors
/// 422 at `guardrails` for an empty, too long or repeating list, or a guardrail that is not active.
/// 404 with the IDs that are no guardrails of the organization.
pub async fn guardrails(cx: &mut Cx, ids: &[ResourceId]) -> Result<Vec<Subject>> {
    let invalid = |rule: &str| Error::invalid("guardrails", format!("`guardrails` {rule}."));
    if !(1..=MOST).contains(&ids.len()) {
        let rule = format!("must have 1 to {MOST} guardrails (got {})", ids.len());
        return Err(invalid(&rule));
    }
    let mut sorted = ids.to_vec();
    sorted.sort();
    if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(invalid("must not repeat a guardrail"));
    }
    let sql = "SELECT id, product, status = 'active' FROM resources
               WHERE organization_id = $1 AND kind = 'guardrail' AND id IN ";
    let query = cx.tx.q(sql).bind(cx.at);
    let query = query.rows([ids], |query, ids| ids.iter().copied().fold(query, Query::bind));
    let found: Vec<(ResourceId, String, bool)> = query.all().await?;
    let is_missing = |id: &&ResourceId| !found.iter().any(|(own, ..)| own == *id);
    let missing: Vec<String> = ids.iter().filter(is_missing).map(ToString::to_string).collect();
    if !missing.is_empty() {
        let detail = format!("guardrail not found: {}", missing.join(", "));
        return Err(Error::new(ProblemCode::NotFound, detail).at("guardrails"));
    }
    if let Some((id, ..)) = found.iter().find(|(.., is_active)| !is_active) {
        return Err(invalid(&format!("must be active ({id} is disabled)")));
    }
    let subject = |(id, product, _): (ResourceId, String, bool)| Subject {
        kind: BindingKind::Guardrail,
        product,
        subject: id.to_string(),
    };
    Ok(found.into_iter().map(subject).collect())
}

/// Sets the guardrails of an agent: mandatory ones at its scope, in place of all others there.
pub async fn set(cx: &mut Cx, agent: ResourceId, guardrails: &[Subject]) -> Result<()> {
    let scope = ScopeRef { kind: ScopeKind::Agent, id: agent.0 };
    let grant = Grant { scope, effect: Effect::Allow, value: Object::default(), mandatory: true };
    let tail = "WHERE organization_id = $1 AND agent_id = $2 AND kind = 'guardrail'";
    let before: Vec<rows::Binding> = cx.tx.select(tail).bind(cx.at).bind(agent).all().await?;
    let is_kept = |row: &rows::Binding| guardrails.iter().any(|one| one.subject == row.subject);
    let gone = before.iter().filter(|row| row.effect == Effect::Allow && !is_kept(row));
    let gone: Vec<_> = gone.map(|row| row.id).collect();
    rows::delete(cx, &gone).await?;
    for guardrail in guardrails {
        match before.iter().find(|row| row.subject == guardrail.subject) {
            Some(row) if grant.is(row) => {}
            Some(row) => drop(rows::update(cx, row, &grant).await?),
            None => rows::insert(cx, guardrail, std::slice::from_ref(&grant)).await?,
        }
    }
    Ok(())
}
