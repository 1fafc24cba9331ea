//! The rows of bundles.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use cp_contracts::LicenseBundleResponse;

use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::Part;
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Resource;
use crate::kernel::http::cx::Cx;
use crate::licensing::ids::{BundleId, LicenseId, StatusListId};
use crate::licensing::issuance::signed_bundle::SignedBundle;
use crate::licensing::keys::keyring::Keyring;
use crate::licensing::keys::store as keys;
use crate::licensing::licenses::rows as licenses;
use crate::licensing::status_lists::rows::{self as status_lists, Of};
use crate::tenancy::organizations;

/// The metric of the tokens that this replica issued.
const ISSUED: &str = "cp_tokens_issued_total";
/// The metric of the tokens that this replica revoked.
pub const REVOKED: &str = "cp_tokens_revoked_total";

crate::text_enum! { BundleStatus {
    Valid = "valid", Suspended = "suspended", Revoked = "revoked",
} }

crate::record! {
    /// A signed token of a license, without the token itself.
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
        /// Suspended while the license is not covered.
        status: BundleStatus,
        status_reason: Option<String>,
        issued_at: DateTime<Utc>,
        expires_at: DateTime<Utc>,
        revoked_at: Option<DateTime<Utc>>,
        #[serde(skip)]
        covered_from: Option<DateTime<Utc>>,
        #[serde(skip)]
        covered_until: Option<DateTime<Utc>>,
    }
}

impl Bundle {
    /// Returns the bundle as of this instant, with the status that its status list reports.
    pub fn at(mut self, now: DateTime<Utc>) -> Self {
        let is_covered = self.covered_from.is_none_or(|from| from <= now)
            && self.covered_until.is_none_or(|until| now < until);
        if self.status == BundleStatus::Valid && !is_covered {
            self.status = BundleStatus::Suspended;
        }
        self
    }
}

impl Resource for LicenseBundleResponse {
    const NOUN: &'static str = "bundle";
    const PATH: &'static str = "bundles";
    fn name(&self) -> String {
        self.jti.to_string()
    }
}

/// Writes the bundles' rows, if nothing has changed since the tokens were signed.
pub async fn store<G>(cx: &mut Cx<G>, signed: &[&SignedBundle]) -> Result<()> {
    let mut read: Vec<_> =
        signed.iter().map(|s| (s.organization, s.organization_revision)).collect();
    read.sort_unstable();
    read.dedup();
    for (organization, revision) in read {
        organizations::hold(cx, organization, revision).await?;
    }
    hold_keys(cx, signed).await?;
    licenses::note_bundles(cx, signed).await?;
    let sql = "INSERT INTO bundles
               (id, organization_id, license_id, key_id, audience, bundle_hash, status, issued_at,
                expires_at, over_at, status_list_id, status_idx, license_revision) VALUES ";
    let insert = cx.tx.q(sql).rows(signed, |query, signed| {
        let bundle = &signed.response;
        let entry =
            bundle.payload.status.as_ref().and_then(|s| status_lists::place(&s.status_list));
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
            .bind(signed.over_at)
            .bind(entry.map(|(list, _)| list))
            .bind(entry.map(|(_, idx)| idx))
            .bind(signed.license_revision)
    });
    let issued = insert.exec().await?;
    cx.counts.add(ISSUED, issued);
    Ok(())
}

/// Locks the keys that signed the bundles. Only tokens of the active key are stored. When the key
/// was rotated or compromised since, the operation starts over.
async fn hold_keys<G>(cx: &mut Cx<G>, signed: &[&SignedBundle]) -> Result<()> {
    let kids: BTreeSet<&str> = signed.iter().map(|s| &*s.response.key_id).collect();
    for kid in kids {
        if !keys::hold(&mut cx.tx, kid).await? {
            Keyring::of(&cx.app).refresh(&cx.app).await.map_err(Error::internal)?;
            return Err(Error::stale());
        }
    }
    Ok(())
}

/// Suspends the live bundles of a license.
pub async fn suspend_all(cx: &mut Cx, license: LicenseId) -> Result<()> {
    let sql = "UPDATE bundles SET status = 'suspended' WHERE license_id = $1 AND status = 'valid'";
    cx.tx.q(sql).bind(license).exec().await?;
    status_lists::touch(cx, Of::License(license)).await
}

pub async fn reinstate_all(cx: &mut Cx, license: LicenseId) -> Result<()> {
    let sql = "UPDATE bundles SET status = 'valid' WHERE license_id = $1 AND status = 'suspended'";
    cx.tx.q(sql).bind(license).exec().await?;
    status_lists::touch(cx, Of::License(license)).await
}

pub async fn revoke_all(cx: &mut Cx, license: LicenseId, reason: &'static str) -> Result<()> {
    let sql = "UPDATE bundles SET status = 'revoked', status_reason = $2, revoked_at = $3
               WHERE license_id = $1 AND status <> 'revoked'";
    let revoked = cx.tx.q(sql).bind(license).bind(reason).bind(cx.now).exec().await?;
    cx.counts.add(REVOKED, revoked);
    status_lists::touch(cx, Of::License(license)).await
}

/// Revokes all tokens that a compromised key signed. Returns how many were live.
pub async fn revoke_signed_by<G>(cx: &mut Cx<G>, kid: &str) -> Result<u64> {
    let sql = "UPDATE bundles
               SET status = 'revoked', status_reason = 'the signing key was compromised',
                   revoked_at = $2
               WHERE key_id = $1 AND status <> 'revoked' AND over_at > $2";
    let revoked = cx.tx.q(sql).bind(kid).bind(cx.now).exec().await?;
    cx.counts.add(REVOKED, revoked);
    status_lists::touch(cx, Of::Key(kid)).await?;
    Ok(revoked)
}

/// Returns the instant until which a verifier may accept a token that the key signed.
pub async fn last_signed_by(tx: &mut Conn, kid: &str) -> Result<Option<DateTime<Utc>>> {
    let sql = "SELECT MAX(over_at)
               FROM (SELECT MAX(over_at) AS over_at FROM bundles
                     WHERE key_id = $1 AND status <> 'revoked'
                     UNION ALL
                     SELECT MAX(token_until) FROM lease_seats WHERE key_id = $1) AS signed";
    Ok(tx.q(sql).bind(kid).value::<Option<DateTime<Utc>>>().await?.flatten())
}

/// The outcomes of the bundles that a key signed.
#[derive(sqlx::FromRow)]
pub struct Counts {
    pub live: i64,
    pub revoked: i64,
    pub last_expires_at: Option<DateTime<Utc>>,
    /// The organizations with live tokens.
    pub organizations: i64,
}

pub async fn count_signed_by<G>(cx: &mut Cx<G>, kid: &str) -> Result<Counts> {
    let sql = "SELECT COUNT(CASE WHEN status <> 'revoked' AND expires_at > $2 THEN 1 END) AS live,
                      COUNT(CASE WHEN status = 'revoked' THEN 1 END) AS revoked,
                      MAX(expires_at) AS last_expires_at,
                      COUNT(DISTINCT CASE WHEN status <> 'revoked' AND expires_at > $2
                                          THEN organization_id END) AS organizations
               FROM bundles WHERE key_id = $1";
    Ok(cx.tx.q(sql).bind(kid).bind(cx.now).one().await?)
}

/// Returns the list with the license's newest entry.
pub async fn newest_list(cx: &mut Cx, license: LicenseId) -> Result<Option<StatusListId>> {
    let sql = "SELECT status_list_id FROM bundles
               WHERE license_id = $1 AND organization_id = $2 AND status_list_id IS NOT NULL
               ORDER BY id DESC LIMIT 1";
    Ok(cx.tx.q(sql).bind(license).bind(cx.at).value().await?)
}
