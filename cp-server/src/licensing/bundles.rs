//! Bundles: signed tokens of a license.
//!
//! A token is signed first (`issuance.rs`), and only then is the writer taken: its row is written
//! onto exactly the revisions that were read, and nothing leaves before it is durable.

use chrono::{DateTime, Utc};
use cp_contracts::LicenseBundleResponse;
use schemars::JsonSchema;
use serde::Deserialize;

use super::issuance::{self, NewBundle, Signed};
use super::licenses::{self, Why};
use crate::kernel::answer::{Created, Resource};
use crate::kernel::endpoint::Cx;
use crate::kernel::error::Result;
use crate::kernel::ids::{BundleId, LicenseId, OrganizationId};
use crate::kernel::page::{List, Page};
use crate::kernel::text::Prose;
use crate::tenancy::organizations;

crate::routes! { bundles:
    /// Lists the license's bundles; a token is shown once, when it is issued.
    GET "/licenses/{id}/bundles" LicensesRead => list;
    /// Signs the license and returns its bundle.
    POST "/licenses/{id}/bundles" LicensesIssue => issue, late;
    /// Reads about a bundle.
    GET "/bundles/{jti}" LicensesRead => read;
    /// Revokes a bundle, for ever.
    POST "/bundles/{jti}/revoke" LicensesWrite => revoke;
}

crate::text_enum! { BundleStatus {
    Valid = "valid", Suspended = "suspended", Revoked = "revoked",
} }

crate::record! {
    /// A signed token of a license, without its text.
    Bundle in bundles {
        /// The token's `jti`.
        id: BundleId,
        organization_id: OrganizationId,
        license_id: LicenseId,
        /// The signing key's `kid`.
        key_id: String,
        audience: String,
        /// SHA-256 of the token, hexadecimal.
        bundle_hash: String,
        status: BundleStatus,
        status_reason: Option<String>,
        issued_at: DateTime<Utc>,
        expires_at: DateTime<Utc>,
        revoked_at: Option<DateTime<Utc>>,
    }
}

impl Resource for LicenseBundleResponse {
    const NOUN: &'static str = "bundle";
    const PATH: &'static str = "bundles";
    fn name(&self) -> String {
        self.jti.to_string()
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BundleFilter {
    status: Option<BundleStatus>,
}

async fn list(cx: &mut Cx, id: LicenseId, list: List<BundleFilter>) -> Result<Page<Bundle>> {
    let query = cx
        .tx
        .select("WHERE license_id = $1 AND organization_id = $2")
        .bind(id)
        .bind(cx.org)
        .and_some(" AND status = ?", list.filter.status);
    list.page(query).await
}

async fn issue(
    cx: &mut Cx,
    id: LicenseId,
    new: NewBundle,
) -> Result<Created<LicenseBundleResponse>> {
    let facts = issuance::facts(cx, id).await?;
    // There are few readers, and a signature takes as long as ten reads.
    cx.release();
    let signed = issuance::sign(&cx.app, cx.now, facts, &new).await?;
    cx.begin().await?;
    store(cx, &[&signed]).await?;
    cx.trail.after = Some(signed.record());
    Ok(Created(signed.response))
}

async fn read(cx: &mut Cx, id: BundleId) -> Result<Bundle> {
    let found = cx.tx.select("WHERE id = $1 AND organization_id = $2").bind(id).bind(cx.org);
    Ok(found.one().await?)
}

async fn revoke(cx: &mut Cx, id: BundleId, why: Why) -> Result<Bundle> {
    let reason = why.reason.map(Prose::into_string);
    cx.trail.reason.clone_from(&reason);
    let sql = "UPDATE bundles
               SET status = 'revoked', status_reason = $3, revoked_at = $4
               WHERE id = $1 AND organization_id = $2 AND status <> 'revoked'";
    cx.tx.q(sql).bind(id).bind(cx.org).bind(reason).bind(cx.now).exec().await?;
    read(cx, id).await
}

/// Writes the bundles' rows, if everything is still as it was when the tokens were signed.
pub async fn store<G>(cx: &mut Cx<G>, signed: &[&Signed]) -> Result<()> {
    let mut read: Vec<_> =
        signed.iter().map(|s| (s.organization, s.organization_revision)).collect();
    read.sort_unstable();
    read.dedup();
    for (organization, revision) in read {
        organizations::hold(cx, organization, revision).await?;
    }
    licenses::note_bundles(cx, signed).await?;
    let sql = "INSERT INTO bundles
               (id, organization_id, license_id, key_id, audience, bundle_hash, status, issued_at,
                expires_at) VALUES ";
    let insert = cx.tx.q(sql).rows(signed, |query, signed| {
        let bundle = &signed.response;
        query
            .bind(BundleId(bundle.jti))
            .bind(signed.organization)
            .bind(signed.license)
            .bind(&*bundle.key_id)
            .bind(&*bundle.payload.aud)
            .bind(&*bundle.bundle_hash)
            .bind(BundleStatus::Valid)
            .bind(bundle.issued_at)
            .bind(bundle.expires_at)
    });
    insert.exec().await?;
    Ok(())
}

/// Live bundles of a license are suspended with it.
pub async fn suspend_all(cx: &mut Cx, license: LicenseId) -> Result<()> {
    let sql = "UPDATE bundles SET status = 'suspended' WHERE license_id = $1 AND status = 'valid'";
    cx.tx.q(sql).bind(license).exec().await?;
    Ok(())
}

pub async fn reinstate_all(cx: &mut Cx, license: LicenseId) -> Result<()> {
    let sql = "UPDATE bundles SET status = 'valid' WHERE license_id = $1 AND status = 'suspended'";
    cx.tx.q(sql).bind(license).exec().await?;
    Ok(())
}

pub async fn revoke_all(cx: &mut Cx, license: LicenseId, reason: &'static str) -> Result<()> {
    let sql = "UPDATE bundles SET status = 'revoked', status_reason = $2, revoked_at = $3
               WHERE license_id = $1 AND status <> 'revoked'";
    cx.tx.q(sql).bind(license).bind(reason).bind(cx.now).exec().await?;
    Ok(())
}

pub async fn purge(cx: &mut Cx) -> Result<()> {
    cx.tx.q("DELETE FROM bundles WHERE organization_id = $1").bind(cx.org).exec().await?;
    Ok(())
}
