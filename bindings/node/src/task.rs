//! Work on a thread of Node's pool, and errors.

use dp_verifier_bindings::{Failure, guarded};
use napi::bindgen_prelude::{AsyncTask, ToNapiValue, TypeName};
use napi::{Env, Error, Result, Task};

type Work<T> = Box<dyn FnOnce() -> std::result::Result<T, Failure> + Send>;

/// A function that runs on a thread of Node's pool.
pub struct Job<T>(Option<Work<T>>);

impl<T: ToNapiValue + TypeName + Send + 'static> Task for Job<T> {
    type Output = T;
    type JsValue = T;

    fn compute(&mut self) -> Result<T> {
        let gone = || Failure::internal("the job has run before");
        let work = self.0.take().ok_or_else(gone).map_err(error)?;
        guarded(work).map_err(error)
    }

    fn resolve(&mut self, _env: Env, output: T) -> Result<T> {
        Ok(output)
    }
}

/// Runs a function on a thread of Node's pool.
pub(crate) fn job<T: ToNapiValue + TypeName + Send + 'static>(
    work: impl FnOnce() -> std::result::Result<T, Failure> + Send + 'static,
) -> AsyncTask<Job<T>> {
    AsyncTask::new(Job(Some(Box::new(work))))
}

/// Returns the error of a failure: its JSON.
#[expect(clippy::needless_pass_by_value, reason = "`map_err` passes values")]
pub(crate) fn error(failure: Failure) -> Error {
    Error::from_reason(failure.to_json().to_string())
}
