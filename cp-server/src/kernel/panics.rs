//! Panics: faults of the program, each of which ends one request and is told without its words.
//!
//! # Design
//! A panic's message is made of what was at hand: `unwrap` shows the whole error, and that may hold
//! what a caller sent. Words that stand in the source as they are can be told; words that were put
//! together at run time are not, at any level. Where it was says enough to find the fault, and
//! `RUST_BACKTRACE=1` says how it came there.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::set_hook;

use crate::kernel::error::Error;

thread_local! {
    /// Where the last panic of this thread was, until somebody catches it.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Tells panics in the log from now on, and nowhere else.
pub fn tell() {
    set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or_default();
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
        let backtrace = backtrace.as_ref().map(tracing::field::display);
        tracing::error!(place, thread, why = words(panic.payload()), backtrace, "a panic");
        // A thread that is ending has no place to keep it, and a panic in here would be the last.
        let _ = PLACE.try_with(|kept| kept.replace(Some(place)));
    }));
}

/// What becomes of a request whose handler panicked on this thread.
pub(crate) fn caught(panic: &(dyn Any + Send)) -> Error {
    let place = PLACE.take().unwrap_or_else(|| "a place that nobody noted".into());
    Error::internal(anyhow::anyhow!("a panic at {place}: {}", words(panic)))
}

/// A message without arguments is a literal of the source.
fn words(panic: &(dyn Any + Send)) -> &'static str {
    panic.downcast_ref::<&'static str>().copied().unwrap_or("its words may be a caller's")
}
