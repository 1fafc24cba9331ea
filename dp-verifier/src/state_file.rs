//! What a data plane must not forget, in a file.
//!
//! # Design
//!
//! Everything here only ever grows: times, the lists' dates, the numbers of files and reports. So two
//! processes that share the file, such as an app and `dp-verify` beside it, lose nothing: before a
//! write, what the file says meanwhile is merged in, under a lock.

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
