//! From the price tier to the signed token.

mod billing;
mod bulk;
mod bundles;
mod check_in;
mod coverage;
mod deployments;
mod licenses;
mod names;
mod plans;
mod refusals;
mod seats;
mod subscriptions;
