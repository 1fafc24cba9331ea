//! Licensing: plans, subscriptions, deployments, licenses, bundles, check-ins, status lists and signing
//! keys.

pub mod bulk;
pub mod bundles;
pub mod check_in;
pub mod checks;
pub mod clock;
pub mod coverage;
pub mod deployments;
pub mod enforcement;
pub mod entitlement;
pub mod files;
pub mod ids;
pub mod inspections;
pub mod issuance;
pub mod issuance_days;
pub mod issuer;
pub mod keys;
pub mod leases;
pub mod license_keys;
pub mod licenses;
pub mod plans;
pub mod status_lists;
pub mod statuses;
pub mod subscriptions;
pub mod token_ttl;
pub mod usage_reports;
pub mod verdicts;
