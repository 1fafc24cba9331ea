//! Waiting until something has been asked for once: a list, or a proof.

#[cfg(feature = "fetch")]
use std::sync::atomic::Ordering::Release;
use std::sync::atomic::{AtomicBool, Ordering::Acquire};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// How far the first request for a list has come.
#[derive(Default)]
pub(crate) struct FirstRequest {
    is_wanted: AtomicBool,
    is_over: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl FirstRequest {
    /// Claims the first request. Only one caller is told `true`.
    #[cfg(feature = "fetch")]
    pub(crate) fn claim(&self) -> bool {
        !self.is_wanted.swap(true, Release)
    }

    /// The first request has ended, well or not.
    #[cfg(feature = "fetch")]
    pub(crate) fn end(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_over.store(true, Release);
        waiting.drain(..).for_each(Waker::wake);
    }

    /// Whether it is under way.
    pub(crate) fn is_pending(&self) -> bool {
        self.is_wanted.load(Acquire) && !self.is_over.load(Acquire)
    }

    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        // Under the lock, so that no end is missed between looking and waiting.
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
