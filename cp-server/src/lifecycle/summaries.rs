//! Summaries of organizations: what a list of customers shows beside each name.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::id_lists::IdList;
use crate::kernel::access::caller::Scope;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::platform::Platform;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::licensing::leases::totals;
use crate::licensing::subscriptions::rows as subscriptions;

crate::routes! { overview:
    /// Returns the plan, the licenses and the seats of organizations.
    GET "/overview/organizations" ORG_READ => organizations;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfOrganizations {
    /// The organizations, at most 100 IDs, separated by commas.
    ids: IdList<OrganizationId>,
}

/// Summaries in the order of the question.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OrganizationSummaries {
    organizations: Vec<OrganizationSummary>,
}

/// The plan, the licenses and the seats of an organization.
#[derive(Debug, Serialize, JsonSchema)]
pub struct OrganizationSummary {
    organization_id: OrganizationId,
    /// The plan of the subscription in force; null without one.
    plan_code: Option<String>,
    /// The licenses that are not revoked.
    licenses: i64,
    /// The seats of these licenses.
    seats: i64,
    /// The live leases of these seats.
    used_seats: i64,
}

async fn organizations(
    cx: &mut Cx<Scope>,
    _: Platform,
    asked: OfOrganizations,
) -> Result<OrganizationSummaries> {
    let ids = asked.ids.0;
    let mut plans: BTreeMap<OrganizationId, String> =
        subscriptions::plans_in_force(cx, &ids).await?.into_iter().collect();
    let totals = totals::of(cx, &ids).await?;
    let summary = |organization_id: OrganizationId| {
        let totals = totals.get(&organization_id).copied().unwrap_or_default();
        OrganizationSummary {
            organization_id,
            plan_code: plans.remove(&organization_id),
            licenses: totals.licenses,
            seats: totals.seats,
            used_seats: totals.leases,
        }
    };
    Ok(OrganizationSummaries { organizations: ids.into_iter().map(summary).collect() })
}
