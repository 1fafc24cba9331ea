//! Plans: the price tiers. Editing one makes a new version; subscriptions stay on theirs until
//! they are migrated.

mod presets;
pub mod versions;

use std::collections::BTreeMap;

use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use self::presets::seed;
pub use self::versions::{Change, Plan};
use self::versions::{Version, insert_version};
use super::subscriptions::rows as subscriptions;
use crate::kernel::access::caller::{Caller, CallerScope, Permission, Scope};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::platform::{ForAll, Platform, PlatformId, PlatformRow};
use crate::kernel::db::Conn;
use crate::kernel::db::record::{Object, Quantities};
use crate::kernel::declaration::Declaration;
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::answer::{Created, NoContent};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::{Between, Patch, SeatCap};
use crate::kernel::http::page::{List, NoFilter, Page};
use crate::kernel::text::{Name, PlanCode, Prose};
use crate::licensing::ids::{LicenseId, PlanId, SubscriptionId};
use crate::tenancy::quotas::metrics::{Bound, BoundPatch};

crate::permissions! {
    /// Read plans.
    PLANS_READ = "plans:read", implied by ["org:read"];
    /// Create and change plans.
    PLANS_WRITE = "plans:write";
}

pub static DECLARATION: Declaration =
    Declaration::of_platform("plans", "plan").permissions(PERMISSIONS);

crate::routes! { plans declares DECLARATION:
    /// Lists the plans in their newest versions; private ones for platform callers only.
    GET "/plans" ANY => list;
    /// Creates a plan.
    POST "/plans" PLANS_WRITE => create;
    /// Reads the newest version of a plan.
    GET "/plans/{code}" ANY => read;
    /// Creates a new version of a plan; the answer lists what changes.
    ///
    /// `limits` and `default_features` are merged member by member. Subscriptions keep their version
    /// until they are migrated.
    PATCH "/plans/{code}" PLANS_WRITE => update;
    /// Deletes a plan that no subscription is on.
    DELETE "/plans/{code}" PLANS_WRITE => delete;
    /// Lists the versions of a plan.
    GET "/plans/{code}/versions" ANY => list_versions;
    /// Moves subscriptions to the newest version of the plan.
    ///
    /// The answer lists them, and what changes for each; with `dry_run: true` nothing is moved.
    POST "/plans/{code}/migrate" PLANS_WRITE => migrate;
}

impl PlatformId for PlanCode {
    const NOUN: &'static str = "plan";
}

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
    /// By metric: a number, or `"unlimited"` (also `null` and `-1`). Metrics of the vendor's own begin
    /// with `x_`. What is absent is not included in license tokens.
    #[serde(default)]
    limits: BTreeMap<String, Bound>,
    seat_cap: Option<SeatCap>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanPatch {
    name: Option<Name>,
    #[serde(default)]
    description: Patch<Prose>,
    is_public: Option<bool>,
    /// Merged by name: null removes a feature, and what is absent stays.
    #[serde(default)]
    default_features: Map<String, Value>,
    /// Merged by metric: a number or `"unlimited"` sets a limit, `"not_included"` removes it, and what
    /// is absent stays.
    #[serde(default)]
    limits: BTreeMap<String, BoundPatch>,
    #[serde(default)]
    seat_cap: Patch<SeatCap>,
}

/// The new version of a plan, and what differs from the one before.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlanChange {
    #[serde(flatten)]
    plan: Plan,
    /// By feature, `limits.` and a metric, or `seat_cap`.
    changes: BTreeMap<String, Change>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    /// Only report what would change.
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
    /// By feature, `limits.` and a metric, or `seat_cap`.
    changes: BTreeMap<String, Change>,
    /// Licenses with a `seat_cap` of their own above the new one; their next tokens have the new one.
    capped_licenses: Vec<LicenseId>,
}

fn yes() -> bool {
    true
}

async fn list(cx: &mut Cx<Scope>, _: CallerScope, list: List<NoFilter>) -> Result<Page<Plan>> {
    let query = cx
        .tx
        .select("WHERE plan_versions.version = plans.version AND plans.alias_of IS NULL")
        .and(" AND (plan_versions.is_public OR ?)", sees_private(&cx.caller));
    list.page(query).await
}

async fn create(cx: &mut Cx<Scope>, _: Platform, new: NewPlan) -> Result<Created<Plan>> {
    versions::refuse_unknown_metrics(cx, new.limits.keys().map(String::as_str)).await?;
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
        limits: versions::limits_of(new.limits)?,
        seat_cap: new.seat_cap.map(|cap| cap.0),
    };
    insert_version(&mut cx.tx, id, version, cx.now).await?;
    newest(cx, new.code.as_str()).await.map(Created)
}

async fn read(cx: &mut Cx<Scope>, ForAll(code): ForAll<PlanCode>) -> Result<Plan> {
    let plan = newest(cx, code.as_str()).await?;
    visible(plan, &cx.caller)
}

async fn update(
    cx: &mut Cx<Scope>,
    PlatformRow(code): PlatformRow<PlanCode>,
    patch: PlanPatch,
) -> Result<PlanChange> {
    let before = newest(cx, code.as_str()).await?;
    versions::refuse_unknown_metrics(cx, added(&patch.limits, &before.limits)).await?;
    let sql = "UPDATE plans SET version = version + 1, updated_at = $3
               WHERE id = $1 AND version = $2";
    let update = cx.tx.q(sql).bind(before.id).bind(before.version).bind(cx.now);
    if update.exec().await? == 0 {
        return Err(Error::stale());
    }
    let version = Version {
        version: before.version + 1,
        name: patch.name.map_or_else(|| before.name.clone(), Name::into_string),
        description: patch.description.over(before.description.clone()),
        is_public: patch.is_public.unwrap_or(before.is_public),
        default_features: versions::features_after(
            before.default_features.clone(),
            patch.default_features,
        )?,
        limits: versions::limits_after(before.limits.clone(), patch.limits)?,
        seat_cap: patch.seat_cap.over(before.seat_cap.map(Between)).map(|cap| cap.0),
    };
    insert_version(&mut cx.tx, before.id, version, cx.now).await?;
    let plan = newest(cx, code.as_str()).await?;
    let changes = versions::changes(&before, &plan);
    Ok(PlanChange { plan, changes })
}

/// The metrics that a PATCH names and the plan does not have yet.
fn added<'a>(
    patch: &'a BTreeMap<String, BoundPatch>,
    before: &'a Quantities,
) -> impl Iterator<Item = &'a str> {
    let set = patch.iter().filter(|(_, bound)| **bound != BoundPatch::NotIncluded);
    set.map(|(metric, _)| metric.as_str()).filter(|metric| !before.contains_key(*metric))
}

async fn delete(cx: &mut Cx<Scope>, PlatformRow(code): PlatformRow<PlanCode>) -> Result<NoContent> {
    // Subscriptions refer to the versions, so the database itself refuses.
    match cx.tx.q("DELETE FROM plans WHERE code = $1").bind(&code).exec().await? {
        0 => Err(Error::not_found("plan")),
        _ => Ok(NoContent),
    }
}

async fn list_versions(
    cx: &mut Cx<Scope>,
    ForAll(code): ForAll<PlanCode>,
    _: NoFilter,
) -> Result<Page<Plan>> {
    let plan = visible(newest(cx, code.as_str()).await?, &cx.caller)?;
    let query = cx.tx.select("WHERE plans.id = $1").bind(plan.id);
    let items = query.sql(" ORDER BY plan_versions.version DESC").all().await?;
    Ok(Page { items, next_cursor: None })
}

async fn migrate(
    cx: &mut Cx<Scope>,
    PlatformRow(code): PlatformRow<PlanCode>,
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
            changes: versions::changes(&before, &plan),
            capped_licenses: subscriptions::capped_by(cx, &pinned, &plan).await?,
        });
    }
    if !migration.dry_run {
        subscriptions::move_to(cx, &plan).await?;
    }
    let (code, version, dry_run) = (plan.code, plan.version, migration.dry_run);
    Ok(Migrated { code, version, dry_run, subscriptions: moved })
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
    may(Permission::PLANS_READ) || may(Permission::PLANS_WRITE)
}
