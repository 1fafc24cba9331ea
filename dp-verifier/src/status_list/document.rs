//! One status list token.

use std::sync::Arc;

use cp_contracts::{StatusList, StatusListClaims};

use crate::ErrorCode::{ClaimsInvalid, Expired};
use crate::claims::is_date;
use crate::crypto::PublicKey;
use crate::json::document;
use crate::jws::{self, Kind};
use crate::{KeySet, VerifyError};

/// The most bytes that the entries of a list may take: 16 times as many as a list of license tokens
/// has.
const MAX_BYTES: usize = 256 * 1024;

/// The longest time, in seconds, for which a list may ask not to be asked for: 31 days.
const MAX_TTL: i64 = 31 * 86_400;

/// A status list token that was read.
pub(crate) struct Document {
    pub(crate) text: Arc<str>,
    pub(crate) uri: String,
    /// In seconds since 1970, like `exp`.
    pub(crate) iat: i64,
    pub(crate) exp: i64,
    /// In seconds.
    pub(crate) ttl: i64,
    pub(crate) list: StatusList,
}

impl Document {
    /// Reads a list whose signature is by a key that `key_of` knows.
    pub(crate) fn open<'k>(
        text: &str,
        key_of: impl FnOnce(&str) -> Result<&'k PublicKey, VerifyError>,
    ) -> Result<Self, VerifyError> {
        Self::from_payload(text, &jws::open(text, Kind::STATUS_LIST, key_of)?)
    }

    /// Reads a list that was found genuine earlier.
    pub(crate) fn read(text: &str) -> Result<Self, VerifyError> {
        Self::from_payload(text, &jws::unchecked_payload(text)?)
    }

    fn from_payload(text: &str, payload: &[u8]) -> Result<Self, VerifyError> {
        let invalid = |detail: String| VerifyError::new(ClaimsInvalid, detail);
        let claims: StatusListClaims =
            document(payload).map_err(|fault| invalid(format!("claims: {fault}")))?;
        let StatusListClaims { sub: uri, iat, exp, ttl, status_list, .. } = claims;
        if !is_date(iat) || !is_date(exp) || exp <= iat {
            return Err(invalid("iat and exp are not two dates in this order".to_owned()));
        }
        if !(1..=MAX_TTL).contains(&ttl) {
            return Err(invalid(format!("ttl is {ttl}, not 1 to {MAX_TTL} seconds")));
        }
        let list = StatusList::decode(status_list.bits, &status_list.lst, MAX_BYTES)
            .map_err(|error| invalid(format!("status_list: {error}")))?;
        Ok(Self { text: text.into(), uri, iat, exp, ttl, list })
    }

    /// Whether it is not over yet.
    pub(crate) fn current(&self, now: i64, leeway: i64) -> Result<(), VerifyError> {
        if now < self.exp.saturating_add(leeway) {
            return Ok(());
        }
        let ago = now.saturating_sub(self.exp);
        Err(VerifyError::new(Expired, format!("the status list expired {ago} s ago")))
    }

    /// Whether one of these keys has signed it.
    pub(crate) fn is_by(&self, keys: &KeySet) -> bool {
        let unknown = || VerifyError::new(crate::ErrorCode::KidUnknown, "");
        jws::open(&self.text, Kind::STATUS_LIST, |kid| keys.find(kid).ok_or_else(unknown)).is_ok()
    }
}
