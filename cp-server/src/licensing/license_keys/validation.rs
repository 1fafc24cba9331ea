//! The validation of a license key: the facts, and the first code that holds.

use chrono::{DateTime, Utc};
use cp_contracts::{ValidatedLicense, Validation, ValidationCode};
use schemars::JsonSchema;
use semver::{Version, VersionReq};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::codes::{self, of_cause};
use super::rows::{FoundKey, KeyText, PoolName, find};
use crate::kernel::access::admission::accept_body;
use crate::kernel::access::caller::Scope;
use crate::kernel::access::platform::PublicPath;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::secret::Secret;
use crate::kernel::text::Name;
use crate::licensing::coverage::Terms;
use crate::licensing::entitlement::{License, LicenseRow};

/// The feature with the versions that a license covers, as a range such as `<=4.2`.
const MAX_VERSION: &str = "max_version";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewValidation {
    /// The license key. It is the credential of this request.
    key: Secret<String>,
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
    /// Whether the answer contains the license token, and the lease token if the holder has a seat.
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
    let version = new.version.as_ref().map(version_of).transpose()?;
    if new.features.len() > FEATURES {
        let detail = format!("`features` must have at most {FEATURES} names.");
        return Err(Error::invalid("features", detail));
    }
    let text = KeyText::read(&cx.app, &new.key)?;
    cx.audit.omit();
    let Some(key) = find(&mut cx.tx, &text.hash()).await? else {
        return Ok(answer(&[ValidationCode::KeyUnknown]));
    };
    accept_body(&cx.app, &cx.parts, new.key.expose(), key.id.0)?;
    let ended = key_codes(&key, cx.now);
    if !ended.is_empty() {
        return Ok(answer(&ended));
    }
    let row: LicenseRow = cx.tx.select("WHERE licenses.id = $1").bind(key.license_id).one().await?;
    let terms = row.terms.clone();
    let license = row.at(cx.now);
    let mut holding = coverage_codes(&terms, cx.now);
    holding.extend(content_codes(&license, version.as_ref(), &new.features));
    Ok(Validation { license: Some(shown(&license, &terms, cx.now)?), ..answer(&holding) })
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
