//! The documents of status lists, and the lists of license tokens.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::entries::EntryBits;

/// The version of the specification to which section numbers in this crate refer.
pub const STATUS_LIST_DRAFT: &str = "draft-ietf-oauth-status-list-21";

/// The `typ` of a status list token's header.
pub const STATUS_LIST_TYP: &str = "statuslist+jwt";

/// The media type of a status list token over HTTP.
pub const STATUS_LIST_MEDIA_TYPE: &str = "application/statuslist+jwt";

/// The number of bits of an entry in a list of license tokens.
pub const LICENSE_LIST_BITS: EntryBits = EntryBits::Two;

/// The number of entries in a list of license tokens. Entries without a token are valid.
pub const LICENSE_LIST_ENTRIES: u64 = 65_536;

/// The payload of a status list token: a JWT (RFC 7519), signed like a license token, with the
/// `typ` [`STATUS_LIST_TYP`] (§5.1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatusListClaims {
    /// The URL of the list, which is the `uri` in its tokens.
    pub sub: String,
    /// When the list was issued, in seconds since 1970-01-01T00:00:00Z.
    pub iat: i64,
    /// When the list expires, in seconds since 1970-01-01T00:00:00Z.
    pub exp: i64,
    /// The time for which a copy is fresh, in seconds; more than 0.
    pub ttl: i64,
    /// The statuses.
    pub status_list: EncodedStatusList,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The compressed statuses of many tokens (§4.2). `StatusList` encodes and decodes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EncodedStatusList {
    /// The number of bits of an entry.
    pub bits: EntryBits,
    /// The entries: base64url without padding, of ZLIB (RFC 1950), of the packed bytes.
    pub lst: String,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The response to `GET /api/v1/status-lists`: the URLs of all lists (§9.3).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StatusListAggregation {
    /// The URL of each list.
    pub status_lists: Vec<String>,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}
