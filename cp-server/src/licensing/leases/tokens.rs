//! Lease tokens: the proof of a lease for checks without a network.

use chrono::{DateTime, SubsecRound, Utc};
use cp_contracts::{
    CONTRACT_VERSION, LEASE_TOKEN_MAX_BYTES, LEASE_TOKEN_TYP, LeaseBodyClaims, LeaseClaims,
    ProblemCode, StatusClaim, StatusListRef,
};
use serde_json::Map;

use super::answers;
use super::rows::{Facts, SeatRow};
use super::settings::{Matching, PoolKind};
use crate::kernel::app::{App, Part};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::licensing::issuance::TokenSettings;
use crate::licensing::keys::keyring::Keyring;
use crate::licensing::keys::signer::{self, SignerPool};
use crate::licensing::status_lists::rows as status_lists;

/// Notes the key and the end of the token that is signed after the commit: the key stays published
/// until then.
pub(super) async fn announce(cx: &mut Cx, seat: &SeatRow, facts: &Facts) -> Result<()> {
    let kid = Keyring::of(&cx.app).active()?.jwk().kid.clone();
    let until = end(&cx.app, seat, facts, cx.now);
    // Tokens have whole seconds.
    if until.timestamp() <= cx.now.timestamp() {
        let detail = "The license ends within this second. Renew it first.";
        return Err(Error::new(ProblemCode::LicenseExpired, detail));
    }
    let sql = "UPDATE lease_seats SET key_id = $2, token_until = $3 WHERE lease_id = $1";
    cx.tx.q(sql).bind(seat.lease_id).bind(kid).bind(until).exec().await?;
    Ok(())
}

/// Signs the token of a lease on a signing thread.
pub(super) async fn sign(cx: &mut Cx, seat: SeatRow, facts: Facts) -> Result<String> {
    let sql = "SELECT hash FROM lease_components WHERE lease_id = $1 ORDER BY hash";
    let components: Vec<(String,)> = cx.tx.q(sql).bind(seat.lease_id).all().await?;
    let components = components.into_iter().map(|(hash,)| hash).collect();
    cx.release();
    let (app, now) = (cx.app.clone(), cx.now);
    SignerPool::of(&cx.app).run(move || make(&app, now, &seat, &facts, components)).await
}

/// Returns the end of the token: that of the lease, at most that of the license.
fn end(app: &App, seat: &SeatRow, facts: &Facts, now: DateTime<Utc>) -> DateTime<Utc> {
    let end = seat.expires_at.unwrap_or_else(|| now + TokenSettings::of(app).ttl);
    facts.terms.until().map_or(end, |over| over.min(end))
}

fn make(
    app: &App,
    now: DateTime<Utc>,
    seat: &SeatRow,
    facts: &Facts,
    components: Vec<String>,
) -> Result<String> {
    let issued_at = now.trunc_subsecs(0).timestamp();
    let matching = facts.pool_settings()?.map_or(Matching::Exact, |settings| settings.matching);
    let is_matched = facts.pool_kind == Some(PoolKind::Node) && matching != Matching::Exact;
    let entry = seat.status_list_id.zip(seat.status_idx).map(|(list, idx)| StatusClaim {
        status_list: StatusListRef {
            idx: u64::try_from(idx).unwrap_or_default(),
            uri: status_lists::uri(app, list),
            extra: Map::new(),
        },
        extra: Map::new(),
    });
    let claims = LeaseClaims {
        iss: app.settings.base_url.clone(),
        aud: TokenSettings::of(app).audience.clone(),
        sub: facts.deployment_id.0,
        jti: seat.lease_id.0,
        iat: issued_at,
        nbf: issued_at,
        exp: end(app, seat, facts, now).timestamp(),
        hbnbf: answers::pace(seat, facts)?.not_before.timestamp(),
        lease: LeaseBodyClaims {
            license_id: seat.license_id.0,
            pool: facts.pool_name.clone().unwrap_or_default(),
            kind: facts.pool_kind.map_or_else(|| "".into(), Into::into),
            holder: seat.holder.clone().unwrap_or_default(),
            components: if is_matched { components } else { Vec::new() },
            matching: is_matched.then(|| matching.to_string()),
            borrowed: seat.is_borrowed(now),
            overage: facts.is_overage(seat, now)?,
            extra: Map::new(),
        },
        status: entry,
        contract: CONTRACT_VERSION.parse().ok(),
        extra: Map::new(),
    };
    let payload = serde_json::to_vec(&claims).map_err(Error::internal)?;
    // Claims that data planes would refuse are never signed.
    dp_verifier::check_lease_claims(&payload, &claims.iss, &claims.aud, issued_at)
        .map_err(Error::internal)?;
    let signer = Keyring::of(app).active()?;
    let token = signer::compact(signer.as_ref(), LEASE_TOKEN_TYP, &payload)?;
    if token.len() > LEASE_TOKEN_MAX_BYTES {
        let detail = format!(
            "The lease token must have at most {LEASE_TOKEN_MAX_BYTES} bytes (got {}). Send fewer \
             components.",
            token.len()
        );
        return Err(Error::new(ProblemCode::TokenTooLarge, detail));
    }
    Ok(token)
}
