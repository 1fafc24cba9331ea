//! The validation of a license key: the facts, and the first code that holds.

use chrono::{DateTime, Utc};
use cp_contracts::{Lease, LeaseState, ProblemCode, ValidatedLicense, Validation, ValidationCode};
use schemars::JsonSchema;
use semver::{Version, VersionReq};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::codes::{self, of_cause};
use super::rows::{FoundKey, KeyText, find};
use crate::kernel::access::admission::accept_body;
use crate::kernel::access::caller::Scope;
use crate::kernel::access::platform::PublicPath;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Put;
use crate::kernel::http::cx::Cx;
use crate::kernel::journal::draft::AuditDraft;
use crate::kernel::journal::record;
use crate::kernel::secret::Secret;
use crate::kernel::text::Name;
use crate::licensing::coverage::Terms;
use crate::licensing::entitlement::{License, LicenseRow};
use crate::licensing::ids::LicenseId;
use crate::licensing::issuance::NewBundle;
use crate::licensing::leases::holders::NewHolder;
use crate::licensing::leases::holding::of_holder;
use crate::licensing::leases::settings::{PoolName, SEATS};
use crate::licensing::leases::{NewLease, claim};
use crate::licensing::licenses::fetches;

/// The feature with the versions that a license covers, as a range such as `<=4.2`.
const MAX_VERSION: &str = "max_version";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewValidation {
    /// The license key. It is the credential of this request.
    key: Secret<String>,
    /// Who uses the license: a person, a machine, or any name.
    holder: Option<NewHolder>,
    /// The pool of seats to judge; `seats` when absent and a `holder` is given.
    pool: Option<PoolName>,
    /// Whether the holder claims a seat. False when absent: then the request writes nothing.
    #[serde(default)]
    activate: bool,
    /// The features that the license must have. A feature that is false or null counts as missing.
    #[serde(default)]
    features: Vec<Name>,
    /// The version of the product in the form of Semantic Versioning, such as `4.1.0`. The feature
    /// `max_version` of the license must cover it.
    version: Option<Name>,
    /// Whether the answer contains tokens for checks without a network, if the key may be used: a
    /// license token, and a lease token when the holder claims a seat. A license has at most 20 such
    /// license tokens a day (429 `rate_limited`). False when absent.
    #[serde(default)]
    token: bool,
}

/// The most features of a request.
const FEATURES: usize = 50;

pub(super) async fn validate(
    cx: &mut Cx<Scope>,
    _: PublicPath,
    new: NewValidation,
) -> Result<Validation> {
    let (validation, is_written) = judged(cx, new).await?;
    if !is_written {
        cx.audit.omit();
    }
    Ok(validation)
}

/// Returns the answer, and whether the request wrote a claim or a token.
async fn judged(cx: &mut Cx<Scope>, new: NewValidation) -> Result<(Validation, bool)> {
    let version = new.version.as_ref().map(version_of).transpose()?;
    if new.features.len() > FEATURES {
        let detail = format!("`features` must have at most {FEATURES} names.");
        return Err(Error::invalid("features", detail));
    }
    let text = KeyText::read(&cx.app, &new.key)?;
    let Some(key) = find(&mut cx.tx, &text.hash()).await? else {
        if text.is_mistyped(&cx.app) {
            let detail = "`key` has a wrong symbol: the letters of a license key do not include U.";
            return Err(Error::invalid("key", detail));
        }
        return Ok((answer(&[ValidationCode::KeyUnknown]), false));
    };
    accept_body(&cx.app, &cx.parts, new.key.expose(), key.id.0)?;
    let ended = key_codes(&key, cx.now);
    if !ended.is_empty() {
        return Ok((answer(&ended), false));
    }
    let row: LicenseRow = cx.tx.select("WHERE licenses.id = $1").bind(key.license_id).one().await?;
    let terms = row.terms.clone();
    let license = row.at(&cx.app, cx.now);
    let mut holding = coverage_codes(&terms, cx.now);
    holding.extend(content_codes(&license, version.as_ref(), &new.features));
    let shown = Some(shown(&license, &terms, cx.now)?);
    let wants_token = new.token;
    if wants_token && new.activate && is_usable(&holding) {
        // The refusal of a token claims no seat.
        fetches::refuse_exhausted(cx, key.license_id).await?;
    }
    let seat = match new.pool.is_some() || new.holder.is_some() || new.activate {
        // On the heap: most validations need neither a seat nor a token, and move this future.
        true => Box::pin(seat(cx, &key, &license, new, &holding)).await?,
        false => Seat::default(),
    };
    holding.extend(seat.codes);
    let token = match wants_token && is_usable(&holding) {
        true => Some(Box::pin(issue(cx, &key)).await?),
        false => None,
    };
    let Seat { lease, lease_token, retry_after, is_claimed, .. } = seat;
    let is_written = is_claimed || token.is_some();
    let answer = answer(&holding);
    Ok((
        Validation { license: shown, lease, token, lease_token, retry_after, ..answer },
        is_written,
    ))
}

/// Returns whether the key may be used, with these codes alone.
fn is_usable(holding: &[ValidationCode]) -> bool {
    codes::is_valid(&codes::first(holding).0)
}

/// Signs a license token as the license key. A claim of the same request is committed by now.
async fn issue(cx: &mut Cx<Scope>, key: &FoundKey) -> Result<String> {
    cx.caller = key.caller();
    // The claim has its own event.
    cx.audit = AuditDraft::default();
    let mut visit = cx.visiting(key.organization_id);
    let done = signed(&mut visit, key.license_id).await;
    cx.take_back(visit);
    done
}

async fn signed(cx: &mut Cx, license: LicenseId) -> Result<String> {
    fetches::refuse_exhausted(cx, license).await?;
    let issued = fetches::issue(cx, license, &NewBundle::default()).await;
    // The license changed after the read: the validation starts over, and reports the reason.
    let issued = issued.map_err(|error| {
        let code = ValidationCode::from(error.code().as_str());
        if matches!(code, ValidationCode::Other(_)) { error } else { Error::stale() }
    })?;
    let target = ("bundle", issued.jti.to_string());
    record::record(cx, fetches::EVENT, Some(cx.at), target).await?;
    cx.audit.is_written = true;
    Ok(issued.token)
}

/// What a validation finds out about the holder's seat.
#[derive(Default)]
struct Seat {
    codes: Vec<ValidationCode>,
    lease: Option<Lease>,
    lease_token: Option<String>,
    retry_after: Option<i64>,
    is_claimed: bool,
}

impl From<ValidationCode> for Seat {
    fn from(code: ValidationCode) -> Self {
        Self { codes: vec![code], ..Self::default() }
    }
}

/// Finds or claims the holder's seat. A license with other reasons than its days of grace gives none.
async fn seat(
    cx: &mut Cx<Scope>,
    key: &FoundKey,
    license: &License,
    new: NewValidation,
    holding: &[ValidationCode],
) -> Result<Seat> {
    let seats = || SEATS.parse().map_err(|rule: String| Error::invalid("pool", rule));
    let pool: PoolName = new.pool.map_or_else(seats, Ok)?;
    let opens = key.pools.as_ref().is_none_or(|pools| pools.contains(pool.as_str()));
    if !opens || !license.effective.leasing.contains_key(pool.as_str()) {
        return Ok(ValidationCode::PoolUnknown.into());
    }
    let Some(holder) = new.holder else { return Ok(ValidationCode::HolderRequired.into()) };
    let is_in_force = is_usable(holding);
    // The event of a claim names the key.
    cx.caller = key.caller();
    let mut visit = cx.visiting(key.organization_id);
    let done = match new.activate && is_in_force {
        true => activate(&mut visit, key, pool, holder, new.token).await,
        false => of_holder(&mut visit, key.license_id, pool, holder).await.map(found),
    };
    cx.take_back(visit);
    done
}

/// Judges the lease of a holder that claims none.
fn found(lease: Option<Lease>) -> Seat {
    let codes = match &lease {
        None => vec![ValidationCode::NotActivated],
        Some(lease) if lease.state != LeaseState::Live => vec![ValidationCode::LeaseOver],
        Some(_) => Vec::new(),
    };
    Seat { codes, lease, ..Seat::default() }
}

/// Claims a seat as the license key.
async fn activate(
    cx: &mut Cx,
    key: &FoundKey,
    pool: PoolName,
    holder: NewHolder,
    token: bool,
) -> Result<Seat> {
    let new = NewLease::of(pool, holder, token);
    let mut lease = match claim(cx, key.license_id, new).await {
        Ok(Put::New(lease) | Put::Known(lease)) => lease,
        Err(refused) if *refused.code() == ProblemCode::SeatsExhausted => {
            let retry_after = refused.retry_after().map(i64::from);
            return Ok(Seat { retry_after, ..ValidationCode::SeatsExhausted.into() });
        }
        Err(error) => return Err(error),
    };
    // A claim with a token has written its event before the signature.
    if !cx.audit.is_omitted() && !cx.audit.is_written {
        cx.audit.after = serde_json::to_value(&lease).ok();
        let target = ("lease", lease.id.to_string());
        record::record(cx, "leases.claim", Some(cx.at), target).await?;
        cx.audit.is_written = true;
    }
    let lease_token = lease.token.take();
    Ok(Seat { lease: Some(lease), lease_token, is_claimed: true, ..Seat::default() })
}

fn answer(holding: &[ValidationCode]) -> Validation {
    let (code, detail) = codes::first(holding);
    Validation {
        valid: codes::is_valid(&code),
        code,
        detail: detail.to_owned(),
        license: None,
        lease: None,
        token: None,
        lease_token: None,
        retry_after: None,
        extra: Map::new(),
    }
}

fn key_codes(key: &FoundKey, now: DateTime<Utc>) -> Vec<ValidationCode> {
    let revoked = key.revoked_at.is_some().then_some(ValidationCode::KeyRevoked);
    let expired = key.is_expired(now).then_some(ValidationCode::KeyExpired);
    revoked.into_iter().chain(expired).collect()
}

fn coverage_codes(terms: &Terms, now: DateTime<Utc>) -> Vec<ValidationCode> {
    let in_grace = is_in_grace(terms, now).then_some(ValidationCode::ValidInGrace);
    terms.covered_at(now).err().map(of_cause).or(in_grace).into_iter().collect()
}

/// Returns whether the license is covered by its days of grace alone.
fn is_in_grace(terms: &Terms, now: DateTime<Utc>) -> bool {
    let without_grace = Terms { grace_days: 0, ..terms.clone() };
    terms.covered_at(now).is_ok() && without_grace.covered_at(now).is_err()
}

fn content_codes(
    license: &License,
    version: Option<&Version>,
    features: &[Name],
) -> Vec<ValidationCode> {
    let effective = &license.effective.features;
    let value = |name: &str| effective.get(name).map(|feature| &feature.value);
    let has = |name: &Name| {
        !matches!(value(name.as_str()), None | Some(Value::Null | Value::Bool(false)))
    };
    let is_covered = version.is_none_or(|version| covers(value(MAX_VERSION), version));
    let mut codes = Vec::new();
    if !is_covered {
        codes.push(ValidationCode::VersionNotCovered);
    }
    if !features.iter().all(has) {
        codes.push(ValidationCode::FeatureMissing);
    }
    codes
}

/// Returns whether a license with this `max_version` covers the version. A license without the
/// feature covers all; a value that is no range covers none. The pre-release of a covered version is
/// covered.
fn covers(max_version: Option<&Value>, version: &Version) -> bool {
    let Some(range) = max_version.filter(|value| !value.is_null()) else { return true };
    let Some(range) = range.as_str().and_then(|text| text.parse::<VersionReq>().ok()) else {
        return false;
    };
    let released = Version::new(version.major, version.minor, version.patch);
    range.matches(version) || range.matches(&released)
}

/// Returns the license as the holder of a key sees it.
fn shown(license: &License, terms: &Terms, now: DateTime<Utc>) -> Result<ValidatedLicense> {
    let effective = serde_json::to_value(&license.effective).map_err(Error::internal)?;
    let effective = match effective {
        Value::Object(effective) => effective,
        _ => Map::new(),
    };
    Ok(ValidatedLicense {
        id: license.id.0,
        status: license.status.to_string(),
        valid_until: license.valid_until,
        grace_until: terms.until().filter(|_| is_in_grace(terms, now)),
        effective,
        extra: Map::new(),
    })
}

fn version_of(text: &Name) -> Result<Version> {
    text.as_str().parse().map_err(|_| {
        Error::invalid("version", "`version` must be a semantic version such as 4.1.0.")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ranges_cover_versions_and_their_pre_releases() {
        let covered = |range: Value, version: &str| covers(Some(&range), &version.parse().unwrap());
        for (range, version, expected) in [
            (json!("<=4.2"), "4.2.9", true),
            (json!("<=4.2"), "4.3.0", false),
            (json!("<=4.2"), "4.2.0-rc.1", true),
            (json!("4"), "4.9.0", true),
            (json!("4"), "5.0.0", false),
            (json!(">=2, <4"), "3.1.4", true),
            (json!("*"), "9.0.0", true),
            (json!("next"), "1.0.0", false),
            (json!(4), "4.0.0", false),
            (json!(null), "4.0.0", true),
        ] {
            assert_eq!(covered(range.clone(), version), expected, "{range} {version}");
        }
        assert!(covers(None, &Version::new(1, 0, 0)));
    }
}
