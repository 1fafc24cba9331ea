//! Panics: each ends one request; the log does not contain messages that may hold a caller's data.
//!
//! # Design
//!
//! A panic's message is formatted from local values: `unwrap` shows the whole error, which may
//! contain what a caller sent. A literal message of the source is safe to log; a formatted message
//! is not, at any level. The location is enough to find the bug, and `RUST_BACKTRACE=1` adds the
//! way to it.

use std::any::Any;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::RefCell;
use std::panic::set_hook;

use crate::kernel::error::Error;

thread_local! {
    /// The location of this thread's last panic, until it is caught.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Logs panics from now on, and reports them nowhere else.
pub fn install_hook() {
    set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current();
        let thread = thread.name().unwrap_or_default();
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
        let backtrace = backtrace.as_ref().map(tracing::field::display);
        tracing::error!(place, thread, why = words(panic.payload()), backtrace, "a panic");
        // A thread that is ending cannot keep the location, and a panic in this hook would abort.
        let _ = PLACE.try_with(|kept| kept.replace(Some(place)));
    }));
}

/// Returns the error of a request whose handler panicked on this thread.
pub(crate) fn caught(panic: &(dyn Any + Send)) -> Error {
    let place = PLACE.take().unwrap_or_else(|| "an unknown location".into());
    Error::internal(anyhow::anyhow!("a panic at {place}: {}", words(panic)))
}

/// Returns the message if it has no arguments: then it is a literal of the source.
fn words(panic: &(dyn Any + Send)) -> &'static str {
    panic
        .downcast_ref::<&'static str>()
        .copied()
        .unwrap_or("(its message may contain a caller's data)")
}
