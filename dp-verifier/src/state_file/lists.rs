//! Status lists in the state file.

use std::collections::BTreeMap;

use cp_contracts::EncodedStatusList;
use serde::{Deserialize, Serialize};

use crate::VerifyError;
use crate::crypto::sha256_hex;
use crate::status_list_token::StatusListToken;

/// The maximum number of status lists. A data plane needs one, or a few after years.
pub(crate) const MAX_LISTS: usize = 64;

/// The maximum size of a former status list that is kept in full, in bytes.
const MAX_LIST: usize = 64 * 1024;

/// The newest status list of a URL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptList {
    pub(crate) iat: i64,
    token: String,
    /// The statuses of this list merged with other lists of the same second. `None` without others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    merged: Option<EncodedStatusList>,
}

impl KeptList {
    pub(crate) fn of(document: &StatusListToken) -> Self {
        let merged = document.is_merged.then(|| document.list.to_claim());
        Self { iat: document.iat, token: document.text.as_ref().to_owned(), merged }
    }

    /// Reads the list, whose signature was checked before it was stored.
    pub(crate) fn read(&self) -> Result<StatusListToken, VerifyError> {
        StatusListToken::read(&self.token, self.merged.as_ref())
    }

    /// Stores this list unless a newer one is stored, and merges two lists of the same second.
    /// Returns `false` when this list is older.
    pub(crate) fn keep_in(self, lists: &mut BTreeMap<String, Self>, uri: &str) -> bool {
        let kept = match lists.get(uri) {
            Some(kept) if kept.iat > self.iat => return false,
            Some(kept) if kept.iat == self.iat && *kept != self => kept,
            _ => {
                lists.insert(uri.to_owned(), self);
                return true;
            }
        };
        if let (Ok(kept), Ok(new)) = (kept.read(), self.read()) {
            lists.insert(uri.to_owned(), Self::of(&new.stricter(&kept)));
        }
        true
    }
}

/// A status list from before a reset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FormerList {
    pub(super) iat: i64,
    /// The hash of the token's bytes.
    sha256: String,
    /// `None` for a long token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl FormerList {
    pub(super) fn of(list: KeptList) -> Self {
        let sha256 = sha256_hex(list.token.as_bytes());
        Self { iat: list.iat, sha256, token: Some(list.token).filter(|t| t.len() <= MAX_LIST) }
    }
}
