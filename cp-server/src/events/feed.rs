//! The newest events in memory, for the requests that wait for them.
//!
//! # Design
//! While requests wait, one task of the replica reads each new event once. The requests compare it with
//! their filters in memory, so a thousand of them cost no query. A reader that is further behind than
//! the memory reaches reads the database.
//!
//! The task reads the log's size at each commit of this replica, and 20 times a second for those of
//! others. It ends with the last request. Rejected: `LISTEN`/`NOTIFY`, which needs a session that
//! poolers in transaction mode do not keep.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cp_contracts::Event;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::rows::{self, Reach};
use super::types::Types;
use crate::kernel::app::{App, Part};
use crate::kernel::error::Result;

/// The maximum delay until an event of another replica is noticed.
const AT_THE_LATEST: Duration = Duration::from_millis(50);
/// The wait after a failure of the database.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The most events in memory.
const KEPT: usize = 1000;

/// The newest events.
#[derive(Clone, Default)]
pub struct Recent {
    /// The position of the newest event.
    pub head: i64,
    /// The newest events in their order, without a gap up to `head`.
    events: VecDeque<Arc<Event>>,
}

impl Recent {
    /// Returns the events after the position, if all of them are in memory.
    pub fn after(&self, position: i64) -> Option<impl Iterator<Item = &Arc<Event>>> {
        let count = usize::try_from(self.head.saturating_sub(position)).unwrap_or(0);
        let skipped = self.events.len().checked_sub(count)?;
        Some(self.events.iter().skip(skipped))
    }
}

/// The events that a replica reports.
pub struct Feed {
    recent: watch::Sender<Arc<Recent>>,
    woken: Notify,
    is_followed: AtomicBool,
}

impl Default for Feed {
    fn default() -> Self {
        let recent = watch::Sender::new(Arc::default());
        let is_followed = AtomicBool::new(false);
        Self { recent, woken: Notify::new(), is_followed }
    }
}

impl Part for Feed {
    fn committed(&self) {
        self.woken.notify_one();
    }
}

impl Feed {
    /// Reports new events from now on.
    pub fn subscribe(&self, app: &App) -> watch::Receiver<Arc<Recent>> {
        let news = self.recent.subscribe();
        if !self.is_followed.swap(true, Ordering::SeqCst) {
            tokio::spawn(follow(app.clone()));
        }
        news
    }
}

/// Reads new events while requests wait for them.
async fn follow(app: App) {
    let feed = Feed::of(&app);
    loop {
        let mut recent = None;
        while feed.recent.receiver_count() > 0 {
            match step(&app, recent.take()).await {
                Ok(next) => {
                    if feed.recent.borrow().head != next.head || app.is_stopping() {
                        feed.recent.send_replace(Arc::new(next.clone()));
                    }
                    recent = Some(next);
                }
                Err(error) => {
                    tracing::warn!(%error, "new events are not reported");
                    tokio::time::sleep(AFTER_FAILURE).await;
                }
            }
            let _ = timeout(AT_THE_LATEST, feed.woken.notified()).await;
        }
        feed.is_followed.store(false, Ordering::SeqCst);
        // A request may have subscribed since the last look.
        if feed.recent.receiver_count() == 0 || feed.is_followed.swap(true, Ordering::SeqCst) {
            return;
        }
    }
}

/// Continues the newest events up to the log's end.
async fn step(app: &App, recent: Option<Recent>) -> Result<Recent> {
    let mut tx = app.db.read();
    let head = rows::head(&mut tx).await?;
    let most = i64::try_from(KEPT).unwrap_or(i64::MAX);
    let Some(mut recent) = recent.filter(|recent| (0..=most).contains(&(head - recent.head)))
    else {
        return Ok(Recent { head, events: VecDeque::new() });
    };
    if recent.head < head {
        let new = (recent.head, head);
        let events = rows::between(&mut tx, Reach::All, &Types::default(), new, most).await?;
        recent.events.extend(events.into_iter().map(Arc::new));
        let surplus = recent.events.len().saturating_sub(KEPT);
        recent.events.drain(..surplus);
        recent.head = head;
    }
    Ok(recent)
}
