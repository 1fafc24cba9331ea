//! The entries of a status list.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of bits of an entry, written as a number: 1, 2, 4 or 8, the divisors of a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum EntryBits {
    /// Valid or invalid.
    One,
    /// All named statuses.
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
            "description": "The number of bits of an entry in a status list.",
            "enum": [1, 2, 4, 8],
        })
    }
}

/// The status of one token (§7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenStatus {
    /// 0: the token is valid, within its own term.
    Valid,
    /// 1: the token is permanently revoked.
    Invalid,
    /// 2: the token is temporarily invalid.
    Suspended,
    /// 3 to 255: a status without a meaning in this contract. The token is not valid.
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

/// The reason why a value is not a status list, or not an entry of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StatusListError {
    /// The number of bits of an entry is not 1, 2, 4 or 8.
    Bits,
    /// The index is beyond the end of the list.
    Index,
    /// The status needs more bits than an entry has.
    Value,
    /// `lst` is not canonical base64url without padding.
    Encoding,
    /// `lst` is not a complete ZLIB stream, or its checksum is wrong.
    Compression,
    /// Bytes follow the ZLIB stream.
    Trailing,
    /// The decompressed list exceeds the reader's limit.
    Size {
        /// The limit, in bytes.
        max_bytes: usize,
    },
}

impl fmt::Display for StatusListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bits => f.write_str("bits must be 1, 2, 4 or 8"),
            Self::Index => f.write_str("the index is beyond the end of the list"),
            Self::Value => f.write_str("the status needs more bits than an entry has"),
            Self::Encoding => f.write_str("lst is not canonical base64url"),
            Self::Compression => f.write_str("lst is not a complete ZLIB stream"),
            Self::Trailing => f.write_str("lst has bytes after its ZLIB stream"),
            Self::Size { max_bytes } => {
                write!(f, "lst decompresses to more than {max_bytes} bytes")
            }
        }
    }
}

impl std::error::Error for StatusListError {}
