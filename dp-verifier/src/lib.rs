//! Checks license tokens in a data plane: strict, fast, offline.
//!
//! A control plane signs a license token. A data plane checks the token against the control plane's
//! published keys, without a call to the control plane, and works with the [`LicenseContext`].
//!
//! ```no_run
//! use dp_verifier::{Limit, Verifier};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let now = 0;
//! let verifier = Verifier::builder()
//!     .issuer("https://cp.example")
//!     .audience("data-plane")
//!     .jwks_file("/etc/acme/jwks.json")
//!     .build()?;
//!
//! let license = verifier.verify("eyJhbGciOiJSUzI1NiIs…")?;
//! println!("{}, {} days left", license.state(), license.expires_in(now).as_secs() / 86_400);
//! if license.has_feature("alerts_enabled") { /* … */ }
//! if license.limit("max_workspaces").allows_another(3) { /* … */ }
//! # Ok(())
//! # }
//! ```
//!
//! # Checks
//!
//! The verifier refuses a token with a stable [`ErrorCode`] unless it passes these checks, in this
//! order:
//!
//! 1. the size, and three segments of canonical base64url;
//! 2. a strict JSON header with `alg` RS256, `typ` `license+jwt`, a `kid`, and no member that could
//!    redirect a reader;
//! 3. the signature, by exactly the key that `kid` names;
//! 4. strict JSON claims with the configured issuer and audience, a supported contract, valid
//!    times, and the right type of every known member; unknown members are kept;
//! 5. the entry in the issuer's status list, which can revoke or suspend the token.
//!
//! Every admitted license is in one [`LicenseState`]. [`Verifier::verify_lease`] checks beside a
//! license that a person or a machine has a seat of it.
//!
//! # Features
//!
//! | feature | adds |
//! | --- | --- |
//! | `ring` (default) | signatures by ring |
//! | `aws-lc-rs` | signatures by aws-lc-rs, which is faster, needs a C compiler, and wins over `ring` |
//! | `fetch` | keys from a URL, status lists, check-ins and held leases, in the background without tokio |
//! | `metrics` | counts and ages for the facade [`metrics`](https://docs.rs/metrics), and `record_metrics` |
//! | `axum` | [`LicenseLayer`], [`LeaseLayer`] and an extractor of [`LicenseContext`]; builds on `axum-core`, not axum |
//! | `cli` | the command `dp-verify` |
//!
//! The crate has no global state and does not panic, because it runs inside other applications.
#![deny(missing_docs)]
#![forbid(unsafe_code)]
#![cfg_attr(test, expect(clippy::indexing_slicing, reason = "a test fails by panicking"))]

#[cfg(feature = "axum")]
mod axum;
mod base64url;
mod cache;
mod claims;
mod clock;
mod counts;
mod crypto;
mod dates;
mod entitlement;
mod error;
#[cfg(feature = "fetch")]
mod fetch;
mod files;
mod fingerprint;
mod first_request;
mod health;
mod holder;
mod import;
mod json;
mod jws;
mod keys;
mod lease;
#[cfg(feature = "fetch")]
mod leases;
mod license;
mod license_file;
mod license_state;
mod limit;
mod log;
mod machine;
mod report;
mod state_file;
mod status_list;
mod status_list_token;
mod time_floor;
mod tlog;
mod verdict;
mod verifier;

#[cfg(feature = "axum")]
pub use axum::lease::{LeaseFuture, LeaseLayer, LeaseService};
#[cfg(feature = "axum")]
pub use axum::{FeatureLayer, LicenseFuture, LicenseLayer, LicenseService, NoLicenseLayer};
pub use cache::CacheStats;
pub use clock::{Clock, SystemClock};
pub use cp_contracts;
pub use entitlement::NotEntitled;
pub use error::{ErrorCode, ImportError, VerifyError};
#[cfg(feature = "fetch")]
pub use fetch::{CheckInHealth, Credential, FetchError, KeysHealth, Refusal};
pub use health::{Health, HealthReason, LicenseHealth};
pub use holder::{Holder, component_hash, holder_hash};
pub use import::{ImportedFile, StatusListInfo};
pub use keys::{KeySet, KeySetError};
pub use lease::LeaseContext;
#[cfg(feature = "fetch")]
pub use leases::{Claim, HeldLease, LeaseError, LeaseState, Leases};
pub use license::LicenseContext;
pub use license_state::LicenseState;
pub use limit::Limit;
pub use log::{FormerLogRecord, LogHealth, LogRecord, accept_log, log_record};
pub use machine::{Fingerprint, text_fingerprint};
pub use report::{ReportError, usage_report, usage_report_with_leases, write_usage_report};
pub use state_file::{
    FileRecord, FormerStateRecord, StateRecord, WithdrawnKey, reset_state, state_record,
};
pub use status_list::StatusRefresh;
pub use tlog::{Checkpoint, LogAnomaly, LogEvidence, LogKey, LogProof};
pub use verifier::builder::VerifierBuilder;
pub use verifier::lease::check_lease_claims;
pub use verifier::{BuildError, Verifier, check_claims};

/// The guide for a data plane, whose Rust samples compile.
#[cfg(all(doctest, feature = "axum", feature = "fetch", feature = "metrics"))]
#[doc = include_str!("../../docs/verify.md")]
struct Guide;
