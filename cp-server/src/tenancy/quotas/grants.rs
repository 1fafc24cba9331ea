//! Grants of quotas: the source of each metric's limit.

use chrono::{DateTime, Datelike, NaiveTime, Utc};

use super::metrics::Metric;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::App;
use crate::kernel::db::record::Quantities;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;

crate::text_enum! {
    /// The source of a quota's limit.
    QuotaSource {
        /// The plan of the subscription.
        Plan = "plan",
        /// The subscription's seats, because the plan leaves `members` out.
        SeatCap = "seat_cap",
        /// The server's default, because the organization has no plan.
        Default = "default",
        /// The vendor's override for this organization.
        Override = "override",
        /// No source: the plan leaves the metric out, so this server does not limit it. License
        /// tokens do not include it.
        None = "none",
    }
}

/// Copies the limits of the organization's plan. Uses and overrides stay.
pub async fn grant<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    limits: &Quantities,
    seat_cap: i64,
) -> Result<()> {
    let granted = |metric: &Metric| match limits.get(metric.as_str()) {
        Some(limit) => (*limit, QuotaSource::Plan),
        None if *metric == Metric::Members => (Some(seat_cap), QuotaSource::SeatCap),
        None => (None, QuotaSource::None),
    };
    let since = month_of(cx.now);
    let sql =
        "INSERT INTO quotas (organization_id, metric, quantity, source, granted, granted_from,
                                   held, held_since) VALUES ";
    let insert = cx.tx.q(sql).rows(Metric::ALL, |query, metric| {
        let (limit, source) = granted(metric);
        let query = query.bind(organization).bind(*metric).bind(limit).bind(source);
        query.bind(limit).bind(source).bind(0_i64).bind(since)
    });
    let insert = insert.sql(
        " ON CONFLICT (organization_id, metric) DO UPDATE
          SET granted = excluded.granted, granted_from = excluded.granted_from,
              quantity = CASE WHEN quotas.source = 'override' THEN quotas.quantity
                              ELSE excluded.quantity END,
              source = CASE WHEN quotas.source = 'override' THEN quotas.source
                            ELSE excluded.source END",
    );
    insert.exec().await?;
    Ok(())
}

/// Creates the quotas of organizations without a plan, and those of metrics of a later version.
pub async fn seed(app: &App) -> Result<()> {
    let mut tx = app.db.begin().await?;
    for metric in Metric::ALL {
        let sql = "INSERT INTO quotas (organization_id, metric, quantity, source, granted,
                                       granted_from, held, held_since)
                   SELECT o.id, $1, $2, $3, $2, $3, 0, $4 FROM organizations o
                   WHERE NOT EXISTS (SELECT 1 FROM quotas q
                                     WHERE q.organization_id = o.id AND q.metric = $1)
                   ON CONFLICT DO NOTHING";
        let since = month_of(app.clock.now());
        let insert = tx.q(sql).bind(*metric).bind(metric.least()).bind(QuotaSource::Default);
        insert.bind(since).exec().await?;
    }
    tx.commit().await?;
    Ok(())
}

/// Returns the beginning of the month, in UTC.
pub(super) fn month_of(now: DateTime<Utc>) -> DateTime<Utc> {
    let first = now.date_naive().with_day(1).unwrap_or(now.date_naive());
    first.and_time(NaiveTime::MIN).and_utc()
}
