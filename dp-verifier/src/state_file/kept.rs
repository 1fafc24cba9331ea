//! The content of the state file, and the merge of two contents.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::files::{KeptFile, KeptReport};
use super::keys::KeptKeys;
use super::lists::{FormerList, KeptList, MAX_LISTS};
use super::log::{FormerLog, KeptLog};
use crate::dates::is_date;
use crate::tlog::LogKey;
use crate::{ErrorCode, VerifyError};

/// The content of the state file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptState {
    /// In seconds since 1970, like all times here.
    pub(crate) time_floor: i64,
    /// The newest status lists, by URL.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) lists: BTreeMap<String, KeptList>,
    /// The keys of license files.
    #[serde(default, skip_serializing_if = "KeptKeys::is_empty")]
    pub(crate) keys: KeptKeys,
    /// The newest license file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) file: Option<KeptFile>,
    /// The last usage report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) report: Option<KeptReport>,
    /// The issuer's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<KeptLog>,
    /// The logs before the operator accepted a log, or before another log key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) former_logs: Vec<FormerLog>,
    /// The contents before the operator reset the state, without logs and reports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) former: Vec<FormerState>,
}

/// The content before the operator reset the state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FormerState {
    /// The time of the reset, in seconds since 1970.
    pub(super) until: i64,
    pub(super) because: String,
    pub(super) time_floor: i64,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) lists: BTreeMap<String, FormerList>,
    #[serde(default, skip_serializing_if = "KeptKeys::is_empty")]
    pub(super) keys: KeptKeys,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<KeptFile>,
}

impl KeptState {
    /// Merges the content that another process has written.
    pub(super) fn merge(&mut self, other: Self) {
        match self.former.len().cmp(&other.former.len()) {
            // The content with more resets is the newer one.
            Ordering::Less => {
                self.time_floor = other.time_floor;
                (self.lists, self.keys, self.file) = (other.lists, other.keys, other.file);
                self.former = other.former;
            }
            Ordering::Greater => {}
            Ordering::Equal => {
                self.merge_documents(other.time_floor, other.lists, other.keys, other.file);
            }
        }
        let is_later = |report: &KeptReport| {
            self.report.as_ref().is_none_or(|ours| ours.sequence < report.sequence)
        };
        if let Some(report) = other.report.filter(is_later) {
            self.report = Some(report);
        }
        match self.former_logs.len().cmp(&other.former_logs.len()) {
            // The same holds for logs.
            Ordering::Less => (self.log, self.former_logs) = (other.log, other.former_logs),
            Ordering::Greater => {}
            Ordering::Equal => match (&mut self.log, other.log) {
                (Some(ours), Some(its)) => ours.merge(its),
                (ours @ None, its) => *ours = its,
                (Some(_), None) => {}
            },
        }
    }

    fn merge_documents(
        &mut self,
        time_floor: i64,
        lists: BTreeMap<String, KeptList>,
        keys: KeptKeys,
        file: Option<KeptFile>,
    ) {
        self.time_floor = self.time_floor.max(time_floor);
        for (uri, list) in lists {
            if self.lists.len() < MAX_LISTS || self.lists.contains_key(&uri) {
                list.keep_in(&mut self.lists, &uri);
            }
        }
        self.keys.merge(keys);
        let is_newer = |file: &KeptFile| self.file.as_ref().is_none_or(|ours| ours.seq < file.seq);
        if let Some(file) = file.filter(is_newer) {
            self.file = Some(file);
        }
    }

    /// Returns whether all values are within their bounds.
    pub(super) fn is_plausible(&self) -> bool {
        is_date(self.time_floor)
            && self.lists.len() <= MAX_LISTS
            && self.lists.values().all(|list| is_date(list.iat))
            && self.keys.is_plausible()
            && self.file.as_ref().is_none_or(|file| file.seq >= 1)
            && self.report.as_ref().is_none_or(|report| report.sequence >= 1)
    }

    /// Moves everything but the log and the reports to `former`.
    pub(super) fn reset(&mut self, until: i64, because: &str) {
        let before = std::mem::take(self);
        *self = Self {
            report: before.report,
            log: before.log,
            former_logs: before.former_logs,
            former: before.former,
            ..Self::default()
        };
        self.former.push(FormerState {
            until,
            because: because.to_owned(),
            time_floor: before.time_floor,
            lists: before.lists.into_iter().map(|(uri, l)| (uri, FormerList::of(l))).collect(),
            keys: before.keys,
            file: before.file,
        });
    }

    /// Returns the log key of an earlier run, or `None`.
    pub(crate) fn log_key(&self) -> Option<&str> {
        let former = || self.former_logs.last().map(|former| former.log.vkey());
        self.log.as_ref().map(KeptLog::vkey).or_else(former)
    }

    /// Fails when another log key has replaced this one since the operator last accepted a log. A
    /// replaced key may have been stolen, so an old setting must not bring it back.
    pub(crate) fn not_replaced(&self, key: &LogKey) -> Result<(), VerifyError> {
        let since = self
            .former_logs
            .iter()
            .rev()
            .map_while(|former| former.replaced_by.as_ref().map(|by| (former.log.vkey(), by)));
        let vkey = key.to_string();
        let replaced = since.into_iter().filter(|(former, _)| *former == vkey).last();
        match replaced.filter(|_| self.log_key() != Some(&vkey)) {
            None => Ok(()),
            Some((_, by)) => {
                let detail = format!(
                    "the state file says that {by} replaced this log key: configure the new key, or run \
                     `dp-verify log accept` to accept the old one"
                );
                Err(VerifyError::new(ErrorCode::ProofInvalid, detail))
            }
        }
    }
}
