//! The documents of status lists, and the lists of license tokens.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::entries::EntryBits;

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

/// The statuses of many tokens in a few bytes (§4.2); [`StatusList`](crate::StatusList) reads and writes it.
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
