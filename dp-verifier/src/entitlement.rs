//! What a genuine license does not entitle to.

use std::fmt;

use crate::{LicenseState, Limit};

/// Why something is refused to the holder of a genuine license.
///
/// An app can return it as it is: with the feature `axum` it is a problem document with status 403.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotEntitled {
    /// A feature is not switched on.
    Feature {
        /// The feature.
        name: String,
    },
    /// The license is in a state in which the app does not do this.
    State {
        /// The license's state.
        state: LicenseState,
    },
    /// As much of a metric is in use as is included.
    Limit {
        /// The metric.
        metric: String,
        /// How much of it is included.
        limit: Limit,
    },
}

impl NotEntitled {
    /// The code as it stands in logs, metrics and problem documents.
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
                write!(f, "the license is in the state {state}, which does not suffice for this")
            }
            Self::Limit { metric, limit: Limit::AtMost(limit) } => {
                write!(f, "the license includes {limit} of {metric:?}, and all are in use")
            }
            Self::Limit { metric, .. } => write!(f, "the license does not include {metric:?}"),
        }
    }
}

impl std::error::Error for NotEntitled {}
