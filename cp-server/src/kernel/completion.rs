//! Work that completes even when its client disconnects.
//!
//! # Design
//!
//! The server drops the future of a request when the client disconnects, at any await. For a read
//! that is right. A change would end at a point that its client chose: done or not, unknown to
//! every caller, and not announced to this replica's caches. So a change that loses its request moves
//! to its own task, where it ends. Most changes never move: a task for each would cost two switches. The
//! request's [`Deadline`] bounds the change. The commit and its announcement
//! ([`App::commit`](crate::kernel::app::App::commit)) move likewise when the deadline drops them: it
//! passes before or after both. The change holds the request's parts, and with them the connection's slot in the limits:
//! clients that reset their connections do not escape the limits.
//!
//! A change that still waits for SQLite's writer has not begun. It ends with its client. Otherwise
//! a flood of abandoned changes would delay every client of the same share that waits for its response.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::http::request::Parts;
use cp_contracts::ProblemCode;
use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::kernel::error::{Error, Result};
use crate::kernel::panics;
use crate::kernel::traces::{Span, Tracing};

/// Runs the work, which ends even when the returned future is dropped. A panic ends the work and
/// becomes an error.
pub async fn to_the_end<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let work = async move {
        let done = AssertUnwindSafe(work).catch_unwind().await;
        // Catch the panic where it happens: only this thread knows its location.
        done.unwrap_or_else(|panic| Err(panics::caught(&*panic)))
    };
    Unfinished(Some(Box::pin(work.within(Span::current())))).await
}

/// Work that moves to its own task when it is dropped before its end.
struct Unfinished<F: Future<Output: Send> + Send + 'static>(Option<Pin<Box<F>>>);

impl<F: Future<Output: Send> + Send + 'static> Future for Unfinished<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let Some(work) = &mut self.0 else { return Poll::Pending };
        let done = ready!(work.as_mut().poll(cx));
        self.0 = None;
        Poll::Ready(done)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for Unfinished<F> {
    fn drop(&mut self) {
        // Without a runtime, the process ends.
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

/// The client of a change, which may disconnect before the change begins.
#[derive(Clone)]
pub(in crate::kernel) struct Client(Option<watch::Receiver<()>>);

/// Dropped when the client disconnects.
pub(in crate::kernel) struct Waiting {
    _sender: watch::Sender<()>,
}

impl Client {
    /// Returns a client, and what the request drops when the client disconnects.
    pub(in crate::kernel) fn that_may_leave() -> (Self, Option<Waiting>) {
        let (sender, receiver) = watch::channel(());
        (Self(Some(receiver)), Some(Waiting { _sender: sender }))
    }

    /// For work that has begun, and for work without a client.
    pub(in crate::kernel) fn that_stays() -> Self {
        Self(None)
    }

    /// Begins the transaction of a change, unless the client disconnects first.
    pub(in crate::kernel) async fn begins<T>(
        mut self,
        begin: impl Future<Output = sqlx::Result<T>>,
    ) -> Result<T> {
        let gone = async {
            match &mut self.0 {
                Some(waiting) => while waiting.changed().await.is_ok() {},
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = gone => {
                Err(Error::unavailable("The client disconnected before its change began.", 1))
            }
            begun = begin => Ok(begun?),
        }
    }
}

/// The latest time at which the response of a request must begin.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    pub at: Instant,
    /// The time that the request had in total, in seconds.
    pub seconds: u64,
}

impl Deadline {
    /// Returns the request's deadline; by default, the standard time from now.
    pub(super) fn of(parts: &Parts) -> Self {
        let seconds = 30;
        let standard = || Self { at: Instant::now() + Duration::from_secs(seconds), seconds };
        parts.extensions.get().copied().unwrap_or_else(standard)
    }

    /// Drops the work at the deadline. An open transaction is rolled back; a commit that has begun
    /// is completed and announced.
    pub(super) async fn bounds<T>(self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let done = tokio::time::timeout_at(self.at.into(), work).await;
        done.unwrap_or_else(|_| Err(self.passed()))
    }

    pub fn passed(self) -> Error {
        let detail = format!(
            "The request took longer than {} seconds. The change may or may not have been made: \
             read the state, or repeat the request with its Idempotency-Key.",
            self.seconds
        );
        Error::new(ProblemCode::Timeout, detail)
    }
}
