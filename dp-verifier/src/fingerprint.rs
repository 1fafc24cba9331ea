//! What a token is known by without giving it away.

/// Which token a license was read from, without giving it away.
pub(crate) struct TokenFingerprint {
    pub(crate) kid: Box<str>,
    /// Of its bytes, in lower-case hex.
    pub(crate) sha256: Box<str>,
}
