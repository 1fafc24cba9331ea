//! Server-sent events (WHATWG HTML, section 9.2): the stream over one long response.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use tokio::sync::mpsc::{self, Sender};
use tokio::time::Instant;

use super::reading::Reading;
use crate::kernel::access::authentication;
use crate::kernel::access::caller::Permission;
use crate::kernel::access::place::PathTarget;
use crate::kernel::app::App;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Streamed;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::waiting::Slot;

const MEDIA_TYPE: &str = "text/event-stream";
/// The time without events after which a comment keeps the connection open. The caller's credential and
/// permission are checked before a chunk that is sent this long after the last check.
const QUIET: Duration = Duration::from_secs(15);
/// The longest stream. Its client connects again, and continues after the last event.
const LONGEST: Duration = Duration::from_secs(3600);
/// The number of chunks that may wait for a slow reader.
const AHEAD: usize = 4;
/// The first line: the milliseconds after which a client connects again.
const RETRY: &str = "retry: 3000\n\n";

/// Whether the request asks for a stream.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.unwrap_or_default().split(',').any(|one| {
        let mut parts = one.split(';').map(str::trim);
        // A weight of zero refuses the type (RFC 9110, section 12.4.2).
        let is_refused = |part: &str| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.and_then(|weight| weight.trim().parse::<f32>().ok()) == Some(0.0)
        };
        parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case(MEDIA_TYPE))
            && !parts.any(is_refused)
    })
}

/// Begins a stream. Without a slot it ends with the last event that is already there.
pub(super) fn begin<P: PathTarget>(
    cx: &mut Cx<P::Authorized>,
    place: P,
    reading: Reading,
    slot: Option<Slot>,
) -> Streamed {
    cx.release();
    let (chunks, receiver) = mpsc::channel(AHEAD);
    let parts = Parts::clone(&cx.parts);
    tokio::spawn(async move {
        let mut writing = Writing { reading, slot, parts, place, chunks };
        // The reader is gone, or its permission: a stream has no other end than its last chunk.
        if let Err(Ended::Failed(error)) = writing.run().await {
            tracing::warn!(%error, "a stream of events ended");
        }
    });
    Streamed { media_type: MEDIA_TYPE, chunks: receiver }
}

struct Writing<P> {
    reading: Reading,
    slot: Option<Slot>,
    parts: Parts,
    place: P,
    chunks: Sender<std::io::Result<Bytes>>,
}

enum Ended {
    /// The reader is gone.
    Reader,
    Failed(Error),
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl<P: PathTarget> Writing<P> {
    async fn run(&mut self) -> Result<(), Ended> {
        let app = self.reading.app.clone();
        let (end, mut checked) = (Instant::now() + LONGEST, Instant::now());
        self.send(RETRY.to_owned()).await?;
        while Instant::now() < end && !app.is_stopping() {
            let quiet = QUIET.saturating_sub(checked.elapsed());
            let page = match self.slot {
                Some(_) => self.reading.next(quiet).await?,
                None => self.reading.page(&mut app.db.read()).await?,
            };
            let mut text = String::new();
            for event in &page.items {
                let data = serde_json::to_string(event).map_err(Error::internal)?;
                text.push_str(&format!("id: {}\ndata: {data}\n\n", event.seq));
            }
            if text.is_empty() {
                if self.slot.is_none() {
                    return Ok(());
                }
                text.push_str(":\n\n");
            }
            // A slow reader delays the chunk: the check is after the wait for its place.
            let place = self.chunks.reserve().await.map_err(|_| Ended::Reader)?;
            if checked.elapsed() >= QUIET {
                self.check(&app).await?;
                checked = Instant::now();
            }
            place.send(Ok(Bytes::from(text)));
        }
        Ok(())
    }

    /// Ends the stream of a caller whose credential or permission has ended.
    async fn check(&self, app: &App) -> Result<()> {
        let caller = authentication::again(app, &self.parts).await?;
        self.place.authorize(&caller, &mut app.db.read(), Permission::AUDIT_READ).await?;
        Ok(())
    }

    async fn send(&self, text: String) -> Result<(), Ended> {
        self.chunks.send(Ok(Bytes::from(text))).await.map_err(|_| Ended::Reader)
    }
}
