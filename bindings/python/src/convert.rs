//! Conversions: JSON, times, failures.

use std::borrow::Cow;

use dp_verifier_bindings::{Failure, Kind};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyInt, PyString, PyType};
use serde_json::Value;

/// Returns a JSON value as a Python object.
pub(crate) fn to_python<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    LOADS.import(py, "json", "loads")?.call1((value.to_string(),))
}

/// Returns a Python object as the text of JSON. Paths and UUIDs become strings, and other objects are
/// refused.
pub(crate) fn to_text(object: &Bound<'_, PyAny>) -> PyResult<String> {
    static DUMPS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    DUMPS.import(object.py(), "dp_verifier._json", "dumps")?.call1((object,))?.extract()
}

/// Returns a token or a document, which others may have sent. An unpaired surrogate is replaced, so the
/// verifier refuses the text as malformed: it is no mistake of the application.
pub(crate) fn sent<'a>(text: &'a Bound<'_, PyString>) -> Cow<'a, str> {
    text.to_string_lossy()
}

/// Reads a number of things or seconds.
pub(crate) fn count(name: &str, number: &Bound<'_, PyInt>) -> PyResult<u64> {
    number.extract().or_else(|_| match number.lt(0)? {
        true => {
            let detail = format!("`{name}` must be at least 0");
            Err(raise(number.py(), Failure::argument(detail)))
        }
        // No license includes more than that.
        false => Ok(u64::MAX),
    })
}

/// Returns a Python object as a JSON value.
pub(crate) fn to_json(object: &Bound<'_, PyAny>) -> PyResult<Value> {
    let invalid = |error| raise(object.py(), Failure::argument(error));
    serde_json::from_str(&to_text(object)?).map_err(invalid)
}

/// Returns seconds since 1970 as a `datetime` in UTC, or `None` beyond its years.
pub(crate) fn to_datetime<'py>(
    py: Python<'py>,
    seconds: i64,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    static DATETIME: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static TIMEZONE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let utc = TIMEZONE.import(py, "datetime", "timezone")?.getattr("utc")?;
    let class = DATETIME.import(py, "datetime", "datetime")?;
    Ok(class.call_method1("fromtimestamp", (seconds, utc)).ok())
}

/// Returns a UUID as a `uuid.UUID`.
pub(crate) fn to_uuid<'py>(py: Python<'py>, uuid: &str) -> PyResult<Bound<'py, PyAny>> {
    static UUID: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    UUID.import(py, "uuid", "UUID")?.call1((uuid,))
}

/// Returns the exception of a failure.
pub(crate) fn raise(py: Python<'_>, failure: Failure) -> PyErr {
    static REFUSED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static SETTINGS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static FETCH: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static LEASE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static NOT_ENTITLED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static OTHER: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let (class, name) = match failure.kind {
        Kind::Refused => (&REFUSED, "VerifyError"),
        Kind::Settings => (&SETTINGS, "SettingsError"),
        Kind::Fetch => (&FETCH, "FetchError"),
        Kind::Lease => (&LEASE, "LeaseError"),
        Kind::NotEntitled => (&NOT_ENTITLED, "NotEntitled"),
        Kind::Internal => (&OTHER, "LicenseError"),
    };
    let state = failure.state.map(|state| state.as_str());
    let (code, detail) = (failure.code, failure.detail);
    let arguments = (code, detail, failure.http_status, failure.advice, state);
    let raised = class.import(py, "dp_verifier.errors", name);
    match raised.and_then(|class| class.call1(arguments)) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}
