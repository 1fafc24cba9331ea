//! Plans: the price tiers. Editing one makes a new version; subscriptions stay on theirs until
//! they are migrated.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::subscriptions;
use crate::App;
use crate::kernel::answer::{Created, NoContent, Resource};
use crate::kernel::caller::{Anywhere, Caller, Permission, Scope};
use crate::kernel::db::Conn;
use crate::kernel::endpoint::Cx;
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::ids::{OrganizationId, PlanId, SubscriptionId};
use crate::kernel::json::{Between, Patch, SeatCap};
use crate::kernel::page::{List, NoFilter, Page};
use crate::kernel::place::{OnPlatform, Platform, PlatformKey, Shared};
use crate::kernel::record::{Object, Quantities, Record};
use crate::kernel::text::{Name, PlanCode, Prose};
use crate::tenancy::quotas::Metric;

crate::routes! { plans:
    /// Lists the plans in their newest versions; private ones for platform callers only.
    GET "/plans" Any => list;
    /// Creates a plan.
    POST "/plans" PlansWrite => create;
    /// Reads the newest version of a plan.
    GET "/plans/{code}" Any => read;
    /// Makes a new version of a plan.
    PATCH "/plans/{code}" PlansWrite => update;
    /// Deletes a plan that no subscription is on.
    DELETE "/plans/{code}" PlansWrite => delete;
    /// Lists the versions of a plan.
    GET "/plans/{code}/versions" Any => versions;
    /// Moves subscriptions to the newest version of the plan.
    ///
    /// The answer lists them, and what changes for each; with `dry_run: true` nothing is moved.
    POST "/plans/{code}/migrate" PlansWrite => migrate;
}

/// A version of a plan.
#[derive(Clone, Debug, Serialize, JsonSchema, sqlx::FromRow)]
pub struct Plan {
    pub id: PlanId,
    pub code: String,
    pub version: i64,
    pub name: String,
    pub description: Option<Prose>,
    /// Private plans are seen by platform callers only who may read or change plans.
    pub is_public: bool,
    pub default_features: Object,
    /// By metric; null is unlimited, an absent metric is not included.
    pub limits: Quantities,
    pub seat_cap: Option<i64>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Record for Plan {
    const TABLE: &'static str = "plans JOIN plan_versions ON plan_versions.plan_id = plans.id";
    const COLUMNS: &'static str = "plans.id, plans.code, plan_versions.version, plan_versions.name,
        plan_versions.description, plan_versions.is_public, plan_versions.default_features,
        plan_versions.limits, plan_versions.seat_cap, plans.created_at,
        plan_versions.created_at AS updated_at";
    const KEY: &'static str = "plans.id";
    fn key(&self) -> Uuid {
        self.id.0
    }
}

impl Resource for Plan {
    const NOUN: &'static str = "plan";
    const PATH: &'static str = "plans";
    fn name(&self) -> String {
        self.code.clone()
    }
}

impl PlatformKey for PlanCode {
    const NOUN: &'static str = "plan";
}

/// A quantity: `null` and `-1` stand for unlimited.
pub type Quantity = Option<Between<{ -1 }, { i64::MAX }>>;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPlan {
    code: PlanCode,
    name: Name,
    description: Option<Prose>,
    #[serde(default = "yes")]
    is_public: bool,
    #[serde(default)]
    default_features: Object,
    #[serde(default)]
    limits: BTreeMap<String, Quantity>,
    seat_cap: Option<SeatCap>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanPatch {
    name: Option<Name>,
    #[serde(default)]
    description: Patch<Prose>,
    is_public: Option<bool>,
    /// Replaces all of them.
    default_features: Option<Object>,
    /// Replaces all of them.
    limits: Option<BTreeMap<String, Quantity>>,
    #[serde(default)]
    seat_cap: Patch<SeatCap>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    /// Only tell what would change.
    #[serde(default)]
    dry_run: bool,
}

/// What a migration did, or would do.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Migrated {
    code: String,
    version: i64,
    dry_run: bool,
    subscriptions: Vec<MigratedSubscription>,
}

#[derive(Debug, Serialize, JsonSchema)]
pub struct MigratedSubscription {
    subscription_id: SubscriptionId,
    organization_id: OrganizationId,
    from_version: i64,
    /// By feature or limit: the value before and after; absent where there is none, since null
    /// is a value too: an unlimited one.
    changes: BTreeMap<String, Change>,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct Change {
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Value>,
}

fn yes() -> bool {
    true
}

async fn list(cx: &mut Cx<Scope>, _: Anywhere, list: List<NoFilter>) -> Result<Page<Plan>> {
    let query = cx
        .tx
        .select("WHERE plan_versions.version = plans.version AND plans.alias_of IS NULL")
        .and(" AND (plan_versions.is_public OR ?)", sees_private(&cx.caller));
    list.page(query).await
}

async fn create(cx: &mut Cx<Scope>, _: Platform, new: NewPlan) -> Result<Created<Plan>> {
    let id = PlanId::new(&cx.app.random, cx.now);
    let sql = "INSERT INTO plans (id, code, version, created_at, updated_at)
               VALUES ($1, $2, 1, $3, $3)";
    let insert = cx.tx.q(sql).bind(id).bind(&new.code).bind(cx.now);
    insert.exec().await.on_conflict("plans_code", || {
        let detail = "code: a plan of this code exists; PATCH it to make a new version.";
        Error::new(ProblemCode::CodeTaken, detail).at("code")
    })?;
    let version = Version {
        version: 1,
        name: new.name.into_string(),
        description: new.description,
        is_public: new.is_public,
        default_features: new.default_features,
        limits: quantities(new.limits)?,
        seat_cap: new.seat_cap.map(|cap| cap.0),
    };
    insert_version(&mut cx.tx, id, version, cx.now).await?;
    newest(cx, new.code.as_str()).await.map(Created)
}

async fn read(cx: &mut Cx<Scope>, Shared(code): Shared<PlanCode>) -> Result<Plan> {
    let plan = newest(cx, code.as_str()).await?;
    visible(plan, &cx.caller)
}

async fn update(
    cx: &mut Cx<Scope>,
    OnPlatform(code): OnPlatform<PlanCode>,
    patch: PlanPatch,
) -> Result<Plan> {
    let before = newest(cx, code.as_str()).await?;
    let sql = "UPDATE plans SET version = version + 1, updated_at = $3
               WHERE id = $1 AND version = $2";
    let update = cx.tx.q(sql).bind(before.id).bind(before.version).bind(cx.now);
    if update.exec().await? == 0 {
        return Err(Error::stale());
    }
    let version = Version {
        version: before.version + 1,
        name: patch.name.map_or(before.name, Name::into_string),
        description: patch.description.over(before.description),
        is_public: patch.is_public.unwrap_or(before.is_public),
        default_features: patch.default_features.unwrap_or(before.default_features),
        limits: patch.limits.map_or(Ok(before.limits), quantities)?,
        seat_cap: patch.seat_cap.over(before.seat_cap.map(Between)).map(|cap| cap.0),
    };
    insert_version(&mut cx.tx, before.id, version, cx.now).await?;
    newest(cx, code.as_str()).await
}

async fn delete(cx: &mut Cx<Scope>, OnPlatform(code): OnPlatform<PlanCode>) -> Result<NoContent> {
    // Subscriptions refer to the versions, so the database itself refuses.
    match cx.tx.q("DELETE FROM plans WHERE code = $1").bind(&code).exec().await? {
        0 => Err(Error::not_found("plan")),
        _ => Ok(NoContent),
    }
}

async fn versions(
    cx: &mut Cx<Scope>,
    Shared(code): Shared<PlanCode>,
    _: NoFilter,
) -> Result<Page<Plan>> {
    let plan = visible(newest(cx, code.as_str()).await?, &cx.caller)?;
    let query = cx.tx.select("WHERE plans.id = $1").bind(plan.id);
    let items = query.sql(" ORDER BY plan_versions.version DESC").all().await?;
    Ok(Page { items, next_cursor: None })
}

async fn migrate(
    cx: &mut Cx<Scope>,
    OnPlatform(code): OnPlatform<PlanCode>,
    migration: Migration,
) -> Result<Migrated> {
    let plan = newest(cx, code.as_str()).await?;
    let mut moved = Vec::new();
    for pinned in subscriptions::behind(cx, &plan).await? {
        let before = at_version(&mut cx.tx, plan.id, pinned.plan_version).await?;
        moved.push(MigratedSubscription {
            subscription_id: pinned.id,
            organization_id: pinned.organization_id,
            from_version: pinned.plan_version,
            changes: changes(&before, &plan),
        });
    }
    if !migration.dry_run {
        subscriptions::move_to(cx, &plan).await?;
    }
    let (code, version, dry_run) = (plan.code, plan.version, migration.dry_run);
    Ok(Migrated { code, version, dry_run, subscriptions: moved })
}

fn changes(before: &Plan, after: &Plan) -> BTreeMap<String, Change> {
    let facts = |plan: &Plan| {
        let limits = plan.limits.iter().map(|(name, n)| (format!("limits.{name}"), json!(n)));
        let features = plan.default_features.iter();
        features.map(|(name, v)| (name.clone(), v.clone())).chain(limits).collect()
    };
    let (before, after): (BTreeMap<_, _>, BTreeMap<_, _>) = (facts(before), facts(after));
    let names = before.keys().chain(after.keys());
    names
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| {
            let value = |of: &BTreeMap<String, Value>| of.get(name).cloned();
            (name.clone(), Change { before: value(&before), after: value(&after) })
        })
        .collect()
}

/// The newest version of the plan of this code, or of the plan that the code is an alias of.
pub async fn newest<G>(cx: &mut Cx<G>, code: &str) -> Result<Plan> {
    let tail = "WHERE plan_versions.version = plans.version
                  AND plans.id = (SELECT COALESCE(alias_of, id) FROM plans WHERE code = $1)";
    let plan = cx.tx.select(tail).bind(code).opt().await?;
    plan.ok_or_else(|| Error::not_found("plan"))
}

/// The version that a subscription is pinned to.
pub async fn at_version(tx: &mut Conn, id: PlanId, version: i64) -> Result<Plan> {
    let tail = "WHERE plans.id = $1 AND plan_versions.version = $2";
    Ok(tx.select(tail).bind(id).bind(version).one().await?)
}

/// Makes a private plan that grants nothing yet; `None` if there is one of this code.
pub async fn private<G>(cx: &mut Cx<G>, code: &PlanCode, name: &str) -> Result<Option<Plan>> {
    let id = PlanId::new(&cx.app.random, cx.now);
    let sql = "INSERT INTO plans (id, code, version, created_at, updated_at)
               VALUES ($1, $2, 1, $3, $3) ON CONFLICT DO NOTHING";
    if cx.tx.q(sql).bind(id).bind(code).bind(cx.now).exec().await? == 0 {
        return Ok(None);
    }
    let version = Version { version: 1, name: name.to_owned(), ..Version::default() };
    insert_version(&mut cx.tx, id, version, cx.now).await?;
    newest(cx, code.as_str()).await.map(Some)
}

fn visible(plan: Plan, to: &Caller) -> Result<Plan> {
    if plan.is_public || sees_private(to) { Ok(plan) } else { Err(Error::not_found("plan")) }
}

/// Who changes a plan sees it, too.
fn sees_private(caller: &Caller) -> bool {
    let may = |permission| caller.on_platform(permission).is_ok();
    may(Permission::PlansRead) || may(Permission::PlansWrite)
}

/// `-1` is accepted and kept as null: one way to say unlimited is enough.
fn quantities(limits: BTreeMap<String, Quantity>) -> Result<Quantities> {
    let plain =
        |(name, quantity): (String, Quantity)| (name, quantity.map(|n| n.0).filter(|n| *n >= 0));
    Quantities::bounded("limits", limits.into_iter().map(plain).collect())
}

#[derive(Default)]
struct Version {
    version: i64,
    name: String,
    description: Option<Prose>,
    is_public: bool,
    default_features: Object,
    limits: Quantities,
    seat_cap: Option<i64>,
}

async fn insert_version(
    tx: &mut Conn,
    plan: PlanId,
    version: Version,
    now: DateTime<Utc>,
) -> Result<()> {
    let sql = "INSERT INTO plan_versions
               (plan_id, version, name, description, is_public, default_features, limits,
                seat_cap, created_at)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    let insert = tx
        .q(sql)
        .bind(plan)
        .bind(version.version)
        .bind(version.name)
        .bind(version.description)
        .bind(version.is_public)
        .bind(version.default_features)
        .bind(version.limits)
        .bind(version.seat_cap)
        .bind(now);
    insert.exec().await?;
    Ok(())
}

/// Gives a new installation its plans; later starts leave them as the vendor made them.
pub async fn seed(app: &App) -> Result<()> {
    let mut tx = app.db.begin().await?;
    if tx.q("SELECT EXISTS (SELECT 1 FROM plans)").value().await?.unwrap_or(false) {
        return Ok(());
    }
    let now = app.clock.now();
    let mut professional = None;
    for (code, name, seat_cap, limits, features) in seeds() {
        let id = PlanId::new(&app.random, now);
        if code == "professional" {
            professional = Some(id);
        }
        if !insert_seed(&mut tx, id, code, None, now).await? {
            return Ok(());
        }
        let version = Version {
            version: 1,
            name: name.into(),
            description: None,
            is_public: true,
            default_features: Object::bounded(
                "default_features",
                features.as_object().cloned().unwrap_or_default(),
            )?,
            limits: Quantities::bounded("limits", limits)?,
            seat_cap,
        };
        insert_version(&mut tx, id, version, now).await?;
    }
    insert_seed(&mut tx, PlanId::new(&app.random, now), "pro", professional, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Of replicas that start together on an empty database, the one whose first plan is in goes on.
async fn insert_seed(
    tx: &mut Conn,
    id: PlanId,
    code: &'static str,
    alias_of: Option<PlanId>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let sql = "INSERT INTO plans (id, code, alias_of, version, created_at, updated_at)
               VALUES ($1, $2, $3, 1, $4, $4) ON CONFLICT DO NOTHING";
    Ok(tx.q(sql).bind(id).bind(code).bind(alias_of).bind(now).exec().await? == 1)
}

type Seed = (&'static str, &'static str, Option<i64>, BTreeMap<String, Option<i64>>, Value);

const GIB: i64 = 1 << 30;

#[rustfmt::skip]
fn seeds() -> [Seed; 4] {
    // In the order of the metrics.
    let limits = |n: [i64; 10]| Metric::ALL.iter().zip(n).map(|(m, n)| (m.to_string(), (n >= 0).then_some(n))).collect();
    [
        ("free", "Free", Some(3), limits([3, 1, 100, 1000, 5 * GIB, 3, 10, 60, 7, 10]),
            json!({"alerts_enabled": false, "exports_enabled": false, "max_workspaces": 1, "max_users_per_organization": 3, "max_dashboards_per_workspace": 3})),
        ("professional", "Professional", Some(5), limits([10, 3, 1000, 10_000, 50 * GIB, 5, 50, 600, 30, 60]),
            json!({"alerts_enabled": true, "exports_enabled": true, "max_workspaces": 3, "max_users_per_organization": 5, "max_dashboards_per_workspace": 20})),
        ("team", "Team", Some(20), limits([50, 10, 10_000, 100_000, 200 * GIB, 20, 200, 3000, 90, 300]),
            json!({"alerts_enabled": true, "exports_enabled": true, "max_workspaces": 10, "max_users_per_organization": 20, "max_dashboards_per_workspace": 100})),
        ("enterprise", "Enterprise", Some(1000), limits([-1, 50, -1, -1, 1000 * GIB, -1, 1000, -1, 365, 1000]),
            json!({"alerts_enabled": true, "exports_enabled": true, "max_workspaces": -1, "max_users_per_organization": -1, "max_dashboards_per_workspace": -1})),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_plan_is_told_value_by_value() {
        let plan = |features: Value, limits: &[(&str, Option<i64>)]| Plan {
            id: PlanId(Uuid::nil()),
            code: "team".into(),
            version: 1,
            name: "Team".into(),
            description: None,
            is_public: true,
            default_features: serde_json::from_value(features).unwrap(),
            limits: Quantities::bounded(
                "limits",
                limits.iter().map(|(m, n)| ((*m).to_owned(), *n)).collect(),
            )
            .unwrap(),
            seat_cap: None,
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        };
        let before = plan(json!({"a": 1, "b": true, "c": "x"}), &[("projects", Some(3))]);
        let after = plan(json!({"a": 2, "b": true, "d": []}), &[("projects", None)]);
        let told = serde_json::to_value(changes(&before, &after)).unwrap();
        assert_eq!(
            told,
            json!({
                "a": {"before": 1, "after": 2},
                "c": {"before": "x"},
                "d": {"after": []},
                "limits.projects": {"before": 3, "after": null},
            })
        );
    }
}
