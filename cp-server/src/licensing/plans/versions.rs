//! The versions of plans: their rows, the creation of the next version, and the differences.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::kernel::db::Conn;
use crate::kernel::db::record::{Object, Quantities, Record};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Resource;
use crate::kernel::http::cx::Cx;
use crate::kernel::text::{Prose, quoted};
use crate::licensing::ids::PlanId;
use crate::tenancy::quotas::Metric;
use crate::tenancy::quotas::metrics::{Bound, BoundPatch, OWN_PREFIX};

/// A version of a plan.
#[derive(Clone, Debug, Serialize, JsonSchema, sqlx::FromRow)]
pub struct Plan {
    pub id: PlanId,
    pub code: String,
    pub version: i64,
    pub name: String,
    pub description: Option<Prose>,
    /// Private plans are visible only to platform callers that may read or change plans.
    pub is_public: bool,
    /// The feature values of the plan's licenses.
    pub features: Object,
    /// The same as `features`; removed in 1.0.
    #[schemars(extend("deprecated" = true))]
    pub default_features: Object,
    /// The limits by metric; null is unlimited. An absent metric is not included in license tokens,
    /// and this server does not limit it.
    pub limits: Quantities,
    pub seat_cap: Option<i64>,
    /// The settings of the pools of seats, by pool.
    pub leasing: Object,
    /// The life in seconds of tokens that data planes renew; null when it is the server's setting.
    pub token_ttl_seconds: Option<i64>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

impl Record for Plan {
    const TABLE: &'static str = "plans JOIN plan_versions ON plan_versions.plan_id = plans.id";
    const COLUMNS: &'static str = "plans.id, plans.code, plan_versions.version, plan_versions.name,
        plan_versions.description, plan_versions.is_public,
        plan_versions.default_features AS features, plan_versions.default_features,
        plan_versions.limits, plan_versions.seat_cap, plan_versions.leasing,
        plan_versions.token_ttl_seconds, plans.created_at,
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

/// A version before it is stored.
#[derive(Default, PartialEq)]
pub(super) struct Version {
    pub version: i64,
    pub name: String,
    pub description: Option<Prose>,
    pub is_public: bool,
    pub features: Object,
    pub limits: Quantities,
    pub seat_cap: Option<i64>,
    pub leasing: Object,
    pub token_ttl_seconds: Option<i64>,
}

impl Version {
    pub(super) fn of(plan: &Plan) -> Self {
        Self {
            version: plan.version,
            name: plan.name.clone(),
            description: plan.description.clone(),
            is_public: plan.is_public,
            features: plan.features.clone(),
            limits: plan.limits.clone(),
            seat_cap: plan.seat_cap,
            leasing: plan.leasing.clone(),
            token_ttl_seconds: plan.token_ttl_seconds,
        }
    }
}

pub(super) async fn insert_version(
    tx: &mut Conn,
    plan: PlanId,
    version: Version,
    now: DateTime<Utc>,
) -> Result<()> {
    let sql = "INSERT INTO plan_versions
               (plan_id, version, name, description, is_public, default_features, limits,
                seat_cap, created_at, leasing, token_ttl_seconds)
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let insert = tx
        .q(sql)
        .bind(plan)
        .bind(version.version)
        .bind(version.name)
        .bind(version.description)
        .bind(version.is_public)
        .bind(version.features)
        .bind(version.limits)
        .bind(version.seat_cap)
        .bind(now)
        .bind(version.leasing)
        .bind(version.token_ttl_seconds);
    insert.exec().await?;
    Ok(())
}

/// Returns the limits of a new plan.
pub(super) fn limits_of(limits: BTreeMap<String, Bound>) -> Result<Quantities> {
    Quantities::bounded("limits", limits.into_iter().map(|(name, n)| (name, n.0)).collect())
}

/// Returns the limits after a PATCH: each named metric is set or removed, the others stay.
pub(super) fn limits_after(
    before: Quantities,
    patch: BTreeMap<String, BoundPatch>,
) -> Result<Quantities> {
    let mut limits = before.into_inner();
    for (metric, bound) in patch {
        match bound {
            BoundPatch::NotIncluded => limits.remove(&metric),
            BoundPatch::Set(Bound(quantity)) => limits.insert(metric, quantity),
        };
    }
    Quantities::bounded("limits", limits)
}

/// Refuses metrics that are unknown in this installation: a misspelt limit would have no effect.
///
/// The server's own metrics are known, the vendor's with [`OWN_PREFIX`], and those of any plan or
/// usage limit.
///
/// # Errors
/// Fails with 422 at `limits`, with the known metrics.
pub(super) async fn refuse_unknown_metrics<G>(
    cx: &mut Cx<G>,
    metrics: impl Iterator<Item = &str>,
) -> Result<()> {
    let is_servers = |name: &str| Metric::ALL.iter().any(|metric| metric.as_str() == name);
    let is_own = |name: &str| name.strip_prefix(OWN_PREFIX).is_some_and(|rest| !rest.is_empty());
    let open: BTreeSet<&str> = metrics.filter(|name| !is_servers(name) && !is_own(name)).collect();
    if open.is_empty() {
        return Ok(());
    }
    let known = cx.tx.q2(
        "SELECT DISTINCT l.key FROM plan_versions v, json_each(v.limits) l
         UNION SELECT DISTINCT metric FROM usage_limits",
        "SELECT DISTINCT l.key FROM plan_versions v, jsonb_object_keys(v.limits) AS l (key)
         UNION SELECT DISTINCT metric FROM usage_limits",
    );
    let known: BTreeSet<String> =
        known.all::<(String,)>().await?.into_iter().map(|(name,)| name).collect();
    let Some(unknown) = open.into_iter().find(|name| !known.contains(*name)) else {
        return Ok(());
    };
    let mut names: BTreeSet<&str> = Metric::ALL.iter().map(|metric| metric.as_str()).collect();
    names.extend(known.iter().map(String::as_str).take(MOST_NAMED));
    let names: Vec<&str> = names.into_iter().collect();
    let detail = format!(
        "`limits` has the unknown metric {}. Known: {}. Begin a metric of your own with `{OWN_PREFIX}`.",
        quoted(unknown),
        names.join(", ")
    );
    Err(Error::invalid("limits", detail).with("known_metrics", names))
}

/// The maximum number of metrics that a refusal names.
const MOST_NAMED: usize = 50;

/// A value before and after a change. A missing value is absent, because null is a value too.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub struct Change {
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Value>,
}

/// Returns the differences of two versions: features by name, `limits.` and a metric, `leasing.` and
/// a pool, and `seat_cap`.
pub(super) fn changes(before: &Plan, after: &Plan) -> BTreeMap<String, Change> {
    let facts = |plan: &Plan| {
        let limits = plan.limits.iter().map(|(name, n)| (format!("limits.{name}"), json!(n)));
        let pools = plan.leasing.iter().map(|(pool, v)| (format!("leasing.{pool}"), v.clone()));
        let features = plan.features.iter();
        let seats = plan.seat_cap.map(|cap| ("seat_cap".to_owned(), json!(cap)));
        let ttl = plan.token_ttl_seconds.map(|ttl| ("token_ttl_seconds".to_owned(), json!(ttl)));
        features
            .map(|(name, v)| (name.clone(), v.clone()))
            .chain(limits)
            .chain(pools)
            .chain(seats)
            .chain(ttl)
            .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plan_changes_list_each_value() {
        let plan = |features: Value, limits: &[(&str, Option<i64>)], seats: Option<i64>| Plan {
            id: PlanId(Uuid::nil()),
            code: "team".into(),
            version: 1,
            name: "Team".into(),
            description: None,
            is_public: true,
            features: serde_json::from_value(features).unwrap(),
            default_features: Object::default(),
            limits: Quantities::bounded(
                "limits",
                limits.iter().map(|(m, n)| ((*m).to_owned(), *n)).collect(),
            )
            .unwrap(),
            seat_cap: seats,
            leasing: serde_json::from_value(json!({"render": {"cap": seats}})).unwrap(),
            token_ttl_seconds: seats.map(|_| 3600),
            created_at: DateTime::UNIX_EPOCH,
            updated_at: DateTime::UNIX_EPOCH,
        };
        let before = plan(json!({"a": 1, "b": true, "c": "x"}), &[("projects", Some(3))], Some(5));
        let after = plan(json!({"a": 2, "b": true, "d": []}), &[("projects", None)], None);
        let found = serde_json::to_value(changes(&before, &after)).unwrap();
        assert_eq!(
            found,
            json!({
                "a": {"before": 1, "after": 2},
                "c": {"before": "x"},
                "d": {"after": []},
                "leasing.render": {"before": {"cap": 5}, "after": {"cap": null}},
                "limits.projects": {"before": 3, "after": null},
                "seat_cap": {"before": 5},
                "token_ttl_seconds": {"before": 3600},
            })
        );
    }
}
