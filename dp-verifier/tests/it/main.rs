//! The verifier from outside: every check of the security specification, by its number.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

#[cfg(feature = "axum")]
mod axum;
mod bundle;
mod cache;
mod claims;
#[cfg(feature = "cli")]
mod cli;
mod clock;
mod codes;
mod differential;
#[cfg(feature = "fetch")]
mod fetch;
mod form;
mod key_sets;
mod license;
mod properties;
mod state;
mod support;
