//! What a change invalidates.

/// What a committed change makes old on its replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// What callers' rights and quotas rest on.
    Rights,
    /// That, and what parts hold of the database, such as keys: they read it again.
    Parts,
    /// Nothing of that.
    Harmless,
}
