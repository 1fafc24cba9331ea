//! The identity of a key.

/// The identity of a key, independent of its `kid`: the SHA-256 of its modulus. A signer for a
/// modulus can sign for every exponent.
pub(crate) type KeyId = [u8; 32];

/// Parses an identity from hex.
pub(crate) fn read_id(hex: &str) -> Option<KeyId> {
    let octets = hex.as_bytes().chunks(2);
    let octets = octets.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
    octets.collect::<Option<Vec<u8>>>()?.try_into().ok()
}
