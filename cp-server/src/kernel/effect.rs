//! What a change invalidates.

/// What a committed change makes old on its replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Effect {
    /// Everything that callers' rights, quotas and keys rest on.
    #[default]
    Rights,
    /// Nothing of that.
    Harmless,
}
