//! The logic that the bindings of [`dp_verifier`] share: settings from JSON, results as JSON, and one
//! [`Failure`] with a stable code for every error.
//!
//! The bindings in `c`, `python` and `node` contain what their language needs, and nothing else. All
//! checks are those of [`dp_verifier`].
#![forbid(unsafe_code)]

mod failure;
mod holder;
mod json;
mod leases;
mod results;
mod settings;
mod state;
mod verifier;
mod wait;

pub use dp_verifier;

pub use self::failure::{Failure, Kind, guarded};
pub use self::leases::{HeldLease, Leases};
pub use self::results::{lease_json, license_json, limit_json};
pub use self::settings::Settings;
pub use self::state::{accept_log, log_record, reset_state, state_record};
pub use self::verifier::Verifier;
