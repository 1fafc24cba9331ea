//! Verified licenses.

use dp_verifier_bindings::dp_verifier::{self, LicenseState};
use dp_verifier_bindings::{Failure, license_json};
use pyo3::prelude::*;
use pyo3::types::PyInt;
use serde_json::json;

use crate::convert::{count, raise, to_datetime, to_python, to_uuid};

/// The amount of a metric that a license includes.
#[pyclass(frozen, eq, module = "dp_verifier")]
#[derive(PartialEq)]
pub(crate) struct Limit {
    limit: dp_verifier::Limit,
}

#[pymethods]
impl Limit {
    /// `unlimited`, `at_most` or `not_included`.
    #[getter]
    fn kind(&self) -> &'static str {
        match self.limit {
            dp_verifier::Limit::Unlimited => "unlimited",
            dp_verifier::Limit::AtMost(_) => "at_most",
            dp_verifier::Limit::NotIncluded => "not_included",
        }
    }

    /// The number of `at_most`, else `None`.
    #[getter]
    fn value(&self) -> Option<u64> {
        match self.limit {
            dp_verifier::Limit::AtMost(value) => Some(value),
            _ => None,
        }
    }

    /// Returns whether one more is included when `used` are in use.
    fn allows_another(&self, used: &Bound<'_, PyInt>) -> PyResult<bool> {
        Ok(self.limit.allows_another(count("used", used)?))
    }

    fn __repr__(&self) -> String {
        match self.value() {
            Some(value) => format!("<Limit at_most {value}>"),
            None => format!("<Limit {}>", self.kind()),
        }
    }
}

/// A verified license. Only a `Verifier` creates one.
#[pyclass(frozen, eq, module = "dp_verifier")]
#[derive(PartialEq)]
pub(crate) struct LicenseContext {
    pub(crate) license: dp_verifier::LicenseContext,
}

#[pymethods]
impl LicenseContext {
    /// The state when the license was verified.
    #[getter]
    fn state(&self) -> &'static str {
        self.license.state().as_str()
    }

    #[getter]
    fn license_id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_uuid(py, &self.license.license_id().to_string())
    }

    /// The token's own ID, its `jti`.
    #[getter]
    fn token_id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_uuid(py, &self.license.token_id().to_string())
    }

    #[getter]
    fn issued_at<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        to_datetime(py, self.license.claims().iat)
    }

    #[getter]
    fn not_before<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        to_datetime(py, self.license.claims().nbf)
    }

    /// When the token expires; exclusive.
    #[getter]
    fn expires_at<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        to_datetime(py, self.license.expires_at())
    }

    /// The end of the grace period.
    #[getter]
    fn grace_until<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        to_datetime(py, self.license.grace_until())
    }

    #[getter]
    fn seat_cap(&self) -> u64 {
        self.license.seat_cap()
    }

    /// The index of the token's entry in the issuer's log, or `None` without a checked proof.
    #[getter]
    fn log_index(&self) -> Option<u64> {
        self.license.log_index()
    }

    #[getter]
    fn organization<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &json!(self.license.organization()))
    }

    #[getter]
    fn deployment<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &json!(self.license.deployment()))
    }

    #[getter]
    fn subscription<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &json!(self.license.subscription()))
    }

    #[getter]
    fn plan<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &json!(self.license.plan()))
    }

    #[getter]
    fn features<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &json!(self.license.claims().license.features))
    }

    /// The claims of the token.
    #[getter]
    fn claims<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &json!(self.license.claims()))
    }

    /// Returns the value of a feature, or `None`.
    fn feature<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.license.feature(name).map(|value| to_python(py, value)).transpose()
    }

    /// Returns whether a feature is enabled: its value is `true`, not merely present.
    fn has_feature(&self, name: &str) -> bool {
        self.license.has_feature(name)
    }

    /// Returns the limit of a metric.
    fn limit(&self, metric: &str) -> Limit {
        Limit { limit: self.license.limit(metric) }
    }

    /// Requires an enabled feature. Raises `NotEntitled`.
    fn require_feature(&self, py: Python<'_>, name: &str) -> PyResult<()> {
        self.license.require_feature(name).map_err(|error| raise(py, error.into()))
    }

    /// Requires that the license includes one more of a metric. Raises `NotEntitled`.
    fn require_another(
        &self,
        py: Python<'_>,
        metric: &str,
        used: &Bound<'_, PyInt>,
    ) -> PyResult<()> {
        let required = self.license.require_another(metric, count("used", used)?);
        required.map_err(|error| raise(py, error.into()))
    }

    /// Requires one of these states. Raises `NotEntitled`.
    #[pyo3(signature = (*states))]
    fn require_state(&self, py: Python<'_>, states: Vec<String>) -> PyResult<()> {
        let find = |name: &String| {
            let state = LicenseState::ALL.iter().copied().find(|state| state.as_str() == name);
            let unknown = || Failure::argument(format!("{name:?} is not a license state"));
            state.ok_or_else(|| raise(py, unknown()))
        };
        let states: Vec<_> = states.iter().map(find).collect::<PyResult<_>>()?;
        let required = self.license.require_state(&states);
        required.map_err(|error| raise(py, Failure::from(error)))
    }

    /// Returns the license as the command `dp-verify` prints it.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &license_json(&self.license))
    }

    fn __repr__(&self) -> String {
        format!("<LicenseContext {} {}>", self.license.license_id(), self.license.state())
    }
}
