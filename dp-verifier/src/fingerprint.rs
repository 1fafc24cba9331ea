//! Fingerprints of tokens.

/// The key ID and the hash of a license's token. They identify the token without revealing it.
pub(crate) struct TokenFingerprint {
    pub(crate) kid: Box<str>,
    /// The SHA-256 of the token's bytes, in lower-case hex.
    pub(crate) sha256: Box<str>,
}
