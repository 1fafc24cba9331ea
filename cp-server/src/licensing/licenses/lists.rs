//! The lists of licenses and their filters.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kernel::access::caller::Scope;
use crate::kernel::access::ids::DeploymentId;
use crate::kernel::access::place::Org;
use crate::kernel::access::platform::Platform;
use crate::kernel::app::App;
use crate::kernel::db::query::Rows;
use crate::kernel::db::search::Search;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Moment;
use crate::kernel::http::page::{List, Page};
use crate::kernel::text::Tag;
use crate::licensing::entitlement::{License, LicenseRow, LicenseStatus};
use crate::licensing::ids::SubscriptionId;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LicenseFilter {
    /// Only licenses with this status.
    status: Option<LicenseStatus>,
    /// Only licenses of this deployment.
    deployment: Option<DeploymentId>,
    /// Only licenses under this subscription.
    subscription: Option<SubscriptionId>,
    /// Only licenses whose coverage ends before this instant (`coverage.until`, with the days of
    /// grace).
    expires_before: Option<Moment>,
    /// Only licenses whose coverage ends at this instant or later, or does not end.
    expires_after: Option<Moment>,
    /// Only licenses with this tag.
    tag: Option<Tag>,
    /// Only licenses whose name, or whose deployment's name, begins with this text in upper or lower
    /// case. Also the license with this ID, or those of the deployment with this `external_id`.
    q: Option<Search>,
}

pub(super) async fn list_all(
    cx: &mut Cx<Scope>,
    _: Platform,
    list: List<LicenseFilter>,
) -> Result<Page<License>> {
    let query = cx.tx.select("WHERE TRUE");
    page(&cx.app, query, list, cx.now).await
}

pub(super) async fn list(cx: &mut Cx, _: Org, list: List<LicenseFilter>) -> Result<Page<License>> {
    let query = cx.tx.select("WHERE licenses.organization_id = $1").bind(cx.at);
    page(&cx.app, query, list, cx.now).await
}

async fn page(
    app: &App,
    query: Rows<'_, LicenseRow>,
    list: List<LicenseFilter>,
    now: DateTime<Utc>,
) -> Result<Page<License>> {
    let query = query
        .and_some(" AND licenses.deployment_id = ?", list.filter.deployment)
        .and_some(" AND licenses.subscription_id = ?", list.filter.subscription)
        .and_some(" AND licenses.over_at < ?", list.filter.expires_before.map(DateTime::from))
        .and_some(
            " AND (licenses.over_at IS NULL OR licenses.over_at >= ?)",
            list.filter.expires_after.map(DateTime::from),
        )
        .tagged(list.filter.tag.as_ref(), "licenses.tags")
        .search(
            list.filter.q.as_ref(),
            &["licenses.name", "deployments.name"],
            &["deployments.external_id"],
        );
    let query = match list.filter.status {
        None => query,
        Some(LicenseStatus::Expired) => {
            query.and(" AND licenses.status = 'active' AND licenses.over_at <= ?", now)
        }
        Some(LicenseStatus::Active) => query.and(
            " AND licenses.status = 'active' AND (licenses.over_at IS NULL OR licenses.over_at > ?)",
            now,
        ),
        Some(status) => query.and(" AND licenses.status = ?", status),
    };
    Ok(list.page(query).await?.map(|row| row.at(app, now)))
}
