//! The kinds of pools with live leases, which do not change.

use cp_contracts::ProblemCode;

use super::settings::{Levels, PoolKind};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::{LicenseId, SubscriptionId};

/// What was changed.
#[derive(Clone, Copy)]
pub enum Of {
    License(LicenseId),
    Subscription(SubscriptionId),
}

/// A pool with live leases, and the levels of its settings after the change.
#[derive(sqlx::FromRow)]
struct Used {
    license_id: LicenseId,
    name: String,
    kind: PoolKind,
    #[sqlx(flatten)]
    levels: Levels,
}

/// Refuses a change after which a pool with live leases has another kind.
///
/// # Errors
/// Fails with 409 `in_use`.
pub async fn refuse_changes<G>(cx: &mut Cx<G>, of: Of) -> Result<()> {
    let sql = "SELECT p.license_id, p.name, p.kind, v.leasing AS plan_leasing,
                      s.leasing AS subscription_leasing, l.leasing AS license_leasing
               FROM licenses l
               JOIN subscriptions s ON s.id = l.subscription_id
               JOIN plan_versions v ON v.plan_id = s.plan_id AND v.version = s.plan_version
               JOIN lease_pools p ON p.license_id = l.id AND p.closed_at IS NULL
               WHERE EXISTS (SELECT 1 FROM lease_seats live
                             WHERE live.pool_id = p.id AND live.ended_at IS NULL
                               AND (live.expires_at IS NULL OR live.expires_at > $1))";
    let query = cx.tx.q(sql).bind(cx.now);
    let used: Vec<Used> = match of {
        Of::License(id) => query.and(" AND l.id = ?", id).all().await?,
        Of::Subscription(id) => query.and(" AND l.subscription_id = ?", id).all().await?,
    };
    for pool in used {
        // The seats do not matter for the kind.
        let Some(settings) = pool.levels.pool(&pool.name, 0)? else { continue };
        if settings.kind != pool.kind {
            let detail = format!(
                "`leasing.{}` changes its kind from {} to {} while the license {} has live leases of \
                 it. End them first.",
                pool.name, pool.kind, settings.kind, pool.license_id
            );
            let refused = Error::new(ProblemCode::InUse, detail).at("leasing");
            return Err(refused
                .with("pool", pool.name)
                .with("license_id", pool.license_id.to_string()));
        }
    }
    Ok(())
}
