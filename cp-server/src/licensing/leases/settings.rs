//! The settings of pools: what plan, subscription and license say, and their overlay.
//!
//! The levels are overlaid pool by pool and field by field. The pool `seats` always exists; its cap
//! is the license's effective `seat_cap`. Another pool exists when some level sets its kind and some
//! level sets its cap.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value, json};

use crate::kernel::db::record::Object;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::json::Between;

/// The pool that every license has.
pub const SEATS: &str = "seats";
/// The largest cap.
const MOST_SEATS: i64 = 1_000_000;
/// The number of the last seat of an unlimited pool.
pub const UNLIMITED: i64 = i64::MAX;
const MOST_POOLS: usize = 16;

crate::texts! {
    /// The name of a pool: a letter a-z, then up to 31 of a-z, 0-9 and `_`.
    PoolName, |text| {
        let fits = (1..=32).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if fits { Ok(text.into()) } else {
            Err("must be the name of a pool: a letter a-z, then up to 31 of a-z, 0-9 and _".into())
        }
    }, {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,31}$", "examples": ["render"]};
}

crate::text_enum! {
    /// The kind of a pool.
    PoolKind of cp_contracts::PoolKind {
        /// For people.
        Seat = "seat",
        /// For machines.
        Node = "node",
        /// For any holder, for a short time.
        Floating = "floating",
    }
}

crate::text_enum! {
    /// The seat that a claim with `take_over` gets when none is free.
    TakeOver {
        /// None.
        Refuse = "refuse",
        /// That of the holder without a heartbeat for `ttl_seconds`, or for a day.
        Idle = "idle",
        /// That of the oldest lease.
        Oldest = "oldest",
    }
}

crate::text_enum! {
    /// The condition for which a machine is the same one.
    Matching {
        /// The fingerprint is the same.
        Exact = "exact",
        /// One component is the same.
        Any = "any",
        /// Two components are the same.
        Two = "two",
        /// More than half of the known components are the same.
        Most = "most",
        /// All known components are the same.
        All = "all",
    }
}

crate::text_enum! {
    /// The level that a setting comes from.
    SettingSource {
        Default = "default",
        Plan = "plan",
        Subscription = "subscription",
        License = "license",
    }
}

/// The seats beyond the cap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overage {
    /// None.
    Never,
    /// A part of the cap, in percent.
    Percent(i64),
    /// Any number; they are counted and reported.
    Report,
}

/// The settings of one pool at one level. Absent fields come from the level below: the plan, the
/// subscription, the license.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolLevel {
    /// The kind. Required at one of the levels, except for `seats`.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<PoolKind>,
    /// The number of seats, 0 to 1,000,000; null is unlimited. Required at one of the levels. The pool
    /// `seats` has the license's `seat_cap` instead.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    cap: Option<Option<Between<0, MOST_SEATS>>>,
    /// The time in seconds for which a lease lasts without a heartbeat, 60 to 2,678,400; null lasts
    /// until the release. When absent, 300 for a floating pool and null for others.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    ttl_seconds: Option<Option<Between<60, 2_678_400>>>,
    /// The seats beyond the cap: `never` (when absent), 1 to 100 percent of it, or `report` without
    /// a limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    overage: Option<Overage>,
    /// The longest borrowing in seconds, up to 31,622,400 (366 days). 0 when absent: no borrowing.
    #[serde(skip_serializing_if = "Option::is_none")]
    borrow_seconds: Option<Between<0, 31_622_400>>,
    /// Whether a borrowed seat can be returned before its end. False when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    early_return: Option<bool>,
    /// The time in seconds after a release for which only the same holder gets the seat, up to
    /// 31,622,400. 0 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    reassign_seconds: Option<Between<0, 31_622_400>>,
    /// The seat that a claim with `take_over` gets when none is free. `refuse` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    take_over: Option<TakeOver>,
    /// The condition for which a machine of a node pool is the same one. `exact` when absent.
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    matching: Option<Matching>,
    /// At most 4 percentages of the cap, 1 to 100, at which a notice is sent. `[90]` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    notify_at: Option<Vec<Between<1, 100>>>,
}

/// The pools of one level, by name: at most 16.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct Pools(BTreeMap<PoolName, PoolLevel>);

impl<'de> Deserialize<'de> for Pools {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pools = BTreeMap::<PoolName, PoolLevel>::deserialize(deserializer)?;
        if pools.len() > MOST_POOLS {
            let rule = format!("must have at most {MOST_POOLS} pools (got {})", pools.len());
            return Err(de::Error::custom(rule));
        }
        for (name, level) in &pools {
            level.check(name).map_err(de::Error::custom)?;
        }
        Ok(Self(pools))
    }
}

impl PoolLevel {
    fn check(&self, name: &PoolName) -> Result<(), String> {
        let is_seats = name.as_str() == SEATS;
        if is_seats && self.cap.is_some() {
            return Err("must not set a cap of `seats`: its cap is `seat_cap`".into());
        }
        if is_seats && self.kind.is_some_and(|kind| kind != PoolKind::Seat) {
            return Err("must not change the kind of `seats`, which is seat".into());
        }
        if self.notify_at.as_ref().is_some_and(|all| all.len() > 4) {
            return Err(format!("must have at most 4 percentages in `{name}.notify_at`"));
        }
        Ok(())
    }
}

impl Pools {
    /// Returns the level as its column, after a check of what it makes of the levels below.
    ///
    /// # Errors
    /// Fails with 422 for a pool without a kind or a cap, or with a `match` that its kind lacks.
    pub fn over(self, below: &[(SettingSource, &Object)]) -> Result<Object> {
        let names: Vec<String> = self.0.keys().map(ToString::to_string).collect();
        let own = match serde_json::to_value(self).map_err(Error::internal)? {
            Value::Object(own) => Object::bounded("leasing", own)?,
            _ => Object::default(),
        };
        let levels = [below, &[(SettingSource::License, &own)]].concat();
        let merged = overlay(&levels, |_| true);
        for name in names {
            let pool = merged.get(&name).cloned().unwrap_or_default();
            let refused = |what: &str| {
                let detail = format!("`leasing.{name}` {what}.");
                Err(Error::invalid("leasing", detail).with("pool", name.clone()))
            };
            for field in ["kind", "cap"] {
                if name != SEATS && !pool.contains_key(field) {
                    return refused(&format!("requires `{field}`: no level sets it"));
                }
            }
            let kind = pool.get("kind").map_or(json!("seat"), |kind| kind.value.clone());
            if pool.contains_key("match") && kind != "node" {
                return refused(
                    "must not have `match`: only machines match, in pools of kind node",
                );
            }
        }
        Ok(own)
    }
}

/// A setting with the level that it comes from.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ExplainedSetting {
    pub value: Value,
    pub from: SettingSource,
}

/// The settings of the pools, by pool and field.
pub type Explained = BTreeMap<String, BTreeMap<String, ExplainedSetting>>;

/// Overlays the levels of the wanted pools, the weakest first.
fn overlay(levels: &[(SettingSource, &Object)], is_wanted: impl Fn(&str) -> bool) -> Explained {
    let mut pools = Explained::new();
    for (from, level) in levels {
        for (name, settings) in level.iter().filter(|(name, _)| is_wanted(name)) {
            let pool = pools.entry(name.clone()).or_default();
            for (field, value) in settings.as_object().into_iter().flatten() {
                let value = value.clone();
                pool.insert(field.clone(), ExplainedSetting { value, from: *from });
            }
        }
    }
    pools
}

/// The levels of a license's pools.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Levels {
    pub plan_leasing: Object,
    pub subscription_leasing: Object,
    pub license_leasing: Object,
}

impl Levels {
    /// Returns the settings of all pools. `seats` has this cap, which comes from this level.
    pub fn explained(&self, seat_cap: i64, seats_from: SettingSource) -> Explained {
        self.explained_where(seat_cap, seats_from, |_| true)
    }

    fn explained_where(
        &self,
        seat_cap: i64,
        seats_from: SettingSource,
        is_wanted: impl Fn(&str) -> bool,
    ) -> Explained {
        let levels = [
            (SettingSource::Plan, &self.plan_leasing),
            (SettingSource::Subscription, &self.subscription_leasing),
            (SettingSource::License, &self.license_leasing),
        ];
        let mut pools = overlay(&levels, &is_wanted);
        let default = |value| ExplainedSetting { value, from: SettingSource::Default };
        if is_wanted(SEATS) {
            let seats = pools.entry(SEATS.to_owned()).or_default();
            let cap = ExplainedSetting { value: json!(seat_cap), from: seats_from };
            seats.insert("cap".into(), cap);
            seats.entry("kind".into()).or_insert_with(|| default(json!("seat")));
        }
        // A pool that a newer version of the plan no longer defines is incomplete: it ends.
        pools.retain(|_, pool| pool.contains_key("kind") && pool.contains_key("cap"));
        for pool in pools.values_mut() {
            let is = |kind| pool["kind"].value == kind;
            let (is_floating, is_node) = (is("floating"), is("node"));
            let mut absent = |field: &str, value| {
                pool.entry(field.into()).or_insert_with(|| default(value));
            };
            absent("ttl_seconds", if is_floating { json!(300) } else { Value::Null });
            absent("overage", json!(Overage::Never));
            absent("borrow_seconds", json!(0));
            absent("early_return", json!(false));
            absent("reassign_seconds", json!(0));
            absent("take_over", json!(TakeOver::Refuse));
            absent("notify_at", json!([90]));
            if is_node {
                absent("match", json!(Matching::Exact));
            }
        }
        pools
    }

    /// Returns the settings of one pool, if it exists.
    pub fn pool(&self, name: &str, seat_cap: i64) -> Result<Option<Settings>> {
        let mut pool = self.explained_where(seat_cap, SettingSource::License, |own| own == name);
        pool.remove(name).map(Settings::of).transpose()
    }
}

/// The effective settings of a pool.
#[derive(Clone, Debug, Deserialize)]
pub struct Settings {
    pub kind: PoolKind,
    pub cap: Option<i64>,
    pub ttl_seconds: Option<i64>,
    pub overage: Overage,
    pub borrow_seconds: i64,
    pub early_return: bool,
    pub reassign_seconds: i64,
    pub take_over: TakeOver,
    #[serde(rename = "match", default = "exact")]
    pub matching: Matching,
    /// The percentages of the cap at which a notice is sent.
    pub notify_at: Vec<i64>,
}

fn exact() -> Matching {
    Matching::Exact
}

impl Settings {
    pub fn of(pool: BTreeMap<String, ExplainedSetting>) -> Result<Self> {
        let values: Map<_, _> = pool.into_iter().map(|(name, one)| (name, one.value)).collect();
        serde_json::from_value(Value::Object(values)).map_err(Error::internal)
    }

    /// Returns the time in seconds for which a lease lasts without a heartbeat: the pool's, or the
    /// shorter one of the lease.
    pub fn ttl(&self, own: Option<i64>) -> Option<i64> {
        [self.ttl_seconds, own].into_iter().flatten().min()
    }

    /// Returns the number of the last seat that is not beyond the cap.
    pub fn last_within(&self) -> i64 {
        self.cap.unwrap_or(UNLIMITED)
    }

    /// Returns the number of seats, with those beyond the cap; `None` without a limit.
    pub fn hard_cap(&self) -> Option<i64> {
        match (self.cap, self.overage) {
            (None, _) | (_, Overage::Report) => None,
            (Some(cap), Overage::Never) => Some(cap),
            (Some(cap), Overage::Percent(percent)) => Some(cap + cap * percent / 100),
        }
    }
}

/// Reads a field whose null is a value.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
    T::deserialize(d).map(Some)
}

impl Serialize for Overage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Never => serializer.serialize_str("never"),
            Self::Report => serializer.serialize_str("report"),
            Self::Percent(percent) => serializer.serialize_i64(*percent),
        }
    }
}

impl<'de> Deserialize<'de> for Overage {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(word) if word.eq_ignore_ascii_case("never") => Ok(Self::Never),
            Value::String(word) if word.eq_ignore_ascii_case("report") => Ok(Self::Report),
            Value::Number(n) if n.as_i64().is_some_and(|n| (1..=100).contains(&n)) => {
                Ok(Self::Percent(n.as_i64().unwrap_or_default()))
            }
            _ => Err(de::Error::custom("must be never, report, or a percentage from 1 to 100")),
        }
    }
}

impl JsonSchema for Overage {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Overage".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({"anyOf": [
            {"type": "string", "enum": ["never", "report"]},
            {"type": "integer", "minimum": 1, "maximum": 100},
        ]})
    }
}
