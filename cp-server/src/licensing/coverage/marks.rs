//! The stored results of coverage: the end of each license, and the marks of its live tokens.
//!
//! # Design
//! Each status list is signed periodically, and reads only marked bundles. So a change of an
//! organization, a deployment, a subscription or a license also writes the marks of its tokens, in
//! the same transaction. Marks are instants, so a list changes over time without a write. They are
//! separate from a bundle's own status, so that a return to active restores exactly the valid
//! bundles.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{Marks, Terms, terms};
use crate::kernel::access::ids::{DeploymentId, OrganizationId};
use crate::kernel::db::query::Query;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::{LicenseId, SubscriptionId};
use crate::licensing::status_lists::rows::{self as status_lists, LEEWAY, Of};

/// The object whose coverage may have changed.
#[derive(Clone, Copy, Debug)]
pub enum Changed {
    Organization,
    Deployment(DeploymentId),
    Subscription(SubscriptionId),
    License(LicenseId),
}

#[derive(sqlx::FromRow)]
struct Row {
    id: LicenseId,
    #[sqlx(flatten)]
    terms: Terms,
}

/// The maximum number of licenses in one statement.
const CHUNK: usize = 500;

/// Locks the organization's coverage until the end of the transaction, so that two concurrent
/// changes write marks one after the other. An operation that does not change the organization's
/// row calls it before it changes a license.
pub async fn hold<G>(cx: &mut Cx<G>, organization: OrganizationId) -> Result<()> {
    let held = cx.tx.q2(
        "SELECT 1 FROM organizations WHERE id = $1",
        "SELECT 1 FROM organizations WHERE id = $1 FOR SHARE",
    );
    let held = held.bind(organization).value::<i32>().await?;
    held.map(|_| ()).ok_or_else(|| Error::not_found("organization"))
}

/// Writes the coverage after a change, and touches the lists whose content changes.
pub async fn update<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    changed: Changed,
) -> Result<()> {
    let mut by_coverage: BTreeMap<(Marks, Option<DateTime<Utc>>), Vec<LicenseId>> = BTreeMap::new();
    for row in read(cx, organization, changed).await? {
        by_coverage.entry((row.terms.marks(), row.terms.until())).or_default().push(row.id);
    }
    let mut marked = 0;
    for ((marks, until), licenses) in by_coverage {
        for licenses in licenses.chunks(CHUNK) {
            write_end(cx, until, licenses).await?;
            marked += mark(cx, marks, licenses).await?;
        }
    }
    match changed {
        _ if marked == 0 => Ok(()),
        Changed::License(id) => status_lists::touch(cx, Of::License(id)).await,
        _ => status_lists::touch(cx, Of::Organization(organization)).await,
    }
}

async fn read<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    changed: Changed,
) -> Result<Vec<Row>> {
    let (deployment, subscription, license) = match changed {
        Changed::Organization => (None, None, None),
        Changed::Deployment(id) => (Some(id), None, None),
        Changed::Subscription(id) => (None, Some(id), None),
        Changed::License(id) => (None, None, Some(id)),
    };
    let sql = concat!(
        "SELECT l.id, ",
        terms!(),
        " FROM licenses l
          JOIN organizations o ON o.id = l.organization_id
          JOIN deployments d ON d.id = l.deployment_id
          JOIN subscriptions s ON s.id = l.subscription_id
          WHERE l.organization_id = $1"
    );
    let query = cx.tx.q(sql).bind(organization);
    let query = query
        .and_some(" AND l.deployment_id = ?", deployment)
        .and_some(" AND l.subscription_id = ?", subscription)
        .and_some(" AND l.id = ?", license);
    // In order, so that two changes do not deadlock.
    Ok(query.sql(" ORDER BY l.id").all().await?)
}

async fn write_end<G>(
    cx: &mut Cx<G>,
    until: Option<DateTime<Utc>>,
    licenses: &[LicenseId],
) -> Result<()> {
    let sql = "UPDATE licenses SET over_at = $1 WHERE over_at IS DISTINCT FROM $1 AND id IN ";
    cx.tx.q(sql).bind(until).rows([licenses], each).exec().await?;
    Ok(())
}

/// Marks the live tokens of the licenses. Returns how many changed. A token that begins after
/// `from`, or ends before `until`, needs no mark.
async fn mark<G>(cx: &mut Cx<G>, marks: Marks, licenses: &[LicenseId]) -> Result<u64> {
    let sql = "UPDATE bundles
               SET covered_from = CASE WHEN issued_at < $1 THEN $1 END,
                   covered_until = CASE WHEN over_at > $2 THEN $2 END
               WHERE over_at > $3
                 AND (covered_from IS DISTINCT FROM CASE WHEN issued_at < $1 THEN $1 END
                      OR covered_until IS DISTINCT FROM CASE WHEN over_at > $2 THEN $2 END)
                 AND license_id IN ";
    let query = cx.tx.q(sql).bind(marks.from).bind(marks.until).bind(cx.now - LEEWAY);
    Ok(query.rows([licenses], each).exec().await?)
}

fn each<'c>(query: Query<'c>, licenses: &[LicenseId]) -> Query<'c> {
    licenses.iter().fold(query, Query::bind)
}
