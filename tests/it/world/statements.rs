//! The statements that a test sends to its database.
//!
//! On PostgreSQL sqlx reports them. The server's own count (`pg_stat_statements`) forgets: all tests
//! share its table, and what is rare goes when it is full. On SQLite sqlx runs them on threads of its
//! own, so the kernel reports them before.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::sync::Once;

use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber, span};

use super::World;

const BY_DRIVER: &str = "sqlx::query";
const BY_KERNEL: &str = "cp_server::statements";

thread_local! {
    /// A `#[tokio::test]` has a thread of its own; `None` where no test counts.
    static SENT: Cell<Option<u64>> = const { Cell::new(None) };
    static COUNTED: Cell<&'static str> = const { Cell::new(BY_DRIVER) };
    /// The texts of the statements; `None` where no test reads them.
    static TEXTS: RefCell<Option<BTreeSet<String>>> = const { RefCell::new(None) };
}

/// Returns the texts of the statements of some work.
pub async fn texts_of(work: impl Future<Output = ()>) -> BTreeSet<String> {
    count_statements();
    COUNTED.set(BY_KERNEL);
    TEXTS.set(Some(BTreeSet::new()));
    work.await;
    TEXTS.take().unwrap_or_default()
}

/// Adds the text of a statement to those that a test reads.
struct ReadText;

impl Visit for ReadText {
    fn record_str(&mut self, _: &Field, text: &str) {
        TEXTS.with_borrow_mut(|texts| texts.as_mut().map(|texts| texts.insert(text.to_owned())));
    }
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
}

/// Counts the statements of a read on either database. Statements of the credential count too.
pub async fn statements_of(world: &World, path: &str) -> u64 {
    least_statements(async || drop(world.get(world.org(path)).await.expect(200))).await
}

/// Counts the statements of a request on either database: the least of three requests, because some
/// requests also store the last use of a credential.
pub async fn least_statements(request: impl AsyncFn()) -> u64 {
    count_statements();
    COUNTED.set(BY_KERNEL);
    let mut least = u64::MAX;
    for _ in 0..3 {
        let before = statements_so_far();
        request().await;
        least = least.min(statements_so_far() - before);
    }
    least
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
            BY_DRIVER | BY_KERNEL => Interest::sometimes(),
            _ => Interest::never(),
        }
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        SENT.get().is_some()
    }

    fn event(&self, event: &Event<'_>) {
        if event.metadata().target() != COUNTED.get() {
            return;
        }
        SENT.set(SENT.get().map(|sent| sent + 1));
        event.record(&mut ReadText);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}
