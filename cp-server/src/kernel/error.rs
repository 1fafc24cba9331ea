//! The error of every operation, and its rendering as a problem document (RFC 9457).

use std::borrow::Cow;

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cp_contracts::{FieldError, Problem, ProblemCode};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::kernel::db::failures::{InDoubt, constraint_of, is_disconnected};
use crate::kernel::db::writer::cause;
use crate::kernel::taken::taken;
use crate::kernel::traces::Failure;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The reason why an operation failed, worded for its caller.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: ProblemCode,
    detail: Cow<'static, str>,
    field: Option<Cow<'static, str>>,
    errors: Vec<FieldError>,
    extra: Map<String, Value>,
    retry_after: Option<u32>,
    /// The name of the exceeded limit, by which the metrics count the refusal.
    limit: Option<&'static str>,
    /// The cause, which the log contains and the response does not.
    cause: Option<anyhow::Error>,
    constraint: Option<String>,
    /// Whether the operation may start over, because another request was faster.
    retryable: bool,
}

/// The name of a violated foreign key; SQLite does not report its own name.
const REFERENCE: &str = "reference";

impl Error {
    pub fn new(code: ProblemCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            code,
            detail: detail.into(),
            field: None,
            errors: Vec::new(),
            extra: Map::new(),
            retry_after: None,
            limit: None,
            cause: None,
            constraint: None,
            retryable: false,
        }))
    }

    /// Returns the error of an operation whose input changed before its write: the operation starts
    /// over.
    pub fn stale() -> Self {
        let mut error = Self::new(
            ProblemCode::Conflict,
            "Other requests repeatedly changed the same object at the same time; try again.",
        );
        error.0.retryable = true;
        error
    }

    /// Returns the error for a state that does not allow the operation.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ProblemCode::Conflict, detail)
    }

    /// Returns the error for a missing object. An object that the caller may not see reads the
    /// same.
    pub fn not_found(noun: &str) -> Self {
        Self::new(ProblemCode::NotFound, format!("{noun} not found"))
    }

    pub fn invalid(
        field: impl Into<Cow<'static, str>>,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::new(ProblemCode::Invalid, detail).at(field)
    }

    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ProblemCode::BadRequest, detail)
    }

    pub fn unauthenticated(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ProblemCode::Unauthenticated, detail)
    }

    pub fn internal(cause: impl Into<anyhow::Error>) -> Self {
        let detail = "The server failed. Its log contains the cause under this request's ID.";
        let mut error = Self::new(ProblemCode::Internal, detail);
        error.0.cause = Some(cause.into());
        error
    }

    pub fn unavailable(detail: impl Into<Cow<'static, str>>, retry_after: u32) -> Self {
        let mut error = Self::new(ProblemCode::Unavailable, detail);
        error.0.retry_after = Some(retry_after);
        error
    }

    /// Returns 503 with a cause, which the log contains and the response does not.
    pub fn unavailable_because(
        detail: &'static str,
        retry_after: u32,
        cause: impl Into<anyhow::Error>,
    ) -> Self {
        let mut error = Self::unavailable(detail, retry_after);
        error.0.cause = Some(cause.into());
        error
    }

    /// Returns the error of a limit, which the metrics count by its name. The member `metric` is also
    /// the name.
    pub fn rate_limited(
        limit: &'static str,
        detail: impl Into<Cow<'static, str>>,
        retry_after: u32,
    ) -> Self {
        let mut error = Self::new(ProblemCode::RateLimited, detail).with("metric", limit);
        error.0.retry_after = Some(retry_after);
        error.0.limit = Some(limit);
        error
    }

    /// Returns the name of the exceeded limit.
    pub fn limit(&self) -> Option<&'static str> {
        self.0.limit
    }

    /// Returns the seconds after which the caller may retry.
    pub fn retry_after(&self) -> Option<u32> {
        self.0.retry_after
    }

    /// Sets the seconds after which the caller may retry.
    pub fn after(mut self, retry_after: u32) -> Self {
        self.0.retry_after = Some(retry_after);
        self
    }

    /// Names the invalid field.
    pub fn at(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Adds the refusals of all fields of a request, of which the first is this error.
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// Adds a member to the problem document.
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        // Only a map with keys that are not strings could fail, and no problem has one.
        let value = serde_json::to_value(value).unwrap_or_default();
        self.0.extra.insert(name.to_owned(), value);
        self
    }

    /// Returns a member that [`Self::with`] added.
    pub fn member(&self, name: &str) -> Option<&Value> {
        self.0.extra.get(name)
    }

    pub fn code(&self) -> &ProblemCode {
        &self.0.code
    }

    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    pub fn cause(&self) -> Option<&anyhow::Error> {
        self.0.cause.as_ref()
    }

    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// Turns a reference that prevents a deletion into `in_use`: it is use, not absence.
    pub fn of(self, method: &Method) -> Self {
        if *method == Method::DELETE && self.constraint() == Some(REFERENCE) {
            let detail = "Other objects refer to this object; delete or move them first.";
            return Self::new(ProblemCode::InUse, detail);
        }
        self
    }

    /// Returns the unique index that was violated, if any.
    pub fn constraint(&self) -> Option<&str> {
        self.0.constraint.as_deref()
    }

    /// Returns the problem document of a server at the root of its host.
    pub fn document(&self) -> Problem {
        self.document_below("")
    }

    /// Returns the problem document of a server below this path, where the page of the code is.
    pub fn document_below(&self, base_path: &str) -> Problem {
        Problem {
            kind: format!("{base_path}/problems/{}", self.0.code),
            title: self.0.code.title().to_owned(),
            status: self.0.code.status(),
            detail: self.0.detail.clone().into_owned(),
            code: self.0.code.clone(),
            field: self.0.field.clone().map(Cow::into_owned),
            errors: self.0.errors.clone(),
            request_id: None,
            extra: self.0.extra.clone(),
        }
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.detail)?;
        if let Some(cause) = &self.0.cause {
            write!(f, " ({cause:#})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Database messages never leak: constraint violations get words of the domain, and the log gets
/// the rest.
impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match cause(&error) {
            // Authorization saw the object just before; another request deleted it since.
            sqlx::Error::RowNotFound => Self::not_found("object"),
            sqlx::Error::Io(lost) if lost.get_ref().is_some_and(|inner| inner.is::<InDoubt>()) => {
                Self::unavailable_because(
                    "The connection to the database was lost during the commit: the change may or may \
                     not have been made. Repeat the request with its Idempotency-Key, or read the state.",
                    5,
                    error,
                )
            }
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) => {
                Self::unavailable_because(UNREACHED, 5, error)
            }
            sqlx::Error::Database(refusal) if is_disconnected(refusal.as_ref()) => {
                Self::unavailable_because(UNREACHED, 5, error)
            }
            // PostgreSQL: query canceled, lock not available.
            sqlx::Error::Database(refusal)
                if matches!(refusal.code().as_deref(), Some("57014" | "55P03")) =>
            {
                let detail =
                    "The database ended a statement that took too long; nothing was changed.";
                Self::unavailable_because(detail, 5, error)
            }
            sqlx::Error::Database(refusal) if refusal.is_unique_violation() => {
                let name = constraint_of(refusal.as_ref());
                let mut conflict = match taken(&name) {
                    Some(taken) => Self::new(taken.code, taken.detail).at(taken.field),
                    None => Self::new(ProblemCode::Conflict, "Another object has the same value."),
                };
                conflict.0.constraint = Some(name);
                conflict
            }
            sqlx::Error::Database(refusal) if refusal.is_foreign_key_violation() => {
                let mut missing = Self::new(
                    ProblemCode::NotFound,
                    "An object that the request refers to does not exist.",
                );
                missing.0.constraint = Some(REFERENCE.to_owned());
                missing
            }
            // PostgreSQL: serialization failure, deadlock.
            sqlx::Error::Database(refusal)
                if matches!(refusal.code().as_deref(), Some("40001" | "40P01")) =>
            {
                Self::stale()
            }
            sqlx::Error::Database(refusal) if is_in_doubt(refusal.as_ref()) => {
                Self::unavailable_because(
                    "The disk did not confirm the change, which counts as not made; only a crash \
                     right now could still restore it. Repeat the request with its Idempotency-Key.",
                    30,
                    error,
                )
            }
            sqlx::Error::Database(refusal) if is_full(refusal.as_ref()) => {
                Self::unavailable_because(
                    "The database cannot write; nothing was changed.",
                    30,
                    error,
                )
            }
            sqlx::Error::Database(refusal) if is_forbidden(refusal.as_ref()) => {
                Self::unavailable_because(
                    "The database refuses to write; nothing was changed.",
                    30,
                    error,
                )
            }
            _ => Self::internal(error),
        }
    }
}

/// The refusal of a request that got no connection.
const UNREACHED: &str = "The database cannot be reached or is busy; nothing was changed.";

/// Whether a privilege was revoked, the database is read-only, or a trigger refused: an operator
/// must act, and the request may be repeated afterwards.
fn is_forbidden(refusal: &dyn sqlx::error::DatabaseError) -> bool {
    // SQLite: CONSTRAINT_TRIGGER. PostgreSQL: insufficient privilege, read-only transaction, RAISE.
    matches!(refusal.code().as_deref(), Some("1811" | "42501" | "25006" | "P0001"))
}

/// Whether a sync failed: the written data may be on the disk nevertheless.
fn is_in_doubt(refusal: &dyn sqlx::error::DatabaseError) -> bool {
    // SQLite: IOERR_FSYNC.
    refusal.code().as_deref() == Some("1034")
}

/// Whether the disk is full, read-only or locked: the next attempt may succeed after an operator
/// acts.
fn is_full(refusal: &dyn sqlx::error::DatabaseError) -> bool {
    // SQLite: BUSY 5, READONLY 8, IOERR 10, FULL 13, CANTOPEN 14, in the low byte of the extended
    // code. PostgreSQL: class 53 (insufficient resources).
    match refusal.code().as_deref() {
        Some(code) if code.len() == 5 => code.starts_with("53"),
        Some(code) => {
            code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 8 | 10 | 13 | 14))
        }
        None => false,
    }
}

/// Replaces the violation of a unique index by an error in words of the domain.
pub trait OnConflict<T> {
    fn on_conflict(self, index: &str, refusal: impl FnOnce() -> Error) -> Result<T>;
}

impl<T, E: Into<Error>> OnConflict<T> for Result<T, E> {
    fn on_conflict(self, index: &str, refusal: impl FnOnce() -> Error) -> Result<T> {
        self.map_err(|error| {
            let error = error.into();
            if error.constraint() == Some(index) { refusal() } else { error }
        })
    }
}

impl Failure for Error {
    fn kind(&self) -> Cow<'static, str> {
        self.0.code.as_str().to_owned().into()
    }

    fn is_fault(&self) -> bool {
        self.0.code.status() >= 500
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let document = self.document();
        let status =
            StatusCode::from_u16(document.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        // The outermost layer adds the request's ID and writes the log line.
        response.extensions_mut().insert(std::sync::Arc::new(self));
        response
    }
}
