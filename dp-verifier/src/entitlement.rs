//! The errors of missing entitlements.

use std::fmt;

use crate::{LicenseState, Limit};

/// The reason why a genuine license does not entitle to an operation.
///
/// An app can return this error as it is. With the feature `axum` it is a problem document with
/// status 403.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotEntitled {
    /// The license does not enable the feature.
    Feature {
        /// The name of the feature.
        name: String,
    },
    /// The state of the license does not allow the operation.
    State {
        /// The state.
        state: LicenseState,
    },
    /// The limit of a metric is reached.
    Limit {
        /// The name of the metric.
        metric: String,
        /// The limit.
        limit: Limit,
    },
}

impl NotEntitled {
    /// Returns the code as logs, metrics and problem documents spell it.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Feature { .. } => "feature_not_included",
            Self::State { .. } => "license_state_insufficient",
            Self::Limit { .. } => "limit_reached",
        }
    }
}

impl fmt::Display for NotEntitled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Feature { name } => {
                write!(f, "the license does not include the feature {name:?}")
            }
            Self::State { state } => {
                write!(
                    f,
                    "the license is in the state {state}, which does not allow this operation"
                )
            }
            Self::Limit { metric, limit: Limit::AtMost(limit) } => {
                write!(f, "the license includes {limit} of {metric:?}, and all are in use")
            }
            Self::Limit { metric, .. } => write!(f, "the license does not include {metric:?}"),
        }
    }
}

impl std::error::Error for NotEntitled {}
