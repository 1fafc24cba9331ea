//! One reader of the stream: its filter and its position.

use std::time::Duration;

use cp_contracts::Event;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::time::timeout;

use super::feed::{Feed, Recent};
use super::rows::{self, Reach};
use super::types::Types;
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::error::Result;

/// A page of events.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EventPage {
    /// The events, oldest first.
    pub items: Vec<Event>,
    /// The `after` of the next request.
    pub next: i64,
    /// The position of the log's last event; -1 when the log is empty. The page is the last one when
    /// `next` equals it.
    pub head: i64,
}

/// A reader of the stream.
pub(super) struct Reading {
    pub(super) app: App,
    pub(super) reach: Reach,
    pub(super) types: Types,
    /// The position up to which everything was read.
    pub(super) after: i64,
    pub(super) limit: i64,
}

impl Reading {
    /// Returns the next page, which may be empty.
    pub(super) async fn page(&mut self, tx: &mut Conn) -> Result<EventPage> {
        let head = rows::head(tx).await?;
        let range = (self.after, head);
        let items = rows::between(tx, self.reach, &self.types, range, self.limit).await?;
        Ok(self.advanced(items, head))
    }

    /// Waits for the next events. The page is empty when none has come in time, or when the server
    /// stops.
    pub(super) async fn next(&mut self, patience: Duration) -> Result<EventPage> {
        let app = self.app.clone();
        let mut news = Feed::of(&app).subscribe(&app);
        let found = timeout(patience, async {
            loop {
                // The subscription precedes the look: no event is missed in between.
                let page = self.page(&mut app.db.read()).await?;
                if !page.items.is_empty() || app.is_stopping() {
                    return Ok(page);
                }
                loop {
                    let is_new = |recent: &Recent| recent.head > self.after || app.is_stopping();
                    let Ok(recent) = news.wait_for(|recent| is_new(recent)).await else { break };
                    let recent = recent.clone();
                    let Some(events) = recent.after(self.after) else { break };
                    let items = events.filter(|event| self.selects(event));
                    let most = usize::try_from(self.limit).unwrap_or(usize::MAX);
                    let items: Vec<Event> =
                        items.take(most).map(|event| Event::clone(event)).collect();
                    let page = self.advanced(items, recent.head.max(self.after));
                    if !page.items.is_empty() || app.is_stopping() {
                        return Ok(page);
                    }
                }
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => Ok(EventPage { items: Vec::new(), next: self.after, head: self.after }),
        }
    }

    fn selects(&self, event: &Event) -> bool {
        self.reach.contains(event) && self.types.selects(&event.kind)
    }

    /// Moves the position to the end of a page. A page that is not full has reached the head.
    fn advanced(&mut self, items: Vec<Event>, head: i64) -> EventPage {
        let is_full = i64::try_from(items.len()).is_ok_and(|count| count >= self.limit);
        self.after = items.last().filter(|_| is_full).map_or(head, |last| last.seq);
        EventPage { items, next: self.after, head }
    }
}
