//! The state of a connection: whether its client sent a request, and whether the client reads the
//! responses.
//!
//! Over HTTP/1.1, the parser and `io.rs` detect a stalled client. Over HTTP/2, a client may keep
//! its connection busy and never open the window of a stream, so the body of each response is
//! watched.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::limits::Surface;
use super::pace::Pace;

/// The multiple of `header_time` for which an HTTP/2 connection may have no request.
const IDLE: u32 = 6;

/// How many bytes are read from a refused client, and for how long. Closing the connection while
/// the client sends would reset it, and the client would lose the response.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    pub(super) bytes: usize,
    pub(super) time: Duration,
}

/// More than any accepted body: a client whose body is too large sees the reason.
const WITH_ANYBODY: Patience = Patience { bytes: 1024 * 1024, time: Duration::from_secs(1) };
/// The client keeps sending the requests for which it was refused.
const FLOOD_READ: usize = 16 * 1024;
/// The number of refusals, on a connection that was not closed with the first, after which an
/// address over its rate limit floods.
const FLOOD: usize = 100;

pub(super) struct ConnectionState {
    began: Instant,
    asked: AtomicBool,
    /// Whether bytes were received since the last request began or was answered.
    unparsed: AtomicBool,
    refused: AtomicBool,
    /// The number of refusals because the address exceeds its rate limit.
    over_rate: AtomicUsize,
    flooded: Notify,
    /// How long a flooding client is delayed: if it were disconnected at once, it would reconnect
    /// at once.
    flood_time: Duration,
    surface: Surface,
    streams: Mutex<Streams>,
}

struct Streams {
    open: Vec<Weak<Waiting>>,
    last_open: Instant,
    multiplexed: bool,
}

/// A response body, as its reader consumes it.
struct Waiting {
    /// When the wait for the reader began, in milliseconds of the connection's life; 0 without a
    /// wait.
    since: AtomicU64,
    pace: Mutex<Pace>,
}

impl Waiting {
    fn left(&self) -> Duration {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).left()
    }
}

/// The decision about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Goes,
    /// The connection is idle: requests that still arrive are answered.
    Ends,
    /// The connection occupies resources that others could use.
    Breaks,
}

impl ConnectionState {
    pub(super) fn new(surface: &Surface) -> Arc<Self> {
        let began = Instant::now();
        let streams = Streams { open: Vec::new(), last_open: began, multiplexed: false };
        Arc::new(Self {
            began,
            asked: AtomicBool::new(false),
            unparsed: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            over_rate: AtomicUsize::new(0),
            flooded: Notify::new(),
            flood_time: surface.header_time / 2,
            surface: surface.clone(),
            streams: Mutex::new(streams),
        })
    }

    /// Records the start of a request.
    pub(super) fn asked(&self) {
        self.asked.store(true, Ordering::Relaxed);
        self.unparsed.store(false, Ordering::Relaxed);
    }

    /// Records a response whose request body was read.
    pub(super) fn answered(&self) {
        self.unparsed.store(false, Ordering::Relaxed);
    }

    /// Records received bytes.
    pub(super) fn received(&self) {
        self.unparsed.store(true, Ordering::Relaxed);
    }

    /// Records a refusal: the client may still be sending the request.
    pub(super) fn refused(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// Records the same, for an address over its rate limit.
    pub(super) fn refused_as_over_rate(&self) {
        if self.over_rate.fetch_add(1, Ordering::Relaxed) + 1 == FLOOD {
            self.flooded.notify_one();
        }
    }

    /// Returns how long to read on after a refusal; `None` without one.
    pub(super) fn patience(&self) -> Option<Patience> {
        if self.over_rate.load(Ordering::Relaxed) > 0 {
            return Some(Patience { bytes: FLOOD_READ, time: self.flood_time });
        }
        let refused = self.refused.load(Ordering::Relaxed) || self.refused_by_the_parser();
        refused.then_some(WITH_ANYBODY)
    }

    /// Whether the connection ends because of bytes that did not form a request. Over HTTP/2,
    /// frames other than requests arrive all the time.
    fn refused_by_the_parser(&self) -> bool {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        self.unparsed.load(Ordering::Relaxed) && !streams.multiplexed
    }

    /// Waits for a flood. Returns how long to delay the client.
    pub(super) async fn flooded(&self) -> Duration {
        self.flooded.notified().await;
        self.flood_time
    }

    /// Records the start of a stream of an HTTP/2 connection.
    pub(super) fn stream(self: &Arc<Self>) -> Stream {
        let pace = Mutex::new(Pace::new(&self.surface));
        let waiting = Arc::new(Waiting { since: AtomicU64::new(0), pace });
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.multiplexed = true;
        streams.open.push(Arc::downgrade(&waiting));
        Stream { state: self.clone(), waiting, sent: 0 }
    }

    fn age(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    pub(super) fn verdict(&self, surface: &Surface) -> Verdict {
        if !self.asked.load(Ordering::Relaxed) {
            // Twice: once for the protocol negotiation, and once for the first head.
            let late = self.began.elapsed() > surface.header_time * 2;
            return if late { Verdict::Breaks } else { Verdict::Goes };
        }
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        streams.open.retain(|stream| stream.strong_count() > 0);
        if !streams.open.is_empty() {
            streams.last_open = Instant::now();
        }
        let age = Duration::from_millis(self.age());
        let stuck = |stream: &Weak<Waiting>| {
            stream.upgrade().is_some_and(|waiting| {
                let since = waiting.since.load(Ordering::Relaxed);
                since > 0 && age.saturating_sub(Duration::from_millis(since)) > waiting.left()
            })
        };
        if streams.open.iter().any(stuck) {
            return Verdict::Breaks;
        }
        let idle = streams.multiplexed && streams.last_open.elapsed() > surface.header_time * IDLE;
        if idle { Verdict::Ends } else { Verdict::Goes }
    }
}

/// A request of an HTTP/2 connection, and its response.
pub(super) struct Stream {
    state: Arc<ConnectionState>,
    waiting: Arc<Waiting>,
    /// The number of bytes that the reader has not consumed.
    sent: usize,
}

impl Stream {
    /// Watches the body of the response: from now on the reader may be waited for.
    pub(super) fn answers(mut self, body: Body) -> Body {
        self.waits(Some(0));
        Body::new(Watched { body, stream: self })
    }

    /// Records that the reader consumed everything and has `bytes` more to consume; `None` while
    /// the server has nothing to send.
    fn waits(&mut self, bytes: Option<usize>) {
        let now = self.state.age();
        let since = self.waiting.since.swap(bytes.map_or(0, |_| now), Ordering::Relaxed);
        if since > 0 {
            let waited = Duration::from_millis(now.saturating_sub(since));
            let mut pace = self.waiting.pace.lock().unwrap_or_else(PoisonError::into_inner);
            pace.took(self.sent, waited);
        }
        self.sent = bytes.unwrap_or(0);
    }
}

struct Watched {
    body: Body,
    stream: Stream,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        let bytes = match &frame {
            Poll::Ready(Some(Ok(frame))) => Some(frame.data_ref().map_or(0, Bytes::len)),
            Poll::Ready(Some(Err(_))) => Some(0),
            _ => None,
        };
        self.stream.waits(bytes);
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
