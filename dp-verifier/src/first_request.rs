//! The first request for a status list or a proof, and the tasks that wait for it.

#[cfg(feature = "fetch")]
use std::sync::atomic::Ordering::Release;
use std::sync::atomic::{AtomicBool, Ordering::Acquire};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// The progress of the first request for a document.
#[derive(Default)]
pub(crate) struct FirstRequest {
    is_wanted: AtomicBool,
    is_over: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl FirstRequest {
    /// Claims the first request. Returns `true` to exactly one caller.
    #[cfg(feature = "fetch")]
    pub(crate) fn claim(&self) -> bool {
        !self.is_wanted.swap(true, Release)
    }

    /// Records the end of the first request, and wakes the waiting tasks. The outcome does not
    /// matter.
    #[cfg(feature = "fetch")]
    pub(crate) fn end(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_over.store(true, Release);
        waiting.drain(..).for_each(Waker::wake);
    }

    /// Returns whether the request is running.
    pub(crate) fn is_pending(&self) -> bool {
        self.is_wanted.load(Acquire) && !self.is_over.load(Acquire)
    }

    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        // The lock closes the gap between the check and the registration of the waker.
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.is_pending() {
            return Poll::Ready(());
        }
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}
