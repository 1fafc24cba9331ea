//! Status list tokens.

use std::sync::Arc;

use cp_contracts::{EncodedStatusList, EntryBits, StatusList, StatusListClaims, TokenStatus};

use crate::ErrorCode::{ClaimsInvalid, Expired};
use crate::dates::is_date;
use crate::json::document;
use crate::jws::{self, Kind};
use crate::keys::SigningKey;
use crate::{KeySet, VerifyError};

/// The maximum size of the entries of a list, in bytes: 16 times that of a list of license tokens.
const MAX_BYTES: usize = 256 * 1024;

/// The maximum `ttl` of a list, in seconds: 31 days.
const MAX_TTL: i64 = 31 * 86_400;

/// A parsed status list token.
#[derive(Clone)]
pub(crate) struct StatusListToken {
    pub(crate) text: Arc<str>,
    pub(crate) uri: String,
    /// In seconds since 1970, like `exp`.
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    /// In seconds.
    pub(crate) ttl: i64,
    pub(crate) list: StatusList,
    /// Whether `list` also has the statuses of other lists of the same second.
    pub(crate) is_merged: bool,
}

impl StatusListToken {
    /// Reads a list that a key of `key_of` has signed.
    pub(crate) fn open<'k>(
        text: &str,
        key_of: impl FnOnce(&str) -> Result<&'k SigningKey, VerifyError>,
    ) -> Result<Self, VerifyError> {
        Self::from_payload(text, &jws::open(text, Kind::STATUS_LIST, key_of)?)
    }

    /// Reads a list whose signature was checked earlier, with the statuses of other lists of the
    /// same second.
    pub(crate) fn read(
        text: &str,
        merged: Option<&EncodedStatusList>,
    ) -> Result<Self, VerifyError> {
        let document = Self::from_payload(text, &jws::unchecked_payload(text)?)?;
        let Some(EncodedStatusList { bits, lst, .. }) = merged else { return Ok(document) };
        let list = StatusList::decode(*bits, lst, MAX_BYTES)
            .map_err(|error| VerifyError::new(ClaimsInvalid, error.to_string()))?;
        Ok(Self { list, is_merged: true, ..document })
    }

    /// Merges another list of the same second. The order of the two lists is not known, so each
    /// entry gets the stricter status.
    pub(crate) fn stricter(self, other: &Self) -> Self {
        if self.list == other.list {
            return Self { is_merged: self.is_merged && other.is_merged, ..self };
        }
        let lists = [&self.list, &other.list];
        let bits = lists.map(|list| list.bits()).into_iter().max_by_key(|bits| u8::from(*bits));
        let entries = lists.map(StatusList::entries).into_iter().max().unwrap_or_default();
        let mut list = StatusList::new(bits.unwrap_or(EntryBits::Eight), entries);
        for idx in 0..entries {
            let status = lists.iter().filter_map(|list| list.status(idx)).max_by_key(rank);
            // The new list has the entries and the bits of the larger list.
            let _fits = list.set(idx, status.unwrap_or(TokenStatus::Valid));
        }
        Self { is_merged: list != self.list || self.is_merged, list, ..self }
    }

    fn from_payload(text: &str, payload: &[u8]) -> Result<Self, VerifyError> {
        let invalid = |detail: String| VerifyError::new(ClaimsInvalid, detail);
        let claims: StatusListClaims =
            document(payload).map_err(|fault| invalid(format!("claims: {fault}")))?;
        let StatusListClaims { sub: uri, iat, exp, ttl, status_list, .. } = claims;
        if !is_date(iat) || !is_date(exp) || exp <= iat {
            return Err(invalid("iat and exp must be dates, and exp must be later".to_owned()));
        }
        if !(1..=MAX_TTL).contains(&ttl) {
            return Err(invalid(format!("ttl must be 1 to {MAX_TTL} seconds (got {ttl})")));
        }
        let list = StatusList::decode(status_list.bits, &status_list.lst, MAX_BYTES)
            .map_err(|error| invalid(format!("status_list: {error}")))?;
        Ok(Self { text: text.into(), uri, iat, exp, ttl, list, is_merged: false })
    }

    /// Fails when the list has expired.
    pub(crate) fn current(&self, now: i64, leeway: i64) -> Result<(), VerifyError> {
        if now < self.exp.saturating_add(leeway) {
            return Ok(());
        }
        let ago = now.saturating_sub(self.exp);
        Err(VerifyError::new(Expired, format!("the status list expired {ago} s ago")))
    }

    /// Returns whether one of these keys has signed the list.
    pub(crate) fn is_by(&self, keys: &KeySet) -> bool {
        let unknown = || VerifyError::new(crate::ErrorCode::KidUnknown, "");
        jws::open(&self.text, Kind::STATUS_LIST, |kid| keys.find(kid).ok_or_else(unknown)).is_ok()
    }
}

/// Returns the strictness of a status. Unnamed statuses are not valid, and revoked is the
/// strictest.
fn rank(status: &TokenStatus) -> (u8, u8) {
    match status {
        TokenStatus::Valid => (0, 0),
        TokenStatus::Suspended => (1, 0),
        TokenStatus::Other(value) => (2, *value),
        TokenStatus::Invalid => (3, 0),
    }
}
