//! From the price tier to the signed token.

mod billing;
mod bulk;
mod bundles;
mod check_in;
mod coverage;
mod deployments;
mod fetches;
mod inspections;
mod licenses;
mod names;
mod plans;
mod refusals;
mod seats;
mod subscriptions;
mod token_ttl;
mod verdicts;
