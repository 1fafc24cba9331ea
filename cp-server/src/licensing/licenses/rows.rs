//! The rows of licenses.

use std::collections::HashMap;

use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::licensing::entitlement::{License, LicenseRow};
use crate::licensing::ids::{BundleId, LicenseId};
use crate::licensing::issuance::signed_bundle::SignedBundle;

/// Returns the license as of now.
pub async fn load(cx: &mut Cx, id: LicenseId) -> Result<License> {
    Ok(stored(cx, id).await?.at(&cx.app, cx.now))
}

/// Returns the license as it is stored.
pub async fn stored(cx: &mut Cx, id: LicenseId) -> Result<LicenseRow> {
    let found = cx.tx.select("WHERE licenses.id = $1 AND licenses.organization_id = $2");
    let found: Option<LicenseRow> = found.bind(id).bind(cx.at).opt().await?;
    found.ok_or_else(|| Error::not_found("license"))
}

/// Stores the last bundle of each license, if the license has not changed since the signature.
pub async fn note_bundles<G>(cx: &mut Cx<G>, signed: &[&SignedBundle]) -> Result<()> {
    let sql = "UPDATE licenses
               SET key_id = noted.column3, bundle_hash = noted.column4, bundle_id = noted.column5,
                   bundle_expiring_at = noted.column6
               FROM (VALUES ";
    // A license that was signed several times keeps the last bundle.
    let last: HashMap<LicenseId, &SignedBundle> = signed.iter().map(|s| (s.license, *s)).collect();
    let update = cx.tx.q(sql).rows(last.values(), |query, signed| {
        let bundle = &signed.response;
        query
            .bind(signed.license)
            .bind(signed.license_revision)
            .bind(&*bundle.key_id)
            .bind(&*bundle.bundle_hash)
            .bind(BundleId(bundle.jti))
            // A tenth of the life is left.
            .bind(bundle.issued_at + (bundle.expires_at - bundle.issued_at) * 9 / 10)
    });
    let condition = ") AS noted
        WHERE licenses.id = noted.column1 AND licenses.revision = noted.column2";
    let noted = update.sql(condition).exec().await?;
    if usize::try_from(noted) == Ok(last.len()) { Ok(()) } else { Err(Error::stale()) }
}

/// Locks the license, if this is still its newest bundle.
pub async fn hold_newest(cx: &mut Cx, id: LicenseId, newest: Option<BundleId>) -> Result<()> {
    let held = cx.tx.q2(
        "SELECT 1 FROM licenses
         WHERE id = $1 AND organization_id = $2 AND bundle_id IS NOT DISTINCT FROM $3",
        "SELECT 1 FROM licenses
         WHERE id = $1 AND organization_id = $2 AND bundle_id IS NOT DISTINCT FROM $3 FOR NO KEY UPDATE",
    );
    match held.bind(id).bind(cx.at).bind(newest).value::<i32>().await? {
        Some(_) => Ok(()),
        None => Err(Error::stale()),
    }
}

/// Locks the license's row for as long as it has this revision.
///
/// # Errors
/// Fails with [`Error::stale`] if the license has changed.
pub async fn hold(cx: &mut Cx, id: LicenseId, revision: i64) -> Result<()> {
    let held = cx.tx.q2(
        "SELECT 1 FROM licenses WHERE id = $1 AND revision = $2",
        "SELECT 1 FROM licenses WHERE id = $1 AND revision = $2 FOR SHARE",
    );
    let held = held.bind(id).bind(revision).value::<i32>().await?;
    held.map(drop).ok_or_else(Error::stale)
}

/// Returns the number of active licenses whose last token the key signed.
pub async fn count_signed_by<G>(cx: &mut Cx<G>, kid: &str) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM licenses
               WHERE key_id = $1 AND status = 'active' AND (over_at IS NULL OR over_at > $2)";
    Ok(cx.tx.q(sql).bind(kid).bind(cx.now).value().await?.unwrap_or(0))
}

/// Returns the number of licenses that grant something, or may do so again.
pub async fn count_live(cx: &mut Cx) -> Result<i64> {
    let sql = "SELECT COUNT(*) FROM licenses
               WHERE organization_id = $1 AND status <> 'revoked'
                 AND (over_at IS NULL OR over_at > $2)";
    Ok(cx.tx.q(sql).bind(cx.at).bind(cx.now).value().await?.unwrap_or(0))
}
