//! The native module of the Python package `dp_verifier`.
//!
//! The package's `__init__.py` has the public names, and `_native.pyi` their types.

mod convert;
mod detached;
mod leases;
mod license;
mod state;
mod verifier;

use pyo3::prelude::*;

/// The native module.
#[pymodule]
mod _native {
    #[pymodule_export]
    use crate::leases::{HeldLease, LeaseContext, Leases};
    #[pymodule_export]
    use crate::license::{LicenseContext, Limit};
    #[pymodule_export]
    use crate::state::{accept_log, log_record, reset_state, state_record};
    #[pymodule_export]
    use crate::verifier::Verifier;
}
