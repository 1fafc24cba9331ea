//! The caches that a change invalidates.

/// The state of this replica that a committed change invalidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The rights and quotas of callers.
    Rights,
    /// The rights and quotas in one organization. Who belongs to it does not change.
    Organization,
    /// The same, and the state that parts loaded from the database, such as keys: parts reload it.
    Parts,
    /// None.
    Harmless,
}
