//! The facts of an effective answer, read in one statement.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::fold::Bound;
use crate::entitlement_columns;
use crate::governance::bindings::kinds::{BindingKind, Effect};
use crate::governance::ids::ResourceId;
use crate::governance::resources::kinds::ResourceKind;
use crate::identity::memberships::MembershipStatus;
use crate::identity::scopes::{ScopeKind, ScopeRef};
use crate::kernel::access::ids::{OrganizationId, ProjectId, UserId};
use crate::kernel::db::Conn;
use crate::kernel::db::record::Object;
use crate::kernel::error::Result;
use crate::licensing::entitlement::organization_entitlements::EntitlementFacts;
use crate::tenancy::ids::{GroupId, WorkspaceId};

/// The most items of an answer.
pub const ITEMS: usize = 10_000;

/// The question, with the names of a request resolved to IDs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    pub organization: OrganizationId,
    pub kinds: Vec<BindingKind>,
    pub product: String,
    pub user: Option<UserId>,
    pub group: Option<GroupId>,
    pub agent: Option<ResourceId>,
    pub project: Option<ProjectId>,
    pub workspace: Option<WorkspaceId>,
    pub subject: Option<String>,
    /// Whether the answer contains the `spec` of agents and connections.
    pub with_spec: bool,
}

impl Question {
    /// Returns the question about the listings of a product: those that the person sees.
    pub fn of_listings(
        organization: OrganizationId,
        product: String,
        user: Option<UserId>,
    ) -> Self {
        Self {
            organization,
            kinds: vec![BindingKind::Listing],
            product,
            user,
            group: None,
            agent: None,
            project: None,
            workspace: None,
            subject: None,
            with_spec: false,
        }
    }

    pub fn asks(&self, kind: BindingKind) -> bool {
        self.kinds.contains(&kind)
    }
}

/// The organization, and whether the parts exist that the question names.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Whole {
    #[sqlx(flatten)]
    pub entitlements: EntitlementFacts,
    pub revision: i64,
    /// `None` when the person is not a member.
    pub member_status: Option<MembershipStatus>,
    pub has_group: bool,
    /// Whether the person is in the group or below it.
    pub in_group: bool,
    pub has_agent: bool,
    pub has_project: bool,
    pub has_workspace: bool,
    pub workspace_project: Option<ProjectId>,
}

/// A resource that the answer may name.
#[derive(Clone, Debug)]
pub struct Named {
    pub id: ResourceId,
    pub kind: ResourceKind,
    pub key: String,
    pub name: String,
    pub parent: Option<ResourceId>,
    pub spec: Option<Object>,
    /// Whether a listing is granted to a part of the organization.
    pub is_granted: bool,
}

/// All facts of an answer.
pub struct Facts {
    pub whole: Whole,
    /// The levels of the chain, nearest first.
    pub chain: Vec<Vec<ScopeRef>>,
    pub bindings: Vec<Bound>,
    /// The active agents, connections and listings of the product.
    pub resources: Vec<Named>,
    /// The active guardrails that are bound on the chain.
    pub guardrails: Vec<Named>,
    /// Their active patterns.
    pub patterns: Vec<Named>,
}

#[derive(sqlx::FromRow)]
struct Row {
    part: String,
    kind: Option<String>,
    subject: Option<String>,
    id: Option<Uuid>,
    parent_id: Option<ResourceId>,
    key: Option<String>,
    name: Option<String>,
    scope_kind: Option<ScopeKind>,
    scope_id: Option<Uuid>,
    depth: Option<i64>,
    effect: Option<Effect>,
    mandatory: Option<bool>,
    content: Option<Object>,
    changed_at: Option<DateTime<Utc>>,
    #[sqlx(flatten)]
    whole: MaybeWhole,
}

/// The columns of [`Whole`], which only the first part has.
struct MaybeWhole(Option<Whole>);

impl<'r, D: sqlx::Row> sqlx::FromRow<'r, D> for MaybeWhole
where
    Whole: sqlx::FromRow<'r, D>,
    &'static str: sqlx::ColumnIndex<D>,
    Option<i64>: sqlx::Decode<'r, D::Database> + sqlx::Type<D::Database>,
{
    fn from_row(row: &'r D) -> sqlx::Result<Self> {
        let is_whole = row.try_get::<Option<i64>, _>("revision")?.is_some();
        is_whole.then(|| Whole::from_row(row)).transpose().map(Self)
    }
}

/// The columns of the parts but the first, which has them null.
macro_rules! no_whole {
    () => {
        ", NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
         NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL "
    };
}

/// The statement. Its parameters: the organization 1, user 2, product 3, group 4, agent 5,
/// project 6, workspace 7, resource 8, whether the answer has specs 9, and whether it has agents 10,
/// connections 11, listings 12, guardrails 13, models 14 and features 15. 16 limits the resources.
///
/// `CROSS JOIN` is for SQLite, which then looks up the bindings of each level. In another order it reads
/// all bindings of the organization.
pub const SQL: &str = concat!(
    // The groups of the person, or the pinned one, with all groups above them.
    "WITH RECURSIVE own (id, parent_id) AS (
         SELECT g.id, g.parent_id FROM memberships m JOIN groups g ON g.id = m.group_id
         WHERE m.organization_id = $1 AND m.user_id = $2 AND m.scope = 'group'
           AND m.status <> 'suspended'
         UNION SELECT g.id, g.parent_id FROM groups g JOIN own ON g.id = own.parent_id),
     pinned (id, parent_id) AS (
         SELECT g.id, g.parent_id FROM groups g WHERE g.organization_id = $1 AND g.id = $4
         UNION SELECT g.id, g.parent_id FROM groups g JOIN pinned ON g.id = pinned.parent_id),
     mine (id, parent_id) AS (
         SELECT id, parent_id FROM pinned
         UNION SELECT id, parent_id FROM own WHERE $4 IS NULL),
     tree (id, depth) AS (
         SELECT id, CAST(1 AS BIGINT) FROM mine WHERE parent_id IS NULL
         UNION ALL SELECT mine.id, tree.depth + 1 FROM mine JOIN tree ON mine.parent_id = tree.id),
     project (id) AS (
         SELECT w.project_id FROM workspaces w
         WHERE w.organization_id = $1 AND w.id = $7 AND w.project_id IS NOT NULL
         UNION SELECT p.id FROM projects p WHERE p.organization_id = $1 AND p.id = $6),
     levels (scope_kind, scope_id, depth) AS (
         SELECT 'organization', o.id, CAST(0 AS BIGINT) FROM organizations o WHERE o.id = $1
         UNION ALL SELECT 'project', project.id, 0 FROM project
         UNION ALL SELECT 'workspace', w.id, 0 FROM workspaces w
                   WHERE w.organization_id = $1 AND w.id = $7
         UNION ALL SELECT 'group', tree.id, tree.depth FROM tree JOIN groups g ON g.id = tree.id
                   WHERE g.product IN ('', $3)
         UNION ALL SELECT 'user', m.user_id, 0 FROM memberships m
                   WHERE m.organization_id = $1 AND m.user_id = $2 AND m.scope = 'organization'
         UNION ALL SELECT 'agent', a.id, 0 FROM resources a
                   WHERE a.organization_id = $1 AND a.id = $5 AND a.kind = 'agent'),
     bound AS (
         SELECT b.id, b.kind, b.subject, b.scope_kind, b.scope_id, b.effect, b.mandatory, b.value,
                b.updated_at, b.resource_id
         FROM levels CROSS JOIN bindings b
         WHERE b.organization_id = $1
           AND b.scope_kind = levels.scope_kind AND b.scope_id = levels.scope_id
           AND (b.product IN ('', $3) OR b.scope_kind = 'agent')
           AND (b.kind = 'agent' AND $10 OR b.kind = 'connection' AND $11
                OR b.kind = 'listing' AND $12 OR b.kind = 'guardrail' AND $13
                OR b.kind = 'model' AND $14 OR b.kind = 'feature' AND $15)),
     guards AS (
         SELECT r.id, r.key, r.name, r.spec FROM resources r
         WHERE r.organization_id = $1 AND r.kind = 'guardrail' AND r.status = 'active'
           AND r.id IN (SELECT bound.resource_id FROM bound WHERE bound.kind = 'guardrail'))
     SELECT 'whole' AS part, CAST(NULL AS TEXT) AS kind, CAST(NULL AS TEXT) AS subject,
            CAST(NULL AS UUID) AS id, CAST(NULL AS UUID) AS parent_id, CAST(NULL AS TEXT) AS key,
            CAST(NULL AS TEXT) AS name, CAST(NULL AS TEXT) AS scope_kind,
            CAST(NULL AS UUID) AS scope_id, CAST(NULL AS BIGINT) AS depth,
            CAST(NULL AS TEXT) AS effect, CAST(NULL AS BOOLEAN) AS mandatory,
            CAST(NULL AS JSONB) AS content, CAST(NULL AS TIMESTAMPTZ) AS changed_at, ",
    entitlement_columns!(),
    ", o.revision,
            (SELECT m.status FROM memberships m WHERE m.organization_id = $1 AND m.user_id = $2
                AND m.scope = 'organization') AS member_status,
            EXISTS (SELECT 1 FROM pinned) AS has_group,
            EXISTS (SELECT 1 FROM own WHERE own.id = $4) AS in_group,
            EXISTS (SELECT 1 FROM levels WHERE scope_kind = 'agent') AS has_agent,
            EXISTS (SELECT 1 FROM projects p
                    WHERE p.organization_id = $1 AND p.id = $6) AS has_project,
            EXISTS (SELECT 1 FROM levels WHERE scope_kind = 'workspace') AS has_workspace,
            (SELECT w.project_id FROM workspaces w
             WHERE w.organization_id = $1 AND w.id = $7) AS workspace_project
     FROM ",
    entitlement_columns!(from),
    " WHERE o.id = $1
     UNION ALL
     SELECT 'level', NULL, NULL, NULL, NULL, NULL, NULL, scope_kind, scope_id, depth, NULL, NULL,
            NULL, NULL",
    no_whole!(),
    "FROM levels
     UNION ALL
     SELECT 'binding', kind, subject, id, NULL, NULL, NULL, scope_kind, scope_id, NULL, effect,
            mandatory, value, updated_at",
    no_whole!(),
    "FROM bound
     UNION ALL
     SELECT 'resource', r.kind, NULL, r.id, NULL, r.key, r.name, NULL, NULL, NULL, NULL,
            EXISTS (SELECT 1 FROM bindings b WHERE b.resource_id = r.id AND b.kind = 'listing'
                      AND b.effect = 'allow'),
            CASE WHEN r.kind = 'listing' OR $9 THEN r.spec END, NULL",
    no_whole!(),
    "FROM (SELECT id, kind, key, name, spec FROM resources
           WHERE organization_id = $1 AND status = 'active' AND product IN ('', $3)
             AND (kind = 'agent' AND $10 OR kind = 'connection' AND $11 OR kind = 'listing' AND $12)
             AND ($8 IS NULL OR id = $8)
           ORDER BY id LIMIT $16 + 0) r
     UNION ALL
     SELECT 'guardrail', 'guardrail', NULL, g.id, NULL, g.key, g.name, NULL, NULL, NULL, NULL, NULL,
            g.spec, NULL",
    no_whole!(),
    "FROM guards g
     UNION ALL
     SELECT 'pattern', 'pattern', NULL, p.id, p.parent_id, p.key, p.name, NULL, NULL, NULL, NULL,
            NULL, p.spec, NULL",
    no_whole!(),
    "FROM guards g JOIN resources p ON p.parent_id = g.id
     WHERE p.organization_id = $1 AND p.kind = 'pattern' AND p.status = 'active'"
);

/// Reads all facts of the answer.
pub async fn read(tx: &mut Conn, of: &Question) -> Result<Option<Facts>> {
    let resource: Option<Uuid> = of.subject.as_ref().and_then(|subject| subject.parse().ok());
    // No resource has the nil ID: a subject that is no ID names none.
    let resource = of.subject.as_ref().map(|_| resource.unwrap_or(Uuid::nil()));
    let limit = i64::try_from(ITEMS + 1).unwrap_or(i64::MAX);
    let query = tx
        .q(SQL)
        .bind(of.organization)
        .bind(of.user)
        .bind(&*of.product)
        .bind(of.group)
        .bind(of.agent)
        .bind(of.project)
        .bind(of.workspace)
        .bind(resource)
        .bind(of.with_spec)
        .bind(of.asks(BindingKind::Agent))
        .bind(of.asks(BindingKind::Connection))
        .bind(of.asks(BindingKind::Listing))
        .bind(of.asks(BindingKind::Guardrail))
        .bind(of.asks(BindingKind::Model))
        .bind(of.asks(BindingKind::Feature))
        .bind(limit);
    let mut rows: Vec<Row> = query.all().await?;
    let Some(whole) = rows.iter_mut().find_map(|row| row.whole.0.take()) else { return Ok(None) };
    let chain = chain(&rows);
    let level_of = |scope: ScopeRef| chain.iter().position(|level| level.contains(&scope));
    let (mut bindings, mut resources, mut guardrails, mut patterns) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        match row.part.as_str() {
            "binding" => {
                let scope = row.scope();
                bindings.extend(scope.and_then(|scope| row.binding(scope, level_of(scope)?)));
            }
            "resource" => resources.extend(row.named()),
            "guardrail" => guardrails.extend(row.named()),
            "pattern" => patterns.extend(row.named()),
            _ => {}
        }
    }
    Ok(Some(Facts { whole, chain, bindings, resources, guardrails, patterns }))
}

/// Returns the levels of the chain, nearest first. Several groups of one depth are one level.
fn chain(rows: &[Row]) -> Vec<Vec<ScopeRef>> {
    let mut levels: BTreeMap<(usize, i64), Vec<ScopeRef>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.part == "level") {
        let Some(scope) = row.scope() else { continue };
        let order = match scope.kind {
            ScopeKind::Agent => 0,
            ScopeKind::User => 1,
            ScopeKind::Group => 2,
            ScopeKind::Workspace => 3,
            ScopeKind::Project => 4,
            ScopeKind::Organization | ScopeKind::Pool => 5,
        };
        levels.entry((order, -row.depth.unwrap_or(0))).or_default().push(scope);
    }
    let sorted = levels.into_values().map(|mut level| {
        level.sort_by_key(|scope| scope.id);
        level
    });
    sorted.collect()
}

impl Row {
    fn scope(&self) -> Option<ScopeRef> {
        Some(ScopeRef { kind: self.scope_kind?, id: self.scope_id? })
    }

    fn binding(self, scope: ScopeRef, level: usize) -> Option<Bound> {
        Some(Bound {
            id: self.id?,
            level,
            scope,
            kind: self.kind?.parse().ok()?,
            subject: self.subject?,
            effect: self.effect?,
            mandatory: self.mandatory?,
            value: self.content?.into_inner(),
            changed_at: self.changed_at?,
        })
    }

    fn named(self) -> Option<Named> {
        Some(Named {
            id: ResourceId(self.id?),
            kind: self.kind?.parse().ok()?,
            key: self.key?,
            name: self.name?,
            parent: self.parent_id,
            spec: self.content,
            is_granted: self.mandatory.unwrap_or(false),
        })
    }
}
