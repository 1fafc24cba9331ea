//! The state file: what a data plane must remember over restarts.
//!
//! # Design
//!
//! All values only grow: times, the dates of lists, the numbers of files and reports. So two
//! processes can share the file, such as an app and `dp-verify`. Before a write, a process merges
//! the current content of the file into its own state, under a lock.

mod files;
mod kept;
mod keys;
mod lists;
mod log;
mod store;
mod summary;

pub(crate) use self::files::{KeptFile, KeptReport};
pub(crate) use self::kept::KeptState;
pub(crate) use self::keys::FileKeys;
pub(crate) use self::lists::{KeptList, MAX_LISTS};
pub(crate) use self::log::{Consistency, FormerLog, KeptLog};
pub(crate) use self::store::{StateStore, load};
pub use self::summary::{
    FileRecord, FormerStateRecord, StateRecord, WithdrawnKey, reset_state, state_record,
};
