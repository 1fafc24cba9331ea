//! Seats and lease tokens.

use std::time::{Duration, Instant};

use dp_verifier_bindings::{Failure, dp_verifier, guarded};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt};
use serde_json::{Value, json};

use crate::convert::{count, raise, to_datetime, to_json, to_python, to_uuid};
use crate::detached::Detached;
use crate::license::LicenseContext;

/// The time after which a wait looks for signals, such as that of Ctrl-C.
const LOOK: Duration = Duration::from_millis(100);

/// A verified lease token.
#[pyclass(frozen, eq, module = "dp_verifier")]
#[derive(PartialEq)]
pub(crate) struct LeaseContext {
    pub(crate) lease: dp_verifier::LeaseContext,
}

#[pymethods]
impl LeaseContext {
    #[getter]
    fn lease_id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_uuid(py, &self.lease.lease_id().to_string())
    }

    #[getter]
    fn pool(&self) -> &str {
        self.lease.pool()
    }

    #[getter]
    fn kind(&self) -> &str {
        self.lease.kind().as_str()
    }

    #[getter]
    fn license_id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_uuid(py, &self.lease.license_id().to_string())
    }

    /// The hash of the holder.
    #[getter]
    fn holder(&self) -> &str {
        self.lease.holder()
    }

    /// The claims of the token.
    #[getter]
    fn claims<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &json!(self.lease.claims()))
    }

    #[getter]
    fn issued_at<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        to_datetime(py, self.lease.issued_at())
    }

    /// The end of the lease; exclusive.
    #[getter]
    fn expires_at<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        to_datetime(py, self.lease.expires_at())
    }

    #[getter]
    fn borrowed(&self) -> bool {
        self.lease.is_borrowed()
    }

    #[getter]
    fn overage(&self) -> bool {
        self.lease.is_overage()
    }

    fn __repr__(&self) -> String {
        format!("<LeaseContext {} of {}>", self.lease.lease_id(), self.lease.pool())
    }
}

/// A client that claims seats, and keeps them by heartbeats on a thread of its own.
#[pyclass(frozen, module = "dp_verifier")]
pub(crate) struct Leases {
    pub(crate) leases: Detached<dp_verifier_bindings::Leases>,
}

#[pymethods]
impl Leases {
    /// Claims a seat of a pool for a holder, and waits for the response, up to 5 seconds.
    #[pyo3(signature = (pool, holder, *, license=None, **options))]
    fn acquire(
        &self,
        py: Python<'_>,
        pool: &str,
        holder: &Bound<'_, PyDict>,
        license: Option<&LicenseContext>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<HeldLease> {
        let holder = to_json(holder.as_any())?;
        let options = options.map_or(Ok(Value::Null), |options| to_json(options.as_any()))?;
        let license = license.map(|license| &license.license);
        let leases: &dp_verifier_bindings::Leases = &self.leases;
        let acquire = || leases.acquire(pool, &holder, &options, license);
        let lease = py.detach(|| guarded(acquire)).map_err(|failure| raise(py, failure))?;
        Ok(HeldLease { lease: Detached::new(lease) })
    }

    /// Sends the heartbeats that are due now.
    fn send_heartbeats(&self, py: Python<'_>) {
        let leases: &dp_verifier_bindings::Leases = &self.leases;
        py.detach(|| leases.send_heartbeats());
    }

    /// Returns the use of each pool since the last call, for `Verifier.usage_report`.
    fn take_usage<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.leases.take_usage())
    }
}

/// A held seat. Use it in a `with` block, or call `release`.
#[pyclass(frozen, module = "dp_verifier")]
pub(crate) struct HeldLease {
    lease: Detached<dp_verifier_bindings::HeldLease>,
}

impl HeldLease {
    fn run<T: Send>(
        &self,
        py: Python<'_>,
        run: impl FnOnce(&dp_verifier_bindings::HeldLease) -> Result<T, Failure> + Send,
    ) -> PyResult<T> {
        let lease: &dp_verifier_bindings::HeldLease = &self.lease;
        py.detach(|| guarded(|| run(lease))).map_err(|failure| raise(py, failure))
    }
}

#[pymethods]
impl HeldLease {
    /// `held`, `late`, `borrowed`, `lost`, or `released` after `release` or `keep`.
    #[getter]
    fn state(&self) -> &'static str {
        self.lease.state()
    }

    /// Returns the ID, state, end, token and the lease as the control plane last described it.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.lease.to_json())
    }

    /// Waits until the lease is lost, or the app has released or kept it. Returns whether that happened
    /// within the time.
    #[pyo3(signature = (timeout=None))]
    fn wait_until_lost(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let limit = timeout.map_or(Ok(Duration::MAX), Duration::try_from_secs_f64);
        let invalid = |_| raise(py, Failure::argument("`timeout` must be at least 0 seconds"));
        let (limit, begun) = (limit.map_err(invalid)?, Instant::now());
        loop {
            let left = limit.saturating_sub(begun.elapsed());
            if self.run(py, |lease| Ok(lease.wait_until_lost(left.min(LOOK))))? {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
            py.check_signals()?;
        }
    }

    /// Borrows the seat for some seconds. Returns the lease token.
    fn borrow(&self, py: Python<'_>, seconds: &Bound<'_, PyInt>) -> PyResult<String> {
        let seconds = count("seconds", seconds)?;
        self.run(py, |lease| lease.borrow(seconds))
    }

    /// Returns a borrowed seat before its end.
    fn give_back(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, dp_verifier_bindings::HeldLease::give_back)
    }

    /// Releases the seat now.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, dp_verifier_bindings::HeldLease::release)
    }

    /// Keeps the seat after this object is gone.
    fn keep(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, |lease| {
            lease.keep();
            Ok(())
        })
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&self, py: Python<'_>, _error: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<bool> {
        self.release(py)?;
        Ok(false)
    }

    fn __repr__(&self) -> String {
        format!("<HeldLease {}>", self.state())
    }
}
