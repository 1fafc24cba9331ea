//! Plans: the price tiers. A change of a plan creates a new version. Subscriptions keep their
//! version until they are migrated.

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
use super::leases::settings::Pools;
use super::subscriptions::rows as subscriptions;
use super::token_ttl::TokenTtl;
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

crate::routes! {
    /// Price tiers with features, limits and seats, in versions.
    plans declares DECLARATION:
    /// Lists the plans in their newest versions. Private plans are visible only to platform callers
    /// that may read or change plans.
    GET "/plans" ANY => list;
    /// Creates a plan.
    POST "/plans" PLANS_WRITE => create;
    /// Returns the newest version of a plan.
    GET "/plans/{code}" ANY => read;
    /// Creates a new version of a plan. The answer lists the changes.
    ///
    /// `limits` and `features` are merged member by member. Subscriptions keep their
    /// version until they are migrated.
    PATCH "/plans/{code}" PLANS_WRITE => update;
    /// Deletes a plan that has no subscriptions.
    DELETE "/plans/{code}" PLANS_WRITE => delete;
    /// Lists the versions of a plan.
    GET "/plans/{code}/versions" ANY => list_versions;
    /// Moves subscriptions to the newest version of the plan.
    ///
    /// The answer lists the subscriptions and the changes for each. With `dry_run: true` it moves
    /// none, and leaves no event.
    POST "/plans/{code}/migrate" PLANS_WRITE => migrate, conditional_audit;
}

impl PlatformId for PlanCode {
    const NOUN: &'static str = "plan";
    const KEY: &'static str = "code";
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPlan {
    /// The plan's code: a letter a-z, then up to 63 of a-z, 0-9, `_` and `-`.
    code: PlanCode,
    /// The display name, 1 to 255 characters.
    name: Name,
    /// A description, at most 4,000 characters.
    description: Option<Prose>,
    /// Whether all callers see the plan. True when absent. Private plans are visible only to
    /// platform callers that may read or change plans.
    #[serde(default = "yes")]
    is_public: bool,
    /// The feature values of the plan's licenses, as an object of at most 64 KiB. Until 1.0 also
    /// named `default_features`.
    #[serde(default, alias = "default_features")]
    features: Object,
    /// The limits by metric: a number, or `"unlimited"` (also `null` and `-1`). The vendor's own
    /// metrics begin with `x_`. An absent metric is not included in license tokens.
    #[serde(default)]
    limits: BTreeMap<String, Bound>,
    /// The default seats of subscriptions, at least 1. When absent, subscriptions set their own.
    seat_cap: Option<SeatCap>,
    /// The pools of seats of the plan's licenses, by name, with their settings.
    #[serde(default)]
    leasing: Pools,
    /// The life in seconds of tokens that data planes renew, one hour to 400 days. The server's
    /// setting when absent.
    token_ttl_seconds: Option<TokenTtl>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanPatch {
    /// The display name, 1 to 255 characters.
    name: Option<Name>,
    /// A description, at most 4,000 characters. Null removes it.
    #[serde(default)]
    description: Patch<Prose>,
    /// Whether all callers see the plan.
    is_public: Option<bool>,
    /// Feature values by name. Null removes a feature; absent features stay. Until 1.0 also named
    /// `default_features`.
    #[serde(default, alias = "default_features")]
    features: Map<String, Value>,
    /// The changed limits by metric: a number or `"unlimited"` sets a limit, `"not_included"`
    /// removes it. Absent metrics stay.
    #[serde(default)]
    limits: BTreeMap<String, BoundPatch>,
    /// The default seats of subscriptions, at least 1. Null removes them.
    #[serde(default)]
    seat_cap: Patch<SeatCap>,
    /// The pools of seats, which replace all of the plan's.
    leasing: Option<Pools>,
    /// The life in seconds of tokens that data planes renew, one hour to 400 days. Null returns to
    /// the server's setting.
    #[serde(default)]
    token_ttl_seconds: Patch<TokenTtl>,
}

/// The new version of a plan, and its differences from the previous one.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlanChange {
    #[serde(flatten)]
    plan: Plan,
    /// The changes by feature, by `limits.` and a metric, by `leasing.` and a pool, or by `seat_cap`
    /// or `token_ttl_seconds`.
    changes: BTreeMap<String, Change>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    /// Whether to report the changes without making them. False when absent.
    #[serde(default)]
    dry_run: bool,
}

/// The changes of a migration, or those that it would make.
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
    /// The changes by feature, by `limits.` and a metric, by `leasing.` and a pool, or by `seat_cap`
    /// or `token_ttl_seconds`.
    changes: BTreeMap<String, Change>,
    /// Licenses with a `seat_cap` of their own above the new one. Their next tokens have the new
    /// one.
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

pub(crate) async fn create(cx: &mut Cx<Scope>, _: Platform, new: NewPlan) -> Result<Created<Plan>> {
    versions::refuse_unknown_metrics(cx, new.limits.keys().map(String::as_str)).await?;
    refuse_other_name(cx, &new.code).await?;
    let id = PlanId::new(&cx.app.random, cx.now);
    let sql = "INSERT INTO plans (id, code, version, created_at, updated_at)
               VALUES ($1, $2, 1, $3, $3)";
    let insert = cx.tx.q(sql).bind(id).bind(&new.code).bind(cx.now);
    insert.exec().await.on_conflict("plans_code", || {
        let detail = "`code` is used by another plan. PATCH that plan to create a new version.";
        Error::new(ProblemCode::CodeTaken, detail).at("code")
    })?;
    let version = Version {
        version: 1,
        name: new.name.into_string(),
        description: new.description,
        is_public: new.is_public,
        features: new.features,
        limits: versions::limits_of(new.limits)?,
        seat_cap: new.seat_cap.map(|cap| cap.0),
        leasing: new.leasing.over(&[])?,
        token_ttl_seconds: new.token_ttl_seconds.map(|ttl| ttl.0),
    };
    insert_version(&mut cx.tx, id, version, cx.now).await?;
    newest(cx, new.code.as_str()).await.map(Created)
}

/// Refuses a code that is another name of a preset plan. The list of plans does not show it.
async fn refuse_other_name(cx: &mut Cx<Scope>, code: &PlanCode) -> Result<()> {
    let sql = "SELECT code FROM plans
               WHERE id = (SELECT alias_of FROM plans WHERE code = $1)";
    let Some(plan) = cx.tx.q(sql).bind(code).value::<String>().await? else { return Ok(()) };
    let detail = format!(
        "`{}` is another name of the plan `{plan}`. PATCH `{plan}`, or choose another code.",
        code.as_str()
    );
    Err(Error::new(ProblemCode::CodeTaken, detail).at("code"))
}

async fn read(cx: &mut Cx<Scope>, ForAll(code): ForAll<PlanCode>) -> Result<Plan> {
    let plan = newest(cx, code.as_str()).await?;
    visible(plan, &cx.caller)
}

pub(crate) async fn update(
    cx: &mut Cx<Scope>,
    PlatformRow(code): PlatformRow<PlanCode>,
    patch: PlanPatch,
) -> Result<PlanChange> {
    let before = newest(cx, code.as_str()).await?;
    versions::refuse_unknown_metrics(cx, added(&patch.limits, &before.limits)).await?;
    let version = Version {
        version: before.version,
        name: patch.name.map_or_else(|| before.name.clone(), Name::into_string),
        description: patch.description.over(before.description.clone()),
        is_public: patch.is_public.unwrap_or(before.is_public),
        features: before.features.clone().merged("features", patch.features)?,
        limits: versions::limits_after(before.limits.clone(), patch.limits)?,
        seat_cap: patch.seat_cap.over(before.seat_cap.map(Between)).map(|cap| cap.0),
        leasing: match patch.leasing {
            Some(pools) => pools.over(&[])?,
            None => before.leasing.clone(),
        },
        token_ttl_seconds: patch
            .token_ttl_seconds
            .over(before.token_ttl_seconds.map(Between))
            .map(|ttl| ttl.0),
    };
    if version == Version::of(&before) {
        return Ok(PlanChange { plan: before, changes: BTreeMap::new() });
    }
    let sql = "UPDATE plans SET version = version + 1, updated_at = $3
               WHERE id = $1 AND version = $2";
    let update = cx.tx.q(sql).bind(before.id).bind(before.version).bind(cx.now);
    if update.exec().await? == 0 {
        return Err(Error::stale());
    }
    let version = Version { version: before.version + 1, ..version };
    insert_version(&mut cx.tx, before.id, version, cx.now).await?;
    let plan = newest(cx, code.as_str()).await?;
    let changes = versions::changes(&before, &plan);
    Ok(PlanChange { plan, changes })
}

/// Returns the metrics that a PATCH adds to the plan.
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
    let tail = "WHERE plans.id = (SELECT COALESCE(alias_of, id) FROM plans WHERE code = $1)
                ORDER BY plan_versions.version DESC";
    let items: Vec<Plan> = cx.tx.select(tail).bind(code.as_str()).all().await?;
    match items.first() {
        Some(newest) if is_visible(newest, &cx.caller) => Ok(Page { items, next_cursor: None }),
        _ => Err(Error::not_found("plan")),
    }
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
    match migration.dry_run {
        true => cx.audit.omit(),
        false => subscriptions::move_to(cx, &plan).await?,
    }
    let (code, version, dry_run) = (plan.code, plan.version, migration.dry_run);
    Ok(Migrated { code, version, dry_run, subscriptions: moved })
}

/// Returns the newest version of the plan with this code, or of the plan that the code is an alias
/// of.
pub async fn newest<G>(cx: &mut Cx<G>, code: &str) -> Result<Plan> {
    let tail = "WHERE plan_versions.version = plans.version
                  AND plans.id = (SELECT COALESCE(alias_of, id) FROM plans WHERE code = $1)";
    let plan = cx.tx.select(tail).bind(code).opt().await?;
    plan.ok_or_else(|| Error::not_found("plan"))
}

/// Returns the version that a subscription is pinned to.
pub async fn at_version(tx: &mut Conn, id: PlanId, version: i64) -> Result<Plan> {
    let tail = "WHERE plans.id = $1 AND plan_versions.version = $2";
    Ok(tx.select(tail).bind(id).bind(version).one().await?)
}

/// Creates a private plan that grants nothing yet. Returns `None` if the code exists.
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
    if is_visible(&plan, to) { Ok(plan) } else { Err(Error::not_found("plan")) }
}

fn is_visible(plan: &Plan, to: &Caller) -> bool {
    plan.is_public || sees_private(to)
}

/// Returns whether the caller sees private plans. A caller that may change plans sees them too.
fn sees_private(caller: &Caller) -> bool {
    let may = |permission| caller.on_platform(permission).is_ok();
    may(Permission::PLANS_READ) || may(Permission::PLANS_WRITE)
}
