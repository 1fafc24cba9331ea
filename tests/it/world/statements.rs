//! The statements that a test sends to PostgreSQL, as sqlx tells them.
//!
//! The server's own count (`pg_stat_statements`) forgets: all tests share its table, and what is
//! rare goes when it is full.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::subscriber::{DefaultGuard, Interest};
use tracing::{Event, Metadata, Subscriber, span};

/// Counts on the thread that made it, which is all of a `#[tokio::test]`.
pub struct Statements {
    count: Arc<AtomicU64>,
    _guard: DefaultGuard,
}

impl Statements {
    pub fn count() -> Self {
        let count = Arc::<AtomicU64>::default();
        let guard = tracing::subscriber::set_default(Counter(Arc::clone(&count)));
        Self { count, _guard: guard }
    }

    pub fn so_far(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

struct Counter(Arc<AtomicU64>);

impl Subscriber for Counter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.enabled(metadata) { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn event(&self, _: &Event<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
