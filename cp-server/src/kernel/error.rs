//! One error for every operation, and its rendering as a problem document (RFC 9457).

use std::borrow::Cow;

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cp_contracts::{Problem, ProblemCode};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::kernel::db::failures::{InDoubt, constraint_of};
use crate::kernel::db::writer::cause;
use crate::kernel::taken::taken;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation did not happen, in words for the one who asked.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: ProblemCode,
    detail: Cow<'static, str>,
    field: Option<Cow<'static, str>>,
    extra: Map<String, Value>,
    retry_after: Option<u32>,
    /// What the log tells and the answer does not.
    cause: Option<anyhow::Error>,
    constraint: Option<String>,
    /// Others were faster: the operation may start over.
    retryable: bool,
}

/// What a violated foreign key is called; SQLite does not name it.
const REFERENCE: &str = "reference";

impl Error {
    pub fn new(code: ProblemCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            code,
            detail: detail.into(),
            field: None,
            extra: Map::new(),
            retry_after: None,
            cause: None,
            constraint: None,
            retryable: false,
        }))
    }

    /// What the operation read has changed before it wrote: start over.
    pub fn stale() -> Self {
        let mut error = Self::new(
            ProblemCode::Conflict,
            "Others changed the same thing at the same time, again and again; try once more.",
        );
        error.0.retryable = true;
        error
    }

    /// The state of the thing does not allow it.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ProblemCode::Conflict, detail)
    }

    /// Also for what the caller may not know of: both read the same.
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
        let detail = "The server failed; its log tells why, under this request's id.";
        let mut error = Self::new(ProblemCode::Internal, detail);
        error.0.cause = Some(cause.into());
        error
    }

    pub fn unavailable(detail: impl Into<Cow<'static, str>>, retry_after: u32) -> Self {
        let mut error = Self::new(ProblemCode::Unavailable, detail);
        error.0.retry_after = Some(retry_after);
        error
    }

    fn unavailable_because(
        detail: &'static str,
        retry_after: u32,
        cause: impl Into<anyhow::Error>,
    ) -> Self {
        let mut error = Self::unavailable(detail, retry_after);
        error.0.cause = Some(cause.into());
        error
    }

    pub fn rate_limited(detail: impl Into<Cow<'static, str>>, retry_after: u32) -> Self {
        let mut error = Self::new(ProblemCode::RateLimited, detail);
        error.0.retry_after = Some(retry_after);
        error
    }

    /// Names the field that is at fault.
    pub fn at(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.0.field = Some(field.into());
        self
    }

    /// Adds a member to the problem document.
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        // Only a map whose keys are no texts could fail, and no problem has one.
        let value = serde_json::to_value(value).unwrap_or_default();
        self.0.extra.insert(name.to_owned(), value);
        self
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

    /// A reference that stands in the way of a deletion is use, not absence.
    pub fn of(self, method: &Method) -> Self {
        if *method == Method::DELETE && self.constraint() == Some(REFERENCE) {
            let detail = "Other objects refer to it; delete or move them first.";
            return Self::new(ProblemCode::InUse, detail);
        }
        self
    }

    /// The index whose uniqueness was violated, if that is what happened.
    pub fn constraint(&self) -> Option<&str> {
        self.0.constraint.as_deref()
    }

    pub fn document(&self) -> Problem {
        Problem {
            kind: format!("/problems/{}", self.0.code),
            title: self.0.code.title().to_owned(),
            status: self.0.code.status(),
            detail: self.0.detail.clone().into_owned(),
            code: self.0.code.clone(),
            field: self.0.field.clone().map(Cow::into_owned),
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

/// No database text leaks: what is a fact of the domain gets domain words, the rest goes to the log.
impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match cause(&error) {
            // Authorization saw it a moment ago; somebody else deleted it since.
            sqlx::Error::RowNotFound => Self::not_found("object"),
            sqlx::Error::Io(lost) if lost.get_ref().is_some_and(|inner| inner.is::<InDoubt>()) => {
                Self::unavailable_because(
                    "The connection to the database was lost while the change was committed: it was \
                     made, or it was not. Repeat it with its Idempotency-Key, or read what is there.",
                    5,
                    error,
                )
            }
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::Io(_) => {
                Self::unavailable_because(
                    "The database cannot be reached; nothing was changed.",
                    5,
                    error,
                )
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
                    "Something that the request refers to does not exist here.",
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
                    "The disk did not confirm the change, which counts as not done; only a crash \
                     right now could still bring it about. Repeat it with its Idempotency-Key.",
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

/// A grant was taken, the database is read-only, or a trigger says no: an operator has to act, and the
/// request may be sent again then.
fn is_forbidden(refusal: &dyn sqlx::error::DatabaseError) -> bool {
    // SQLite: CONSTRAINT_TRIGGER. PostgreSQL: insufficient privilege, read-only transaction, RAISE.
    matches!(refusal.code().as_deref(), Some("1811" | "42501" | "25006" | "P0001"))
}

/// A sync failed: what was written may be on the disk all the same.
fn is_in_doubt(refusal: &dyn sqlx::error::DatabaseError) -> bool {
    // SQLite: IOERR_FSYNC.
    refusal.code().as_deref() == Some("1034")
}

/// Disk full, read-only or locked away: the next attempt may succeed once an operator acted.
fn is_full(refusal: &dyn sqlx::error::DatabaseError) -> bool {
    // SQLite: BUSY 5, READONLY 8, IOERR 10, FULL 13, CANTOPEN 14, in the low byte of the extended
    // code. PostgreSQL: classes 53 (insufficient resources), 57P (operator intervention).
    match refusal.code().as_deref() {
        Some(code) if code.len() == 5 => code.starts_with("53") || code.starts_with("57P"),
        Some(code) => {
            code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 8 | 10 | 13 | 14))
        }
        None => false,
    }
}

/// Turns a violated unique index into the domain's own words.
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
        // The outermost layer adds the request's id and writes the log line.
        response.extensions_mut().insert(std::sync::Arc::new(self));
        response
    }
}
