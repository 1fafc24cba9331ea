//! The states of a signing key.

crate::text_enum! {
    /// Where a key is in its life.
    KeyState {
        /// It exists and is not published.
        Staged = "staged",
        /// In the JWKS; it may not sign yet.
        Published = "published",
        /// It signs; there is exactly one.
        Active = "active",
        /// In the JWKS until the last token that it signed has expired.
        Retiring = "retiring",
        /// Out of use.
        Retired = "retired",
        /// Out at once: its tokens are not to be trusted.
        Compromised = "compromised",
    }
}

impl KeyState {
    /// Whether it is in the JWKS.
    pub fn is_public(self) -> bool {
        matches!(self, Self::Published | Self::Active | Self::Retiring)
    }
}
