//! The references of events: what they name must be in the organization, and decides for which scopes
//! they count.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use uuid::Uuid;

use super::item::{Fate, Item, open};
use crate::identity::scopes::ScopeRef;
use crate::kernel::access::ids::{DeploymentId, ProjectId, UserId};
use crate::kernel::db::values::{Row, Value};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::tenancy::ids::GroupId;

/// Refuses events that name something that is not in the organization, and sets the scopes of the
/// others.
pub(super) async fn resolve(cx: &mut Cx, items: &mut [Item]) -> Result<()> {
    let projects: HashSet<ProjectId> = open(items).filter_map(|i| i.event.project_id).collect();
    let sql = "SELECT id FROM projects WHERE organization_id = $1 AND id IN (VALUES ";
    let projects = missing(cx, sql, projects).await?;
    let deployments: HashSet<DeploymentId> =
        open(items).filter_map(|i| i.event.deployment_id).collect();
    let sql = "SELECT id FROM deployments WHERE organization_id = $1 AND id IN (VALUES ";
    let deployments = missing(cx, sql, deployments).await?;
    let users: HashSet<UserId> = open(items).filter_map(|i| i.event.user_id).collect();
    let sql = "SELECT user_id FROM memberships
               WHERE organization_id = $1 AND scope = 'organization' AND user_id IN (VALUES ";
    let users = missing(cx, sql, users).await?;
    let groups: HashSet<GroupId> = open(items).filter_map(|i| i.event.group_id).collect();
    let above = above(cx, groups).await?;
    for item in items.iter_mut().filter(|item| item.is_open()) {
        let event = &item.event;
        let refused = |noun: &'static str, field: &'static str| {
            Fate::Refused(Error::not_found(noun).at(field))
        };
        if event.project_id.is_some_and(|id| projects.contains(&id)) {
            item.fate = refused("project", "project_id");
        } else if event.deployment_id.is_some_and(|id| deployments.contains(&id)) {
            item.fate = refused("deployment", "deployment_id");
        } else if event.user_id.is_some_and(|id| users.contains(&id)) {
            item.fate = refused("user", "user_id");
        } else if event.group_id.is_some_and(|id| !above.contains_key(&id)) {
            item.fate = refused("group", "group_id");
        } else {
            let groups = event.group_id.and_then(|id| above.get(&id)).into_iter().flatten();
            let groups = groups.map(|id| ScopeRef::group(*id));
            let project = event.project_id.map(|id| ScopeRef::project_or(Some(id), cx.at));
            let whole = ScopeRef::organization(cx.at);
            let user = event.user_id.map(ScopeRef::user);
            item.scopes = user.into_iter().chain(groups).chain(project).chain([whole]).collect();
        }
    }
    Ok(())
}

/// Returns the IDs that the statement does not find.
async fn missing<T>(cx: &mut Cx, sql: &'static str, mut ids: HashSet<T>) -> Result<HashSet<T>>
where
    T: Copy + Eq + Hash + for<'q> Value<'q>,
    (T,): Row,
{
    if !ids.is_empty() {
        let query = cx.tx.q(sql).bind(cx.at).rows(ids.iter(), |query, id| query.bind(*id));
        for (found,) in query.sql(")").all::<(T,)>().await? {
            ids.remove(&found);
        }
    }
    Ok(ids)
}

/// Returns each of the groups that is in the organization, with itself and the groups above it,
/// nearest first.
async fn above(cx: &mut Cx, groups: HashSet<GroupId>) -> Result<HashMap<GroupId, Vec<GroupId>>> {
    let mut above: HashMap<GroupId, Vec<GroupId>> = HashMap::new();
    if groups.is_empty() {
        return Ok(above);
    }
    let sql = "WITH RECURSIVE above (leaf, id, parent_id, height) AS (
                   SELECT g.id, g.id, g.parent_id, CAST(0 AS BIGINT) FROM groups g
                   WHERE g.organization_id = $1 AND g.id IN (VALUES ";
    let query = cx.tx.q(sql).bind(cx.at).rows(&groups, |query, id| query.bind(*id));
    let query = query.sql(
        ") UNION ALL
         SELECT a.leaf, g.id, g.parent_id, a.height + 1
         FROM groups g JOIN above a ON g.id = a.parent_id)
         SELECT leaf, id FROM above ORDER BY leaf, height",
    );
    for (leaf, id) in query.all::<(Uuid, Uuid)>().await? {
        above.entry(GroupId(leaf)).or_default().push(GroupId(id));
    }
    Ok(above)
}
