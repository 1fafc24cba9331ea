//! Status lists: which of the tokens that an issuer has handed out it has taken back.
//!
//! The form is that of [`STATUS_LIST_DRAFT`], of which this contract uses a part: the JWT form, with
//! `exp` and `ttl` always present.

mod codec;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use codec::{StatusList, StatusListError};

/// The version of the specification that section numbers in this crate refer to.
pub const STATUS_LIST_DRAFT: &str = "draft-ietf-oauth-status-list-21";

/// The `typ` of a status list token's header.
pub const STATUS_LIST_TYP: &str = "statuslist+jwt";

/// The media type under which a status list token is asked for and served.
pub const STATUS_LIST_MEDIA_TYPE: &str = "application/statuslist+jwt";

/// How many bits an entry of a list of license tokens has.
pub const LICENSE_LIST_BITS: EntryBits = EntryBits::Two;

/// How many entries a list of license tokens has; those that stand for no token are valid.
pub const LICENSE_LIST_ENTRIES: u64 = 65_536;

/// The payload of a status list token, a JWT (RFC 7519) signed like a license token, whose header
/// has `typ` [`STATUS_LIST_TYP`] (§5.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatusListClaims {
    /// The list's URL, which is the `uri` in the tokens that it is about.
    pub sub: String,
    /// When this statement was made, in seconds since 1970-01-01T00:00:00Z.
    pub iat: i64,
    /// From when on it says nothing any more, in seconds since 1970-01-01T00:00:00Z.
    pub exp: i64,
    /// For how many seconds a copy may be used before a newer one is asked for; more than 0.
    pub ttl: i64,
    /// The statuses.
    pub status_list: EncodedStatusList,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The statuses of many tokens in a few bytes (§4.2); [`StatusList`] reads and writes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EncodedStatusList {
    /// How many bits an entry has.
    pub bits: EntryBits,
    /// The entries: base64url without padding, of ZLIB (RFC 1950), of the packed bytes.
    pub lst: String,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The answer of `GET /api/v1/status-lists`: where all lists are (§9.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatusListAggregation {
    /// The URL of each list.
    pub status_lists: Vec<String>,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// How many bits an entry has: 1, 2, 4 or 8, written as that number. No other divides a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum EntryBits {
    /// Valid or invalid.
    One,
    /// All statuses that have a name.
    Two,
    /// 16 statuses.
    Four,
    /// 256 statuses.
    Eight,
}

impl TryFrom<u8> for EntryBits {
    type Error = StatusListError;

    fn try_from(bits: u8) -> Result<Self, StatusListError> {
        match bits {
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            4 => Ok(Self::Four),
            8 => Ok(Self::Eight),
            _ => Err(StatusListError::Bits),
        }
    }
}

impl From<EntryBits> for u8 {
    fn from(bits: EntryBits) -> Self {
        match bits {
            EntryBits::One => 1,
            EntryBits::Two => 2,
            EntryBits::Four => 4,
            EntryBits::Eight => 8,
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for EntryBits {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "EntryBits".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "integer",
            "description": "How many bits an entry of a status list has.",
            "enum": [1, 2, 4, 8],
        })
    }
}

/// What a list says of one token (§7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenStatus {
    /// 0: the token is as good as it says itself.
    Valid,
    /// 1: the token was revoked, for good.
    Invalid,
    /// 2: the token is not valid now and may be again.
    Suspended,
    /// 3 to 255: a status that this contract gives no meaning. It is not valid.
    Other(u8),
}

impl From<u8> for TokenStatus {
    fn from(value: u8) -> Self {
        match value {
            0 => Self::Valid,
            1 => Self::Invalid,
            2 => Self::Suspended,
            other => Self::Other(other),
        }
    }
}

impl From<TokenStatus> for u8 {
    fn from(status: TokenStatus) -> Self {
        match status {
            TokenStatus::Valid => 0,
            TokenStatus::Invalid => 1,
            TokenStatus::Suspended => 2,
            TokenStatus::Other(value) => value,
        }
    }
}
