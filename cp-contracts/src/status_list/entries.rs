//! The entries of a status list.

use std::fmt;

use serde::{Deserialize, Serialize};

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

/// Why something is not a status list, or cannot stand in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusListError {
    /// An entry can have 1, 2, 4 or 8 bits.
    Bits,
    /// The index is beyond the end.
    Index,
    /// The status needs more bits than an entry has.
    Value,
    /// `lst` is not canonical base64url without padding.
    Encoding,
    /// It is not a whole ZLIB stream, or its checksum is wrong.
    Compression,
    /// Something follows the ZLIB stream.
    Trailing,
    /// There is more in it than the reader takes.
    Size {
        /// How much it takes, in bytes.
        max_bytes: usize,
    },
}

impl fmt::Display for StatusListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bits => f.write_str("an entry has 1, 2, 4 or 8 bits"),
            Self::Index => f.write_str("the index is beyond the end of the list"),
            Self::Value => f.write_str("the status needs more bits than an entry has"),
            Self::Encoding => f.write_str("lst is not base64url in its canonical form"),
            Self::Compression => f.write_str("lst is not a whole ZLIB stream"),
            Self::Trailing => f.write_str("lst goes on after its ZLIB stream"),
            Self::Size { max_bytes } => write!(f, "lst holds more than {max_bytes} bytes"),
        }
    }
}

impl std::error::Error for StatusListError {}
