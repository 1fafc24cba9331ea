//! The packed form of a status list.

use std::fmt;
use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::write::ZlibEncoder;
use flate2::{Compression, Decompress, FlushDecompress, Status};
use serde_json::Map;

use super::claims::EncodedStatusList;
use super::entries::{EntryBits, StatusListError, TokenStatus};

/// The statuses of many tokens, one entry each, packed into bytes. The entry at `idx` begins at bit
/// `idx * bits`, counted from the least significant bit of the first byte (§4.1).
///
/// ```
/// use cp_contracts::{EntryBits, StatusList, TokenStatus};
///
/// let mut list = StatusList::new(EntryBits::Two, 65_536);
/// list.set(4_711, TokenStatus::Suspended)?;
/// let read = StatusList::decode(EntryBits::Two, &list.encode(), 16 * 1024)?;
/// assert_eq!(read.status(4_711), Some(TokenStatus::Suspended));
/// assert_eq!(read.status(0), Some(TokenStatus::Valid));
/// assert_eq!(read.status(65_536), None);
/// # Ok::<(), cp_contracts::StatusListError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct StatusList {
    bits: EntryBits,
    bytes: Vec<u8>,
}

/// The byte of an entry, and the position of the entry's lowest bit in that byte.
struct Place {
    byte: usize,
    shift: u8,
}

impl StatusList {
    /// Creates a list of valid entries. The number is rounded up to whole bytes.
    #[must_use]
    pub fn new(bits: EntryBits, entries: u64) -> Self {
        let bytes = entries.div_ceil(per_byte(bits));
        // Documents are bounded; only a program can ask for more than fits into memory.
        Self { bits, bytes: vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)] }
    }

    /// Returns the number of bits of an entry.
    #[must_use]
    pub fn bits(&self) -> EntryBits {
        self.bits
    }

    /// Returns the number of entries.
    #[must_use]
    pub fn entries(&self) -> u64 {
        u64::try_from(self.bytes.len()).unwrap_or(u64::MAX).saturating_mul(per_byte(self.bits))
    }

    /// Returns the status at an index, or `None` beyond the end.
    #[must_use]
    pub fn status(&self, idx: u64) -> Option<TokenStatus> {
        let Place { byte, shift } = self.place(idx)?;
        let byte = self.bytes.get(byte)?;
        Some(TokenStatus::from((byte >> shift) & mask(self.bits)))
    }

    /// Sets the status at an index.
    ///
    /// # Errors
    ///
    /// Returns [`StatusListError::Index`] beyond the end, and [`StatusListError::Value`] when the
    /// status needs more bits than an entry has. The list is then unchanged.
    pub fn set(&mut self, idx: u64, status: TokenStatus) -> Result<(), StatusListError> {
        let (value, mask) = (u8::from(status), mask(self.bits));
        if value > mask {
            return Err(StatusListError::Value);
        }
        let Place { byte, shift } = self.place(idx).ok_or(StatusListError::Index)?;
        let byte = self.bytes.get_mut(byte).ok_or(StatusListError::Index)?;
        *byte = (*byte & !(mask << shift)) | (value << shift);
        Ok(())
    }

    /// Returns the value of `lst`: the ZLIB stream, at the best compression, in base64url without
    /// padding.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut stream = ZlibEncoder::new(Vec::new(), Compression::best());
        // Writing to memory cannot fail, and every reader refuses an empty text.
        let written = stream.write_all(&self.bytes).and_then(|()| stream.finish());
        URL_SAFE_NO_PAD.encode(written.unwrap_or_default())
    }

    /// Returns the `status_list` member of a status list token.
    #[must_use]
    pub fn to_claim(&self) -> EncodedStatusList {
        EncodedStatusList { bits: self.bits, lst: self.encode(), extra: Map::new() }
    }

    /// Decodes the value of `lst`.
    ///
    /// One kilobyte of ZLIB can decompress to a megabyte of zeros. This function never holds more
    /// than `max_bytes` bytes of packed entries.
    ///
    /// # Errors
    ///
    /// Returns [`StatusListError`] when the text is not canonical base64url, when it is not exactly
    /// one complete ZLIB stream with a correct checksum, or when it exceeds `max_bytes`.
    pub fn decode(bits: EntryBits, lst: &str, max_bytes: usize) -> Result<Self, StatusListError> {
        let stream = URL_SAFE_NO_PAD.decode(lst).map_err(|_| StatusListError::Encoding)?;
        Ok(Self { bits, bytes: inflate(&stream, max_bytes)? })
    }

    fn place(&self, idx: u64) -> Option<Place> {
        let per_byte = per_byte(self.bits);
        let byte = usize::try_from(idx / per_byte).ok()?;
        let shift = u8::try_from(idx % per_byte).ok()? * u8::from(self.bits);
        Some(Place { byte, shift })
    }
}

fn per_byte(bits: EntryBits) -> u64 {
    8 / u64::from(u8::from(bits))
}

fn mask(bits: EntryBits) -> u8 {
    u8::MAX >> (8 - u8::from(bits))
}

/// Decompresses one complete ZLIB stream to at most `max_bytes` bytes.
fn inflate(mut stream: &[u8], max_bytes: usize) -> Result<Vec<u8>, StatusListError> {
    let mut inflate = Decompress::new(true);
    let (mut bytes, mut part) = (Vec::new(), [0; 4_096]);
    loop {
        let (read, written) = (inflate.total_in(), inflate.total_out());
        let status = inflate
            .decompress(stream, &mut part, FlushDecompress::None)
            .map_err(|_| StatusListError::Compression)?;
        let count = |now: u64, before: u64| usize::try_from(now - before).unwrap_or(usize::MAX);
        let (read, written) =
            (count(inflate.total_in(), read), count(inflate.total_out(), written));
        if written > max_bytes - bytes.len() {
            return Err(StatusListError::Size { max_bytes });
        }
        if bytes.capacity() - bytes.len() < written {
            let wanted = (bytes.capacity() * 2).clamp(part.len(), part.len().max(max_bytes));
            bytes.reserve_exact(wanted.min(max_bytes) - bytes.len());
        }
        bytes.extend_from_slice(part.get(..written).unwrap_or_default());
        stream = stream.get(read..).unwrap_or_default();
        match status {
            Status::StreamEnd if stream.is_empty() => return Ok(bytes),
            Status::StreamEnd => return Err(StatusListError::Trailing),
            // The stream ends too early.
            _ if read == 0 && written == 0 => return Err(StatusListError::Compression),
            _ => {}
        }
    }
}

/// Shows the size only: the statuses are too many to print.
impl fmt::Debug for StatusList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries();
        f.debug_struct("StatusList").field("bits", &self.bits).field("entries", &entries).finish()
    }
}
