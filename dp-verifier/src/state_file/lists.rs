//! What is kept of status lists.

use std::collections::BTreeMap;

use cp_contracts::EncodedStatusList;
use serde::{Deserialize, Serialize};

use crate::VerifyError;
use crate::crypto::sha256_hex;
use crate::status_list_token::StatusListToken;

/// How many lists of an issuer are held. A data plane needs one, or a few after years.
pub(crate) const MAX_LISTS: usize = 64;

/// Larger status lists are not kept aside in full, in bytes.
const MAX_LIST: usize = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptList {
    pub(crate) iat: i64,
    token: String,
    /// What this list and others of the same second have taken back; none when there was no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    merged: Option<EncodedStatusList>,
}

impl KeptList {
    pub(crate) fn of(document: &StatusListToken) -> Self {
        let merged = document.is_merged.then(|| document.list.to_claim());
        Self { iat: document.iat, token: document.text.as_ref().to_owned(), merged }
    }

    /// The list, which was found genuine when it was kept.
    pub(crate) fn read(&self) -> Result<StatusListToken, VerifyError> {
        StatusListToken::read(&self.token, self.merged.as_ref())
    }

    /// Keeps it unless a newer one is kept; of two of the same second, what either has taken back.
    /// Returns whether it is not older.
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

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FormerList {
    pub(super) iat: i64,
    /// Of its bytes.
    sha256: String,
    /// None when it is long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl FormerList {
    pub(super) fn of(list: KeptList) -> Self {
        let sha256 = sha256_hex(list.token.as_bytes());
        Self { iat: list.iat, sha256, token: Some(list.token).filter(|t| t.len() <= MAX_LIST) }
    }
}
