//! The statements that a test sends to PostgreSQL, as sqlx reports them.
//!
//! The server's own count (`pg_stat_statements`) forgets: all tests share its table, and what is
//! rare goes when it is full.

use std::cell::Cell;
use std::sync::Once;

use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber, span};

thread_local! {
    /// A `#[tokio::test]` has a thread of its own; `None` where no test counts.
    static SENT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Counts on this thread from now on.
pub fn count_statements() {
    static INSTALLED: Once = Once::new();
    // For the whole process: where a subscriber is one thread's alone, an event that another thread
    // meets first stays off for all (tracing-core asks the thread's own subscriber then).
    INSTALLED.call_once(|| {
        tracing::subscriber::set_global_default(Counter).unwrap();
        tracing::callsite::rebuild_interest_cache();
    });
    SENT.set(Some(0));
}

pub fn statements_so_far() -> u64 {
    SENT.get().expect("a test that counts")
}

struct Counter;

impl Subscriber for Counter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        match metadata.target() {
            "sqlx::query" => Interest::sometimes(),
            _ => Interest::never(),
        }
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        SENT.get().is_some()
    }

    fn event(&self, _: &Event<'_>) {
        SENT.set(SENT.get().map(|sent| sent + 1));
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
