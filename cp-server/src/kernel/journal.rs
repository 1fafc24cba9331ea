//! The journal: each change leaves one audit event and one leaf of the log, in its own transaction.
//!
//! That is a promise of the kernel, so what keeps it is here: the event and its leaf, the canonical
//! form, the tree and the rows. Reading, verification, proofs and erasure are in `audit`.

pub mod abridged;
pub mod canonical;
pub mod draft;
pub mod leaf;
pub mod record;
pub mod store;
pub mod tree;
