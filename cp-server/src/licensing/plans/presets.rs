//! The plans of a new installation.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::versions::{Version, insert_version};
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::db::record::{Object, Quantities};
use crate::kernel::error::Result;
use crate::licensing::ids::PlanId;
use crate::tenancy::quotas::Metric;

/// Creates the preset plans in a new installation. Later starts do not change plans.
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
            features: Object::bounded(
                "features",
                features.as_object().cloned().unwrap_or_default(),
            )?,
            limits: Quantities::bounded("limits", limits)?,
            seat_cap,
            leasing: Object::default(),
            token_ttl_seconds: None,
        };
        insert_version(&mut tx, id, version, now).await?;
    }
    insert_seed(&mut tx, PlanId::new(&app.random, now), "pro", professional, now).await?;
    tx.commit().await?;
    Ok(())
}

/// Inserts a preset plan. When replicas start together, only the one that inserts the first plan
/// continues.
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
