//! From the price list to the signed token.

pub mod bulk;
pub mod bundles;
pub mod deployments;
pub mod entitlement;
pub mod issuance;
pub mod key_import;
pub mod keys;
pub mod licenses;
pub mod plans;
pub mod signer;
pub mod subscriptions;
