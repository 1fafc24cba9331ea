//! The state of a connection: whether its client ever asked for anything, and whether the client takes
//! what it asked for.
//!
//! Over HTTP/1.1 the parser and `io.rs` detect a client that stalls. Over HTTP/2 a client may keep its
//! connection busy and never open the window of a stream, so the body of each answer is watched.

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

/// How many times `header_time` an HTTP/2 connection may be without a request.
const IDLE: u32 = 6;

/// How many bytes are still read of a client that was refused, and for how long: closing at once what
/// it goes on sending to would reset the connection, and take the answer from it.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    pub(super) bytes: usize,
    pub(super) time: Duration,
}

/// More than any body that is taken: who sends too large a one sees why it was refused.
const WITH_ANYBODY: Patience = Patience { bytes: 1024 * 1024, time: Duration::from_secs(1) };
/// What it goes on sending is what it was refused for.
const FLOOD_READ: usize = 16 * 1024;
/// So many refusals of an address that is over its rate are a flood, on a connection that is not
/// closed with the first of them.
const FLOOD: usize = 100;

pub(super) struct ConnectionState {
    began: Instant,
    asked: AtomicBool,
    /// Whether bytes were received since the last request began or was answered.
    unparsed: AtomicBool,
    refused: AtomicBool,
    /// Refusals of an address that is over its rate.
    over_rate: AtomicUsize,
    flooded: Notify,
    /// For which a flood is kept waiting: let go at once, it would be back at once.
    flood_time: Duration,
    surface: Surface,
    streams: Mutex<Streams>,
}

struct Streams {
    open: Vec<Weak<Waiting>>,
    last_open: Instant,
    multiplexed: bool,
}

/// A body, as its reader takes it.
struct Waiting {
    /// Since when it waits for its reader, in milliseconds of the connection's life; 0 while it does
    /// not.
    since: AtomicU64,
    pace: Mutex<Pace>,
}

impl Waiting {
    fn left(&self) -> Duration {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).left()
    }
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Goes,
    /// It has nothing to do: what may still come is answered.
    Ends,
    /// It keeps what others could use.
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

    /// A request begins.
    pub(super) fn asked(&self) {
        self.asked.store(true, Ordering::Relaxed);
        self.unparsed.store(false, Ordering::Relaxed);
    }

    /// A request is answered, and its body was read.
    pub(super) fn answered(&self) {
        self.unparsed.store(false, Ordering::Relaxed);
    }

    /// Bytes arrive.
    pub(super) fn received(&self) {
        self.unparsed.store(true, Ordering::Relaxed);
    }

    /// The client may be sending still what nobody wants.
    pub(super) fn refused(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// The same, and its address is over its rate.
    pub(super) fn refused_as_over_rate(&self) {
        if self.over_rate.fetch_add(1, Ordering::Relaxed) + 1 == FLOOD {
            self.flooded.notify_one();
        }
    }

    /// `None` while nothing was refused.
    pub(super) fn patience(&self) -> Option<Patience> {
        if self.over_rate.load(Ordering::Relaxed) > 0 {
            return Some(Patience { bytes: FLOOD_READ, time: self.flood_time });
        }
        let refused = self.refused.load(Ordering::Relaxed) || self.refused_by_the_parser();
        refused.then_some(WITH_ANYBODY)
    }

    /// Whether the connection, which ends now, ends because of bytes that became no request. Over
    /// HTTP/2 other frames than requests arrive all the time.
    fn refused_by_the_parser(&self) -> bool {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        self.unparsed.load(Ordering::Relaxed) && !streams.multiplexed
    }

    /// How long to keep it waiting, once there is a flood.
    pub(super) async fn flooded(&self) -> Duration {
        self.flooded.notified().await;
        self.flood_time
    }

    /// A stream of an HTTP/2 connection begins.
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
            // Twice: for the protocol to be told, and for the first head.
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

/// One request of an HTTP/2 connection, and its answer.
pub(super) struct Stream {
    state: Arc<ConnectionState>,
    waiting: Arc<Waiting>,
    /// Bytes that the reader is being waited for to take.
    sent: usize,
}

impl Stream {
    /// The answer's body is there: from now on the reader may be waited for.
    pub(super) fn answers(mut self, body: Body) -> Body {
        self.waits(Some(0));
        Body::new(Watched { body, stream: self })
    }

    /// The reader took what there was, and has so many more bytes to take; `None` while this server
    /// has nothing for it.
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
