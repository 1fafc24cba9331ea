//! The errors of requests about leases.

use std::fmt;

use crate::VerifyError;
use crate::fetch::{ApiError, Refusal};

/// The reason why a request about a lease has failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LeaseError {
    /// The data plane has no license for which it could hold a seat.
    License(VerifyError),
    /// The control plane refused the request. The code of the [`Refusal`] names the reason, such as
    /// `seats_exhausted`.
    Refused(Box<Refusal>),
    /// The control plane did not answer, or the client cannot be used; has the reason.
    Unreachable(String),
}

impl From<ApiError> for LeaseError {
    fn from(error: ApiError) -> Self {
        match error {
            ApiError::Refused(refusal) => Self::Refused(refusal),
            ApiError::Unreachable(why) => Self::Unreachable(why),
        }
    }
}

impl fmt::Display for LeaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::License(error) => write!(f, "the license: {error}"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Unreachable(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for LeaseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::License(error) => Some(error),
            _ => None,
        }
    }
}
