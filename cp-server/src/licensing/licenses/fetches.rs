//! Tokens that a customer's admin fetches, with the vendor's own life and audience.

use chrono::{DateTime, Days, NaiveTime, Utc};
use cp_contracts::LicenseBundleResponse;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Created;
use crate::kernel::http::cx::Cx;
use crate::licensing::bundles;
use crate::licensing::ids::LicenseId;
use crate::licensing::issuance::{Form, NewBundle};
use crate::tenancy::organizations;

crate::routes! { licenses:
    /// Signs the license for its customer, with the vendor's own life and audience.
    ///
    /// With `form=file` the answer contains `file`, one signed file for a data plane without a
    /// network. A license has at most 20 such tokens a day, from midnight UTC (429 `rate_limited`).
    POST "/licenses/{id}/token" LICENSES_FETCH => token, own_transaction, unmetered, harmless;
}

/// The action of the event of a token.
pub const EVENT: &str = "licenses.token";
/// The number of tokens of a license on one day.
const A_DAY: i64 = 20;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fetch {
    /// The form of the answer. `token` when absent.
    form: Option<Form>,
}

async fn token(cx: &mut Cx, id: LicenseId, fetch: Fetch) -> Result<Created<LicenseBundleResponse>> {
    let new = NewBundle { form: fetch.form, ..NewBundle::default() };
    // A refusal costs no signature.
    refuse_exhausted(cx, id).await?;
    issue(cx, id, &new).await.map(Created)
}

/// Refuses when the license has all tokens of the day. The statement of [`issue`] decides.
///
/// # Errors
/// Fails with 429 `rate_limited`.
pub async fn refuse_exhausted<G>(cx: &mut Cx<G>, id: LicenseId) -> Result<()> {
    let (day, tomorrow) = day_of(cx.now);
    let sql = "SELECT fetches FROM licenses WHERE id = $1 AND fetched_on = $2";
    let fetched = cx.tx.q(sql).bind(id).bind(day).value::<i64>().await?;
    match fetched {
        Some(fetched) if fetched >= A_DAY => Err(exhausted(cx.now, tomorrow)),
        _ => Ok(()),
    }
}

/// Signs the license, and writes the token as one of the day.
///
/// # Errors
/// Fails with 429 `rate_limited` when the license has all tokens of the day.
pub async fn issue(cx: &mut Cx, id: LicenseId, new: &NewBundle) -> Result<LicenseBundleResponse> {
    let (day, tomorrow) = day_of(cx.now);
    let signed = bundles::sign(cx, id, new).await?;
    cx.begin().await?;
    bundles::expect_reports(cx, &signed, new).await?;
    // Every change locks the organization before its licenses.
    organizations::hold(cx, signed.organization, signed.organization_revision).await?;
    let sql = "UPDATE licenses
               SET fetched_on = $3, fetches = CASE WHEN fetched_on = $3 THEN fetches + 1 ELSE 1 END
               WHERE id = $1 AND organization_id = $2
                 AND (fetched_on IS DISTINCT FROM $3 OR fetches < $4)";
    if cx.tx.q(sql).bind(id).bind(cx.at).bind(day).bind(A_DAY).exec().await? == 0 {
        return Err(exhausted(cx.now, tomorrow));
    }
    bundles::write(cx, signed, new, EVENT).await
}

/// Returns the day, counted from 1970, and the beginning of the next one.
fn day_of(now: DateTime<Utc>) -> (i64, DateTime<Utc>) {
    let today = now.date_naive();
    let next = today.checked_add_days(Days::new(1)).unwrap_or(today);
    (now.timestamp().div_euclid(86_400), next.and_time(NaiveTime::MIN).and_utc())
}

fn exhausted(now: DateTime<Utc>, tomorrow: DateTime<Utc>) -> Error {
    let detail = format!(
        "A license has at most {A_DAY} fetched tokens a day. Retry after midnight UTC, or check in with \
         a deployment's token."
    );
    let wait = (tomorrow - now).num_seconds() + 1;
    let wait = u32::try_from(wait).unwrap_or(1);
    Error::rate_limited("license_tokens", detail, wait).with("limit", A_DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn day_begins_at_midnight_utc() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let next = at("2026-01-02T00:00:00Z");
        assert_eq!(day_of(at("2026-01-01T00:00:00Z")), (20_454, next));
        assert_eq!(day_of(at("2026-01-01T23:59:59.999999Z")), (20_454, next));
        assert_eq!(day_of(next).0, 20_455);
    }
}
