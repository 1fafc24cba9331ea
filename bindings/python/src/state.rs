//! The operator's view of a state file.

use std::path::PathBuf;

use dp_verifier_bindings::{Failure, guarded};
use pyo3::prelude::*;
use serde_json::Value;

use crate::convert::{raise, to_python};

fn run<'py>(
    py: Python<'py>,
    run: impl FnOnce() -> Result<Value, Failure> + Send,
) -> PyResult<Bound<'py, PyAny>> {
    let record = py.detach(|| guarded(run)).map_err(|failure| raise(py, failure))?;
    to_python(py, &record)
}

/// Returns the content of a state file, except the log.
#[pyfunction]
pub(crate) fn state_record(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    run(py, || dp_verifier_bindings::state_record(&path))
}

/// Resets times, keys, status lists and license files in a state file, with a reason.
#[pyfunction]
pub(crate) fn reset_state<'py>(
    py: Python<'py>,
    path: PathBuf,
    because: &str,
) -> PyResult<Bound<'py, PyAny>> {
    run(py, || dp_verifier_bindings::reset_state(&path, because))
}

/// Returns the issuer's log in a state file.
#[pyfunction]
pub(crate) fn log_record(py: Python<'_>, path: PathBuf) -> PyResult<Bound<'_, PyAny>> {
    run(py, || dp_verifier_bindings::log_record(&path))
}

/// Accepts the issuer's log in a state file after a contradiction, with a reason.
#[pyfunction]
pub(crate) fn accept_log<'py>(
    py: Python<'py>,
    path: PathBuf,
    because: &str,
) -> PyResult<Bound<'py, PyAny>> {
    run(py, || dp_verifier_bindings::accept_log(&path, because))
}
