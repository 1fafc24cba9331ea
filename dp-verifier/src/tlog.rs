//! The formats of transparency logs (C2SP): keys, checkpoints and proofs.

mod anomaly;
mod merkle;
mod note;
mod proof;

pub use self::anomaly::{LogAnomaly, LogEvidence};
#[cfg(feature = "fetch")]
pub(crate) use self::note::MAX_CHECKPOINT;
pub(crate) use self::note::decimal;
pub use self::note::{Checkpoint, LogKey};
pub use self::proof::LogProof;
pub(crate) use self::proof::MAX_PROOF;
