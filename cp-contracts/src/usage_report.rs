//! Usage reports of data planes without a network.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Number, Value};
use uuid::Uuid;

/// A usage report: a JSON file that an operator carries from a data plane to the control plane.
///
/// A data plane has no key, so the file is not signed. [`sequence`](Self::sequence) and
/// [`previous`](Self::previous) reveal missing, repeated and exchanged reports. Parsing refuses
/// negative counters and a sequence below 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UsageReport {
    /// The kind of document.
    pub kind: UsageReportKind,
    /// The reporting deployment.
    pub deployment_id: Uuid,
    /// The deployment's license.
    pub license_id: Uuid,
    /// The number of the report within its deployment: 1 for the first, then one more each time.
    #[serde(deserialize_with = "ordinal")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub sequence: i64,
    /// SHA-256 of the bytes of the previous report, in lower-case hex; absent in the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// The start of the reported time; inclusive.
    pub since: DateTime<Utc>,
    /// The end of the reported time; exclusive.
    pub until: DateTime<Utc>,
    /// The usage in that time, by metric, in the metric's unit; 0 or more.
    #[serde(deserialize_with = "counters")]
    pub counters: BTreeMap<String, Number>,
    /// The use of seats in that time, by pool. Since 2.10.0.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub leases: BTreeMap<String, PoolUsage>,
    /// The `seq` of the last license file that the data plane imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_seq: Option<i64>,
    /// The `iat` of the data plane's status list, in seconds since 1970-01-01T00:00:00Z.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_list_iat: Option<i64>,
    /// The last checkpoint of the log that the data plane has seen: an opaque text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<String>,
    /// The version of the contract of this report.
    pub contract: Version,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The use of one pool of seats in the time of a [`UsageReport`]. Since 2.10.0.
///
/// Parsing refuses negative numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PoolUsage {
    /// The greatest number of seats that were held at the same time.
    #[serde(deserialize_with = "count")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    pub peak: i64,
    /// The number of holders that were refused a seat.
    #[serde(deserialize_with = "count")]
    #[cfg_attr(feature = "schema", schemars(range(min = 0)))]
    pub refused: i64,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The only value of [`UsageReport::kind`]: `usage_report`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum UsageReportKind {
    /// `usage_report`.
    #[default]
    UsageReport,
}

fn ordinal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = i64::deserialize(deserializer)?;
    (number >= 1).then_some(number).ok_or_else(|| de::Error::custom("sequence is below 1"))
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let number = i64::deserialize(deserializer)?;
    (number >= 0).then_some(number).ok_or_else(|| de::Error::custom("the number is negative"))
}

fn counters<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, Number>, D::Error> {
    let counters = BTreeMap::<String, Number>::deserialize(deserializer)?;
    let is_negative = |number: &Number| number.as_f64().is_none_or(f64::is_sign_negative);
    match counters.iter().find(|(_, number)| is_negative(number)) {
        None => Ok(counters),
        Some((name, _)) => Err(de::Error::custom(format!("the counter {name:?} is negative"))),
    }
}
