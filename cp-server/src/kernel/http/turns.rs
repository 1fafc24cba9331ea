//! Turns: changes of one object that lock the same row.
//!
//! # Design
//! On PostgreSQL, a change that waits for a row holds a connection. Many changes of one object would
//! hold all connections, and no other request would get one. So the changes of a line `in_turn` wait
//! here first, without a connection. Each replica has turns of its own, and the row decides among
//! replicas. SQLite needs none: its changes wait for the only writer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as Place, OwnedMutexGuard};
use tokio::time::timeout;

use crate::kernel::app::Part;
use crate::kernel::error::{Error, Result};

/// How long a change waits for its turn, as long as for a connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// The seconds after which a refused caller retries.
const RETRY_AFTER: u32 = 1;

/// The objects that changes act on or wait for, by their paths.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<String, Arc<Place<()>>>>);

impl Part for Turns {}

/// The turn of a change, until it is dropped.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Turns {
    /// Waits until the earlier changes of the object have ended.
    ///
    /// # Errors
    /// 503 when they take too long.
    pub(super) async fn take(&self, object: String) -> Result<Turn> {
        let place = {
            let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those of other objects that no change holds or waits for.
            places.retain(|_, place| Arc::strong_count(place) > 1);
            places.entry(object).or_default().clone()
        };
        timeout(PATIENCE, place.lock_owned()).await.map_err(|_| {
            Error::unavailable("Earlier changes of the same object have not ended.", RETRY_AFTER)
        })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn changes_of_one_object_wait_for_each_other() {
        let turns = Turns::default();
        let take = |object: &str| turns.take(object.to_owned());
        let first = take("a").await.unwrap();
        let mut second = Box::pin(take("a"));
        assert!(second.as_mut().now_or_never().is_none());
        let other = take("b").await.unwrap();
        drop(first);
        let second = second.await.unwrap();
        drop((second, other));
        take("c").await.unwrap();
        assert_eq!(turns.0.lock().unwrap().len(), 1, "objects without changes are forgotten");
    }
}
