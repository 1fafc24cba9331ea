//! Stored hashes of the tree, for proofs and roots.

use std::cell::RefCell;
use std::collections::HashMap;

use tlog_tiles::{Hash, HashReader, tree_hash};

use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::journal::store;

/// Returns the root of the first `size` leaves, computed from the stored hashes.
pub async fn root_at(tx: &mut Conn, size: u64) -> Result<Hash> {
    proven(tx, |hashes| tree_hash(size, hashes)).await
}

/// Runs a computation on stored hashes twice: once to learn the indexes, once with the hashes. The
/// computation does not depend on a database, and one query reads all hashes.
pub async fn proven<T>(
    tx: &mut Conn,
    compute: impl Fn(&Hashes) -> Result<T, tlog_tiles::Error> + Send,
) -> Result<T> {
    let mut hashes = Hashes::default();
    compute(&hashes).map_err(|e| Error::internal(anyhow::anyhow!(e)))?;
    let wanted = hashes.wanted.take();
    hashes.known = store::hashes(tx, &wanted).await?;
    compute(&hashes).map_err(|e| Error::internal(anyhow::anyhow!(e)))
}

/// Known hashes, and the indexes that a computation requested.
#[derive(Default)]
pub struct Hashes {
    known: HashMap<u64, Hash>,
    wanted: RefCell<Vec<u64>>,
}

impl HashReader for Hashes {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<Hash>, tlog_tiles::Error> {
        self.wanted.borrow_mut().extend_from_slice(indexes);
        Ok(indexes.iter().map(|idx| self.known.get(idx).copied().unwrap_or_default()).collect())
    }
}
