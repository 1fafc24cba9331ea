//! The journal: each change leaves one audit event and one leaf of the log, in its own transaction.
//!
//! The kernel promises this, so the code that keeps the promise is here: event and leaf, canonical
//! form, tree and rows. Reading, verification, proofs and erasure are in `audit`.

pub mod abridged;
pub mod canonical;
pub mod draft;
pub mod leaf;
pub mod record;
pub mod store;
pub mod tree;
