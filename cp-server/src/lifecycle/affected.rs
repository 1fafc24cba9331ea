//! What a suspension or a revocation affects: live tokens, and the data planes of their licenses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::id_lists::IdList;
use super::overview::{Count, count, counting};
use crate::kernel::access::caller::Scope;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::place::Org;
use crate::kernel::access::platform::Platform;
use crate::kernel::db::query::Query;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::LicenseId;

crate::routes! { licenses:
    /// Counts the tokens and data planes that a suspension or a revocation of licenses affects.
    GET "/licenses/affected" LICENSES_READ => affected_all;
    /// Counts the tokens and data planes that a suspension or a revocation affects.
    ///
    /// `licenses` names the licenses. Without it, the answer is about the whole organization.
    GET "/organizations/{org}/licenses/affected" LICENSES_READ => affected;
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfLicenses {
    /// The licenses, at most 100 IDs, separated by commas.
    licenses: IdList<LicenseId>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OfOrganization {
    /// The licenses, at most 100 IDs, separated by commas. When absent, the whole organization.
    licenses: Option<IdList<LicenseId>>,
}

/// What a suspension or a revocation affects.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Affected {
    /// The tokens that are not revoked and have not ended.
    tokens: Count,
    /// The deployments: those of the licenses, or all of the organization.
    data_planes: Count,
}

async fn affected_all(cx: &mut Cx<Scope>, _: Platform, asked: OfLicenses) -> Result<Affected> {
    of(cx, None, Some(&asked.licenses)).await
}

async fn affected(cx: &mut Cx, _: Org, asked: OfOrganization) -> Result<Affected> {
    let own = cx.at;
    of(cx, Some(own), asked.licenses.as_ref()).await
}

async fn of<G>(
    cx: &mut Cx<G>,
    own: Option<OrganizationId>,
    licenses: Option<&IdList<LicenseId>>,
) -> Result<Affected> {
    let tokens = counting(&mut cx.tx, "bundles WHERE status <> 'revoked'")
        .and(" AND over_at > ?", cx.now)
        .and_some(" AND organization_id = ?", own);
    let tokens = match licenses {
        Some(licenses) => among(tokens.sql(" AND license_id IN "), licenses),
        None => tokens,
    };
    let tokens = count(tokens, None).await?;
    let planes = counting(&mut cx.tx, "deployments WHERE TRUE");
    let planes = planes.and_some(" AND organization_id = ?", own);
    let planes = match licenses {
        Some(licenses) => {
            let planes = planes.sql(" AND id IN (SELECT deployment_id FROM licenses WHERE id IN ");
            among(planes, licenses).sql(")")
        }
        None => planes,
    };
    Ok(Affected { tokens, data_planes: count(planes, None).await? })
}

/// Appends the list of the IDs.
fn among<'c>(query: Query<'c>, licenses: &IdList<LicenseId>) -> Query<'c> {
    query.rows([&licenses.0], |query, ids| ids.iter().fold(query, |query, id| query.bind(*id)))
}
