//! The issuer's keys: key sets, withdrawn keys, and the keys in use.

mod current;
mod key_id;
mod key_set;
mod withdrawn;

pub(crate) use self::current::{Keys, Snapshot};
pub(crate) use self::key_id::{KeyId, read_id};
pub use self::key_set::{KeySet, KeySetError};
pub(crate) use self::key_set::{MAX_SET, SigningKey};
pub(crate) use self::withdrawn::Withdrawn;
