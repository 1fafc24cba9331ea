//! The identity of a key.

/// Which key it is, whatever it is called: SHA-256 of its modulus. Who can sign for a modulus can do
/// so for any exponent.
pub(crate) type KeyId = [u8; 32];

/// Reads an id from hex.
pub(crate) fn read_id(hex: &str) -> Option<KeyId> {
    let octets = hex.as_bytes().chunks(2);
    let octets = octets.map(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
    octets.collect::<Option<Vec<u8>>>()?.try_into().ok()
}
