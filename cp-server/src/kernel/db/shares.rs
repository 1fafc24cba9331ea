//! The connections to PostgreSQL that the changes of one share may hold.
//!
//! # Design
//!
//! A transaction keeps its connection while it waits for a row. Many changes of one organization would
//! hold all connections, and no other request, job or probe would get one. So the changes of a share
//! hold at most half of them, and those of all shares together leave some for reads. Further changes
//! wait here, without a connection. The server's own work does not wait here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::queue::Share;

/// The connections that changes leave for reads and for the server's own work.
const LEFT: usize = 2;

#[derive(Debug)]
pub(super) struct Shares {
    /// The connections of all shares together, and of one share.
    all: Arc<Semaphore>,
    of_one: usize,
    patience: Duration,
    held: Mutex<HashMap<Share, Arc<Semaphore>>>,
}

/// The right of a change to a connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Held {
    _permits: Option<[OwnedSemaphorePermit; 2]>,
}

impl Shares {
    pub(super) fn new(connections: u32, patience: Duration) -> Self {
        let connections = usize::try_from(connections).unwrap_or(usize::MAX);
        let all = connections.saturating_sub(LEFT).clamp(1, Semaphore::MAX_PERMITS);
        let of_one = (connections / 2).clamp(1, all);
        Self { all: Arc::new(Semaphore::new(all)), of_one, patience, held: Mutex::default() }
    }

    /// Waits until the share may hold one more connection.
    pub(super) async fn take(&self, share: Share) -> sqlx::Result<Held> {
        if share == Share::SERVER {
            return Ok(Held { _permits: None });
        }
        let own = self.of(share);
        let taken = async {
            let own = own.acquire_owned().await?;
            Ok([own, self.all.clone().acquire_owned().await?])
        };
        let taken: Result<_, tokio::sync::AcquireError> =
            timeout(self.patience, taken).await.map_err(|_| sqlx::Error::PoolTimedOut)?;
        taken.map(|taken| Held { _permits: Some(taken) }).map_err(|_| sqlx::Error::PoolClosed)
    }

    fn of(&self, share: Share) -> Arc<Semaphore> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of shares that hold nothing and wait for nothing.
        held.retain(|_, own| Arc::strong_count(own) > 1);
        held.entry(share).or_insert_with(|| Arc::new(Semaphore::new(self.of_one))).clone()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use uuid::Uuid;

    use super::*;

    #[tokio::test]
    async fn share_holds_half_of_the_connections_and_all_shares_leave_some() {
        let shares = Shares::new(8, Duration::MAX);
        let take = |n: u128| shares.take(Share::of(Uuid::from_u128(n)));
        let mut first = Vec::new();
        for _ in 0..4 {
            first.push(take(1).await.unwrap());
        }
        assert!(take(1).now_or_never().is_none());
        let second = [take(2).await.unwrap(), take(2).await.unwrap()];
        assert!(take(3).now_or_never().is_none());
        assert!(shares.take(Share::SERVER).now_or_never().is_some());
        drop(second);
        take(3).await.unwrap();
        first.clear();
        take(1).await.unwrap();
    }

    #[tokio::test]
    async fn one_connection_serves_all_shares_in_turn() {
        let shares = Shares::new(1, Duration::MAX);
        for n in 0..3 {
            drop(shares.take(Share::of(Uuid::from_u128(n))).await.unwrap());
        }
        assert_eq!(shares.held.lock().unwrap().len(), 1);
    }
}
