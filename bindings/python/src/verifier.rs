//! The verifier.

use dp_verifier_bindings::{Failure, Settings, guarded};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use serde_json::Value;

use crate::convert::{raise, sent, to_json, to_python, to_text};
use crate::detached::Detached;
use crate::leases::{LeaseContext, Leases};
use crate::license::LicenseContext;

/// A verifier of license tokens of one issuer for one audience. Create it once, and share it between
/// threads.
#[pyclass(frozen, module = "dp_verifier")]
pub(crate) struct Verifier {
    verifier: Detached<dp_verifier_bindings::Verifier>,
}

impl Verifier {
    /// Runs a function without the GIL, and raises its failure.
    fn run<T: Send>(
        &self,
        py: Python<'_>,
        run: impl FnOnce(&dp_verifier_bindings::Verifier) -> Result<T, Failure> + Send,
    ) -> PyResult<T> {
        let verifier: &dp_verifier_bindings::Verifier = &self.verifier;
        py.detach(|| guarded(|| run(verifier))).map_err(|failure| raise(py, failure))
    }
}

#[pymethods]
impl Verifier {
    #[new]
    #[pyo3(signature = (**settings))]
    fn new(py: Python<'_>, settings: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let given = PyDict::new(py);
        for (name, value) in settings.into_iter().flat_map(|settings| settings.iter()) {
            // A setting of `None` counts as absent, as keyword arguments do in Python.
            if !value.is_none() {
                given.set_item(name, value)?;
            }
        }
        let text = to_text(given.as_any())?;
        let build = || Settings::from_json(&text)?.build();
        let verifier = py.detach(|| guarded(build)).map_err(|failure| raise(py, failure))?;
        Ok(Self { verifier: Detached::new(verifier) })
    }

    /// Checks a token now. Does no I/O.
    fn verify(&self, py: Python<'_>, token: &Bound<'_, PyString>) -> PyResult<LicenseContext> {
        let token = sent(token);
        let license = self.run(py, |verifier| verifier.verify(&token))?;
        Ok(LicenseContext { license })
    }

    /// Checks a token at a time, in seconds since 1970.
    fn verify_at(
        &self,
        py: Python<'_>,
        token: &Bound<'_, PyString>,
        now: i64,
    ) -> PyResult<LicenseContext> {
        let token = sent(token);
        let license = self.run(py, |verifier| verifier.verify_at(&token, now))?;
        Ok(LicenseContext { license })
    }

    /// Checks a token with a proof that it is in the issuer's log.
    fn verify_with_proof(
        &self,
        py: Python<'_>,
        token: &Bound<'_, PyString>,
        proof: &Bound<'_, PyString>,
    ) -> PyResult<LicenseContext> {
        let (token, proof) = (sent(token), sent(proof));
        let license = self.run(py, |verifier| verifier.verify_with_proof(&token, &proof))?;
        Ok(LicenseContext { license })
    }

    /// Checks a lease token beside its license.
    fn verify_lease(
        &self,
        py: Python<'_>,
        lease: &Bound<'_, PyString>,
        license: &LicenseContext,
        holder: &Bound<'_, PyDict>,
    ) -> PyResult<LeaseContext> {
        let (license, holder) = (&license.license, to_json(holder.as_any())?);
        let lease = sent(lease);
        let lease = self.run(py, |verifier| verifier.verify_lease(&lease, license, &holder))?;
        Ok(LeaseContext { lease })
    }

    /// Checks a lease token beside its license at a time, in seconds since 1970.
    fn verify_lease_at(
        &self,
        py: Python<'_>,
        lease: &Bound<'_, PyString>,
        license: &LicenseContext,
        holder: &Bound<'_, PyDict>,
        now: i64,
    ) -> PyResult<LeaseContext> {
        let (license, holder) = (&license.license, to_json(holder.as_any())?);
        let lease = sent(lease);
        let verify = |verifier: &dp_verifier_bindings::Verifier| {
            verifier.verify_lease_at(&lease, license, &holder, now)
        };
        Ok(LeaseContext { lease: self.run(py, verify)? })
    }

    /// Returns the current state of a license that was admitted earlier.
    fn state_of(&self, py: Python<'_>, license: &LicenseContext) -> PyResult<&'static str> {
        let license = &license.license;
        self.run(py, |verifier| Ok(verifier.state_of(license).as_str()))
    }

    /// Imports a license file.
    fn import_file<'py>(
        &self,
        py: Python<'py>,
        document: &Bound<'_, PyString>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let document = sent(document);
        to_python(py, &self.run(py, |verifier| verifier.import_file(&document))?)
    }

    /// Imports a status list token.
    fn import_status_list<'py>(
        &self,
        py: Python<'py>,
        document: &Bound<'_, PyString>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let document = sent(document);
        to_python(py, &self.run(py, |verifier| verifier.import_status_list(&document))?)
    }

    /// Replaces the configured keys by those of a key set: a dict, or its text.
    fn replace_keys(&self, py: Python<'_>, jwks: &Bound<'_, PyAny>) -> PyResult<()> {
        let text = jwks.extract::<String>().map_or_else(|_| to_text(jwks), Ok)?;
        self.run(py, |verifier| verifier.replace_keys(&text))
    }

    /// Returns the license of the data plane's own token.
    fn current(&self, py: Python<'_>) -> PyResult<LicenseContext> {
        let license = self.run(py, dp_verifier_bindings::Verifier::current)?;
        Ok(LicenseContext { license })
    }

    /// The data plane's own token, a credential, or `None`.
    #[getter]
    fn current_token(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.run(py, |verifier| Ok(verifier.current_token()))
    }

    /// Waits for the first request for a token's status list, at most some seconds.
    fn wait_for_status(&self, py: Python<'_>, token: &Bound<'_, PyString>) -> PyResult<()> {
        let token = sent(token);
        self.run(py, |verifier| {
            verifier.wait_for_status(&token);
            Ok(())
        })
    }

    /// Fetches keys, status lists and the log now.
    fn refresh(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, dp_verifier_bindings::Verifier::refresh)
    }

    /// Checks in now.
    fn check_in(&self, py: Python<'_>) -> PyResult<()> {
        self.run(py, dp_verifier_bindings::Verifier::check_in)
    }

    /// Returns whether tokens can be judged, with reasons and ages. It may be public.
    fn readiness<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.run(py, |verifier| Ok(verifier.readiness()))?)
    }

    /// Returns the details of the health, for operators and metrics.
    fn health<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.run(py, |verifier| Ok(verifier.health()))?)
    }

    /// Creates the next usage report.
    #[pyo3(signature = (counters, leases=None))]
    fn usage_report(
        &self,
        py: Python<'_>,
        counters: &Bound<'_, PyDict>,
        leases: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<String> {
        let counters = to_json(counters.as_any())?;
        let leases = leases.map_or(Ok(Value::Null), |leases| to_json(leases.as_any()))?;
        self.run(py, |verifier| verifier.usage_report(&counters, &leases))
    }

    /// Returns a client that holds seats, with the deployment's token or a license key.
    #[pyo3(signature = (credential=None, *, license_key=None))]
    fn leases(
        &self,
        py: Python<'_>,
        credential: Option<&str>,
        license_key: Option<&str>,
    ) -> PyResult<Leases> {
        let leases = match (credential, license_key) {
            (Some(credential), None) => self.verifier.leases(credential),
            (None, Some(license_key)) => self.verifier.leases_of_license_key(license_key),
            _ => {
                let detail = "leases require either `credential` or `license_key`";
                return Err(raise(py, Failure::argument(detail)));
            }
        };
        Ok(Leases { leases: Detached::new(leases) })
    }

    /// Sets the clock of a verifier with the setting `fixed_time`, for tests.
    fn set_fixed_time(&self, py: Python<'_>, now: i64) -> PyResult<()> {
        self.run(py, |verifier| verifier.set_fixed_time(now))
    }
}
