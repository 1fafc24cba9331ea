//! Results as JSON.

use dp_verifier::{LeaseContext, LicenseContext, Limit};
use serde_json::{Value, json};

/// Returns a license as the command `dp-verify` prints it, with `grace_until` and `log_index`, and
/// with all claims of its token.
#[must_use]
pub fn license_json(license: &LicenseContext) -> Value {
    let mut value = serde_json::to_value(license).unwrap_or_default();
    if let Some(members) = value.as_object_mut() {
        members.insert("expires_at_seconds".to_owned(), license.expires_at().into());
        members.insert("grace_until_seconds".to_owned(), license.grace_until().into());
        members.insert("log_index".to_owned(), json!(license.log_index()));
    }
    value
}

/// Returns a limit as `{"kind": "unlimited"}`, `{"kind": "at_most", "value": 20}` or
/// `{"kind": "not_included"}`.
#[must_use]
pub fn limit_json(limit: Limit) -> Value {
    match limit {
        Limit::Unlimited => json!({ "kind": "unlimited" }),
        Limit::AtMost(value) => json!({ "kind": "at_most", "value": value }),
        Limit::NotIncluded => json!({ "kind": "not_included" }),
    }
}

/// Returns a verified lease token, with all its claims.
#[must_use]
pub fn lease_json(lease: &LeaseContext) -> Value {
    json!({
        "lease_id": lease.lease_id(), "license_id": lease.license_id(), "pool": lease.pool(),
        "kind": lease.kind(), "holder": lease.holder(), "issued_at": lease.issued_at(),
        "expires_at": lease.expires_at(), "borrowed": lease.is_borrowed(),
        "overage": lease.is_overage(), "claims": lease.claims(),
    })
}
