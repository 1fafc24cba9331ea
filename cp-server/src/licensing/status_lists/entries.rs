//! The entries of the lists: each token has its own entry.
//!
//! # Design
//! The process reserves entries in blocks and keeps them in memory. So an issuance has its entry
//! before it signs, and needs no write for it.

use std::sync::PoisonError;

use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::{LICENSE_LIST_ENTRIES, StatusListRef};
use serde_json::Map;
use tokio::sync::Mutex;

use super::rows::uri;
use crate::kernel::app::App;
use crate::kernel::error::{Error, Result};
use crate::kernel::secret::sha256;
use crate::licensing::ids::StatusListId;

/// The entries that this process has reserved.
#[derive(Default)]
pub(super) struct Entries {
    block: std::sync::Mutex<Option<Block>>,
    /// Allows one reservation of the next block at a time.
    reserving: Mutex<()>,
}

impl Entries {
    /// Returns an entry that no other token has.
    pub(super) async fn take(&self, app: &App) -> Result<StatusListRef> {
        let now = app.clock.now();
        if let Some(entry) = self.take_known(app, now) {
            return Ok(entry);
        }
        let _alone = self.reserving.lock().await;
        loop {
            // The previous holder of the lock may have reserved enough entries.
            if let Some(entry) = self.take_known(app, now) {
                return Ok(entry);
            }
            let size = self.with_block(|block| block.as_ref().map(|block| block.size * 2));
            let next = reserve(app, size.unwrap_or(1).min(BLOCK), now).await?;
            self.with_block(|block| *block = Some(next));
        }
    }

    /// Returns an entry of the block in memory.
    fn take_known(&self, app: &App, now: DateTime<Utc>) -> Option<StatusListRef> {
        self.with_block(|block| {
            let block = block.as_mut().filter(|block| block.is_usable(now))?;
            let idx = shuffled(&block.shuffle, u16::try_from(block.next).ok()?);
            block.next += 1;
            Some(StatusListRef { idx: idx.into(), uri: uri(app, block.list), extra: Map::new() })
        })
    }

    fn with_block<T>(&self, work: impl FnOnce(&mut Option<Block>) -> T) -> T {
        work(&mut self.block.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Reserved entries. Entries that the process does not use stay unused.
struct Block {
    list: StatusListId,
    shuffle: Vec<u8>,
    size: i64,
    next: u32,
    /// One more than the last entry.
    end: u32,
    until: DateTime<Utc>,
}

/// The size of a block: the server reserves many entries at once, the command line one.
const BLOCK: i64 = 256;

impl Block {
    /// Drops an old block, so that its list does not retire while entries are left.
    fn is_usable(&self, now: DateTime<Utc>) -> bool {
        self.next < self.end && now < self.until
    }
}

async fn reserve(app: &App, size: i64, now: DateTime<Utc>) -> Result<Block> {
    let mut tx = app.db.begin().await?;
    let sql = "UPDATE status_lists SET allocated = allocated + $1, allocated_at = $2
               WHERE id = (SELECT id FROM status_lists WHERE retired_at IS NULL
                           ORDER BY created_at DESC, id DESC LIMIT 1)
                 AND allocated + $1 <= $3
               RETURNING id, shuffle, allocated";
    let most = i64::try_from(LICENSE_LIST_ENTRIES).map_err(Error::internal)?;
    let found: Option<(StatusListId, Vec<u8>, i64)> =
        tx.q(sql).bind(size).bind(now).bind(most).opt().await?;
    let (list, shuffle, allocated) = match found {
        Some(found) => found,
        None => {
            let (id, shuffle) = (StatusListId::new(&app.random, now), app.random.bytes::<16>());
            let sql = "INSERT INTO status_lists
                       (id, shuffle, allocated, allocated_at, version, created_at)
                       VALUES ($1, $2, $3, $4, 1, $4)";
            tx.q(sql).bind(id).bind(shuffle.to_vec()).bind(size).bind(now).exec().await?;
            (id, shuffle.to_vec(), size)
        }
    };
    tx.commit().await?;
    let next = u32::try_from(allocated - size).map_err(Error::internal)?;
    let end = u32::try_from(allocated).map_err(Error::internal)?;
    Ok(Block { list, shuffle, size, next, end, until: now + TimeDelta::hours(1) })
}

/// Returns the position of the n-th entry: a permutation of all 65,536 (a balanced Feistel network
/// of eight rounds over two bytes). So positions do not reveal the order of issuance.
fn shuffled(key: &[u8], n: u16) -> u16 {
    let [mut left, mut right] = n.to_be_bytes();
    for round in 0..8 {
        let [mixed, ..] = sha256(&[key, &[round, right]].concat());
        (left, right) = (right, left ^ mixed);
    }
    u16::from_be_bytes([left, right])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_given_out_once_and_not_in_order() {
        let mut all: Vec<u16> = (0..=u16::MAX).map(|n| shuffled(b"some key", n)).collect();
        let neighbours = all.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) <= 1).count();
        assert!(neighbours < 20, "{neighbours} neighbours of 65,535 pairs");
        assert_ne!(all[..100], (0..100).map(|n| shuffled(b"other", n)).collect::<Vec<_>>()[..]);
        all.sort_unstable();
        assert_eq!(all, (0..=u16::MAX).collect::<Vec<_>>());
    }
}
