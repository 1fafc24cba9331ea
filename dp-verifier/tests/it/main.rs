//! The verifier from outside: every check of the security specification, by its number.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

#[cfg(feature = "axum")]
mod axum;
mod cache;
#[cfg(feature = "fetch")]
mod check_ins;
mod claims;
#[cfg(feature = "cli")]
mod cli;
#[cfg(feature = "cli")]
mod cli_commands;
#[cfg(feature = "cli")]
mod cli_disk;
#[cfg(feature = "cli")]
mod cli_files;
mod clock;
mod codes;
mod conformance;
#[cfg(feature = "fetch")]
mod control_plane;
mod differential;
#[cfg(feature = "fetch")]
mod fetch;
#[cfg(feature = "fetch")]
mod fetch_lists;
#[cfg(feature = "fetch")]
mod fetch_log;
mod form;
mod health;
mod key_sets;
#[cfg(feature = "fetch")]
mod lease_heartbeats;
mod lease_holders;
mod lease_tokens;
#[cfg(feature = "fetch")]
mod leases;
mod license;
mod license_files;
#[cfg(feature = "fetch")]
mod list_refresh;
#[cfg(feature = "fetch")]
mod list_watch;
mod log;
mod log_files;
mod log_record;
#[cfg(all(feature = "fetch", feature = "metrics"))]
mod metrics;
mod precedence;
mod properties;
mod reports;
#[cfg(feature = "fetch")]
mod server;
mod state;
mod state_file;
mod state_file_format;
mod status_lists;
mod support;
mod withdrawal;
mod withdrawal_lists;
mod withdrawal_order;
