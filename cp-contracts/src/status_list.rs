//! Status lists: the revoked and suspended tokens of an issuer.
//!
//! The format is that of [`STATUS_LIST_DRAFT`]. This contract uses its JWT form, with `exp` and
//! `ttl` always present.

mod claims;
mod codec;
mod entries;

pub use self::claims::{
    EncodedStatusList, LICENSE_LIST_BITS, LICENSE_LIST_ENTRIES, STATUS_LIST_DRAFT,
    STATUS_LIST_MEDIA_TYPE, STATUS_LIST_TYP, StatusListAggregation, StatusListClaims,
};
pub use self::codec::StatusList;
pub use self::entries::{EntryBits, StatusListError, TokenStatus};
