//! Metrics: the quantities of plans and quotas, the way each is counted, and the accepted values.

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer};

crate::text_enum! {
    /// A metric that the server knows.
    Metric {
        Projects = "projects",
        ConcurrentRuns = "concurrent_runs",
        RunsPerMonth = "runs_per_month",
        ApiCallsPerMonth = "api_calls_per_month",
        StorageBytes = "storage_bytes",
        Members = "members",
        ArtifactsPerRun = "artifacts_per_run",
        ComputeMinutesPerMonth = "compute_minutes_per_month",
        ArtifactRetentionDays = "artifact_retention_days",
        RequestsPerMinute = "requests_per_minute",
    }
}

/// The way in which the use of a metric is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Counted from the rows of the resource.
    Counted,
    /// Held until it is returned.
    Gauge,
    /// Held until the month (UTC) ends.
    Monthly,
    /// A limit of each single resource, without a use.
    Bound,
}

/// The prefix of the vendor's own metrics.
pub const OWN_PREFIX: &str = "x_";

impl Metric {
    pub fn kind(self) -> Kind {
        match self {
            Self::Projects | Self::Members => Kind::Counted,
            Self::ConcurrentRuns | Self::StorageBytes => Kind::Gauge,
            Self::RunsPerMonth | Self::ApiCallsPerMonth | Self::ComputeMinutesPerMonth => {
                Kind::Monthly
            }
            Self::ArtifactsPerRun | Self::ArtifactRetentionDays | Self::RequestsPerMinute => {
                Kind::Bound
            }
        }
    }

    /// Returns the limit of an organization without a plan.
    pub fn least(self) -> i64 {
        match self {
            Self::Projects | Self::Members => 3,
            Self::ConcurrentRuns => 1,
            Self::RunsPerMonth => 100,
            Self::ApiCallsPerMonth => 1000,
            Self::StorageBytes => 5 << 30,
            Self::ArtifactsPerRun | Self::RequestsPerMinute => 10,
            Self::ComputeMinutesPerMonth => 60,
            Self::ArtifactRetentionDays => 7,
        }
    }

    pub fn noun(self) -> &'static str {
        match self {
            Self::Projects => "project",
            Self::ConcurrentRuns => "concurrent run",
            Self::RunsPerMonth => "monthly run",
            Self::ApiCallsPerMonth => "monthly API call",
            Self::StorageBytes => "storage",
            Self::Members => "member",
            Self::ArtifactsPerRun => "artifact",
            Self::ComputeMinutesPerMonth => "monthly compute",
            Self::ArtifactRetentionDays => "artifact retention",
            Self::RequestsPerMinute => "request",
        }
    }
}

/// A limit of a metric: a whole number of at least 0, or unlimited.
///
/// In JSON, `"unlimited"`, `null` and `-1` mean unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound(pub Option<i64>);

/// A limit in a PATCH, where `"not_included"` removes the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoundPatch {
    NotIncluded,
    Set(Bound),
}

const UNLIMITED: &str = "unlimited";
const NOT_INCLUDED: &str = "not_included";

/// Reads a bound, or [`NOT_INCLUDED`] in a PATCH.
struct Reader;

fn refused<E: de::Error>() -> E {
    E::custom("must be a whole number of at least 0, \"unlimited\" or null")
}

fn number<E: de::Error>(n: i64) -> Result<BoundPatch, E> {
    match n {
        -1 => Ok(BoundPatch::Set(Bound(None))),
        0.. => Ok(BoundPatch::Set(Bound(Some(n)))),
        _ => Err(refused()),
    }
}

impl Visitor<'_> for Reader {
    type Value = BoundPatch;
    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a whole number of at least 0, \"unlimited\" or null")
    }
    fn visit_unit<E>(self) -> Result<BoundPatch, E> {
        Ok(BoundPatch::Set(Bound(None)))
    }
    fn visit_i64<E: de::Error>(self, n: i64) -> Result<BoundPatch, E> {
        number(n)
    }
    fn visit_u64<E: de::Error>(self, n: u64) -> Result<BoundPatch, E> {
        number(i64::try_from(n).map_err(|_| refused())?)
    }
    fn visit_str<E: de::Error>(self, word: &str) -> Result<BoundPatch, E> {
        match word {
            UNLIMITED => Ok(BoundPatch::Set(Bound(None))),
            NOT_INCLUDED => Ok(BoundPatch::NotIncluded),
            _ => Err(refused()),
        }
    }
}

impl<'de> Deserialize<'de> for BoundPatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match BoundPatch::deserialize(deserializer)? {
            BoundPatch::Set(bound) => Ok(bound),
            BoundPatch::NotIncluded => Err(refused()),
        }
    }
}

/// The schema of a bound that also accepts these words.
macro_rules! bound_schema {
    ($($type:ident: $words:expr;)+) => {$(
        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let number = serde_json::json!({
                    "type": ["integer", "null"], "format": "int64", "minimum": -1,
                });
                let word = serde_json::json!({"type": "string", "enum": $words});
                schemars::json_schema!({"anyOf": [number, word]})
            }
        }
    )+};
}

bound_schema! {
    Bound: [UNLIMITED];
    BoundPatch: [UNLIMITED, NOT_INCLUDED];
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    #[test]
    fn bound_reads_numbers_and_words() {
        let read = |value: Value| from_value::<Bound>(value).map(|bound| bound.0).ok();
        for (value, want) in [
            (json!(0), Some(Some(0))),
            (json!(i64::MAX), Some(Some(i64::MAX))),
            (json!(-1), Some(None)),
            (json!(null), Some(None)),
            (json!("unlimited"), Some(None)),
            (json!("not_included"), None),
            (json!("Unlimited"), None),
            (json!(-2), None),
            (json!(1.5), None),
            (json!(u64::MAX), None),
            (json!(true), None),
        ] {
            assert_eq!(read(value.clone()), want, "{value}");
        }
        let removal = from_value::<BoundPatch>(json!("not_included")).unwrap();
        assert_eq!(removal, BoundPatch::NotIncluded);
    }
}
