//! The application in the benchmark's own process.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Method, Request};
use cp_server::identity::bootstrap::{First, Handover, bootstrap};
use cp_server::kernel::access::caller::Caller;
use cp_server::kernel::clock::{Clock, Random};
use cp_server::kernel::db::Db;
use cp_server::kernel::secret::Kek;
use cp_server::{App, Settings, licensing, server};
use serde_json::Value;
use tower::ServiceExt;

/// Measures on a new SQLite file, and on the empty database that `CP_BENCH_POSTGRES` names.
pub(crate) fn on_each_database(measure: impl AsyncFn(&'static str, &str)) {
    if is_test() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let file = format!("sqlite:{}", folder.path().join("bench.db").display());
        measure("SQLite", &file).await;
        #[expect(clippy::disallowed_methods, reason = "a benchmark has no configuration")]
        if let Ok(url) = std::env::var("CP_BENCH_POSTGRES") {
            measure("PostgreSQL", &url).await;
        }
    });
}

/// Whether `cargo test --benches` asks only if the benchmark builds and starts.
pub(crate) fn is_test() -> bool {
    std::env::args().any(|argument| argument == "--test")
}

/// The application with its first key, and its routes.
pub(crate) struct Local {
    pub(crate) app: App,
    pub(crate) router: Router,
}

impl Local {
    pub(crate) async fn open(db: Db) -> Self {
        Self::at(db, Clock::system()).await
    }

    pub(crate) async fn at(db: Db, clock: Clock) -> Self {
        let mut settings = Settings::new("http://127.0.0.1:8801", "data-plane");
        settings.shared.rate_limits = false;
        settings.webhooks.0.allow_loopback = true;
        let kek = Kek::new(&[7; 32]).unwrap();
        let app = cp_server::app(db, clock, Random::system(), kek, settings);
        cp_server::migrate(&app).await.unwrap();
        licensing::keys::start::prepare(&app, None, None).await.unwrap();
        let router = server::router(&app);
        Self { app, router }
    }

    /// Returns the first superadmin's token.
    pub(crate) async fn token(&self) -> String {
        let first = bootstrap(&self.app, Handover::Shown).await.unwrap();
        let Some(First::Shown(token)) = first else { panic!("no token was made") };
        token.expose().to_owned()
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.send(method, path, &body).await;
        assert!(status < 300, "{path}: {status} {}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).unwrap_or_default()
    }

    /// Calls, and leaves the answer unread: reading it is the client's work.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: &Value, expected: u16) {
        let (status, answer) = self.send(method, path, body).await;
        assert_eq!(status, expected, "{path}: {}", String::from_utf8_lossy(&answer));
    }

    /// Creates something, and returns its ID.
    pub(crate) async fn create(&self, path: &str, body: Value) -> String {
        let made = self.call(Method::POST, path, body).await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Calls as the command line does: without a network and without a token.
    async fn send(&self, method: Method, path: &str, body: &Value) -> (u16, Bytes) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut request = Request::builder()
            .method(method)
            .uri(format!("/api/v1{path}"))
            .header("content-type", "application/json")
            .body(Body::from(body))
            .unwrap();
        request.extensions_mut().insert(Caller::system("bench"));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        (status, axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap())
    }
}

/// The memory of this process, in KiB.
pub(crate) fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0.0)
}
