//! Work that runs to its end when its client is gone.
//!
//! # Design
//! The server drops the future of a request when the client disconnects, at any await. For a read
//! that is right. A change would end at a place that its client chose: done or not done, known to no
//! caller, and announced to none of this replica's caches. A change therefore runs in a task of its
//! own, and the request only waits for it. The request's [`Deadline`] bounds it. The commit and its
//! announcement ([`App::commit`](crate::kernel::app::App::commit)) are one such task again: the deadline passes
//! before or after both. The request's parts stay with the work, and with them the connection's place in
//! the limits: clients that reset their connections do not get around them.
//!
//! A change that still waits for SQLite's writer has not begun. It ends with its [`Client`]. Otherwise a
//! flood of abandoned changes would hold up each client of the same share that waits for its answer.

use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::http::request::Parts;
use cp_contracts::ProblemCode;
use futures_util::FutureExt;
use tokio::sync::watch;
use tracing::Instrument;

use crate::kernel::error::{Error, Result};
use crate::kernel::panics;

/// Runs the work in a task of its own. A panic ends the work, and is an error.
pub async fn to_the_end<T, F>(work: F) -> Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let work = async move {
        let done = AssertUnwindSafe(work).catch_unwind().await;
        // Here, and not where it is waited for: the thread knows where its panic was.
        done.unwrap_or_else(|panic| Err(panics::caught(&*panic)))
    };
    let done = tokio::spawn(work.in_current_span()).await;
    done.unwrap_or_else(|ended| Err(Error::internal(ended)))
}

/// The client of a change. It may go away before the change begins.
#[derive(Clone)]
pub(in crate::kernel) struct Client(Option<watch::Receiver<()>>);

/// A client that waits for its answer, until this is dropped.
pub(in crate::kernel) struct Waiting {
    _sender: watch::Sender<()>,
}

impl Client {
    pub(in crate::kernel) fn new() -> (Self, Waiting) {
        let (sender, receiver) = watch::channel(());
        (Self(Some(receiver)), Waiting { _sender: sender })
    }

    /// For work that began, and for work that no client asked for.
    pub(in crate::kernel) fn that_stays() -> Self {
        Self(None)
    }

    /// Begins the transaction of a change, unless the client goes away first.
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
            () = gone => Err(Error::unavailable("The client went away before its change began.", 1)),
            begun = begin => Ok(begun?),
        }
    }
}

/// Until when a request's answer must begin.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    pub at: Instant,
    /// The time that the request had, in seconds.
    pub seconds: u64,
}

impl Deadline {
    /// The request's deadline; the standard time from now on where nothing set one.
    pub(super) fn of(parts: &Parts) -> Self {
        let seconds = 30;
        let standard = || Self { at: Instant::now() + Duration::from_secs(seconds), seconds };
        parts.extensions.get().copied().unwrap_or_else(standard)
    }

    /// Drops the work at the deadline. A transaction that is open then is rolled back; a commit that
    /// has begun is completed and announced.
    pub(super) async fn bounds<T>(self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let done = tokio::time::timeout_at(self.at.into(), work).await;
        done.unwrap_or_else(|_| Err(self.passed()))
    }

    pub fn passed(self) -> Error {
        let detail = format!(
            "The request took longer than {} seconds; a change was either made or not: ask, or \
             repeat it with its Idempotency-Key.",
            self.seconds
        );
        Error::new(ProblemCode::Timeout, detail)
    }
}
