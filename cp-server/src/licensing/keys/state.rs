//! The states of a signing key.

crate::text_enum! {
    /// The state of a signing key.
    KeyState {
        /// The key exists and is not published.
        Staged = "staged",
        /// In the JWKS; the key may not sign yet.
        Published = "published",
        /// The key signs; exactly one key is active.
        Active = "active",
        /// In the JWKS until the last token of the key has expired.
        Retiring = "retiring",
        /// Out of use.
        Retired = "retired",
        /// Removed from the JWKS at once; verifiers must not trust its tokens.
        Compromised = "compromised",
    }
}

impl KeyState {
    /// Returns whether the key is in the JWKS.
    pub fn is_public(self) -> bool {
        matches!(self, Self::Published | Self::Active | Self::Retiring)
    }
}
