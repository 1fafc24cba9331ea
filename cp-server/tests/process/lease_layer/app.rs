//! The applications of these tests, their clock, and their server.

use std::net::SocketAddr;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use dp_verifier::{
    Clock, HeldLease, Holder, LeaseError, LeaseLayer, Leases, LicenseContext, LicenseLayer,
    SystemClock, Verifier,
};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::cluster::reserved_address;
use crate::server::{KEK, Server, command, folder};

pub const POOL: &str = "render";
/// The ttl of the pool, in seconds.
pub const TTL: i64 = 300;
pub const DAY: i64 = 86_400;

/// A server whose license has one seat, and the token of its deployment.
pub struct World {
    pub server: Server,
    pub url: String,
    pub license: String,
    deployment: String,
    pub token: String,
    folder: TempDir,
}

impl World {
    pub fn start() -> Self {
        let folder = folder();
        // Status lists come from the issuer's URL, so its port must be known before the start.
        let free = reserved_address();
        let url = format!("http://{free}");
        let server = serve(folder.path(), &url);
        let license = server.license().trim_end_matches("/bundles").to_owned();
        let pool = json!({"kind": "floating", "cap": 1, "ttl_seconds": TTL, "borrow_seconds": DAY});
        let leasing = json!({"leasing": {POOL: pool}});
        let (status, found) =
            server.call("PATCH", &format!("/api/v1{license}"), Some(leasing), "pool");
        assert_eq!(status, 200, "{found}");
        let deployment = found["deployment_id"].as_str().unwrap().to_owned();
        let tokens = format!("/deployments/{deployment}/service-tokens");
        let token = server.post(&tokens, json!({"name": "data plane"}));
        let token = token["token"].as_str().unwrap().to_owned();
        Self { server, url, license, deployment, token, folder }
    }

    pub fn stop(&mut self) {
        self.server.signal(Signal::KILL);
        self.server.wait();
    }

    pub fn restart(&mut self) {
        self.server = serve(self.folder.path(), &self.url);
    }

    /// Suspends or reinstates the license.
    pub fn change(&self, operation: &str) {
        let path = format!("/api/v1{}/{operation}", self.license);
        let (status, found) = self.server.call("POST", &path, Some(json!({})), operation);
        assert_eq!(status, 200, "{found}");
    }

    /// Returns the number of live leases.
    pub fn live(&self) -> usize {
        let path = format!("/api/v1{}/leases?pool={POOL}", self.license);
        let (status, found) = self.server.call("GET", &path, None, "x");
        assert_eq!(status, 200, "{found}");
        found["items"].as_array().unwrap().len()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns a verifier that has checked in.
    pub fn verifier(&self, clock: TestClock) -> Verifier {
        let Self { url, deployment, token, .. } = self;
        let verifier = Verifier::builder()
            .issuer(url)
            .audience("data-plane")
            .jwks_url(format!("{url}/.well-known/jwks.json"))
            .jwks_cooldown(Duration::from_secs(1))
            .check_in(format!("{url}/api/v1/deployments/{deployment}/check-in"), token.as_str())
            // Within a minute of a token the server signs no other one: the apps share the first one.
            .token_store(self.path("token"))
            .clock(clock);
        verifier.build().unwrap()
    }
}

fn serve(folder: &Path, url: &str) -> Server {
    let mut command = command(folder);
    command.env("CP_KEY_ENCRYPTION_KEY", KEK).env("CP_BASE_URL", url);
    let listen = url.trim_start_matches("http://");
    Server::run(command.env("CP_LISTEN", listen).arg("serve"))
}

/// The machine's clock, and the seconds by which it is wrong.
#[derive(Clone, Default)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    pub fn set(&self, now: i64) {
        self.0.store(now - SystemClock.now(), Ordering::SeqCst);
    }

    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> i64 {
        SystemClock.now() + self.0.load(Ordering::SeqCst)
    }
}

/// A running axum application.
pub struct Site {
    address: SocketAddr,
    runtime: Runtime,
}

impl Site {
    pub fn start(router: Router) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async { axum::serve(listener, router).await });
        Self { address, runtime }
    }

    /// Returns the status, and the problem or the text.
    pub fn get(&self, path: &str) -> (u16, Value) {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let mut answer = agent.get(format!("http://{}{path}", self.address)).call().unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    #[track_caller]
    pub fn refused(&self, path: &str, status: u16, code: &str, reason: &str) {
        let (found, problem) = self.get(path);
        assert_eq!((found, &problem["code"]), (status, &json!(code)), "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{path}: {problem}");
    }
}

/// An application with a fetched token and a held seat, as `examples/seats.rs` of dp-verifier.
pub struct App {
    site: Site,
    pub clock: TestClock,
    pub verifier: Verifier,
    pub seats: Leases,
    /// The first lease.
    pub lease: HeldLease,
}

impl App {
    pub fn start(world: &World, name: &str) -> Result<Self, LeaseError> {
        let (clock, holder) = (TestClock::default(), Holder::id(name));
        let verifier = world.verifier(clock.clone());
        let seats = verifier.leases(world.token.as_str());
        let lease = seats.acquire(POOL, &holder)?;
        let seat = LeaseLayer::new(lease.clone());
        let state = get(async |license: LicenseContext| license.state().to_string());
        let licensed = Router::new().route("/", state).layer(seat.clone());
        let licensed = licensed.layer(LicenseLayer::new(verifier.clone()).or_token(None));
        let unlicensed = Router::new().route("/seat", get(async || "open")).layer(seat.clone());
        let site = Site::start(licensed.merge(unlicensed));
        site.runtime.spawn(keep(seats.clone(), holder, lease.clone(), seat));
        Ok(Self { site, clock, verifier, seats, lease })
    }

    /// Checks that requests are admitted, and that the license has this state.
    #[track_caller]
    pub fn admits(&self, state: &str) {
        assert_eq!(self.get("/"), (200, json!(state)));
        assert_eq!(self.get("/seat"), (200, json!("open")));
    }

    /// Checks that requests are refused because the seat is lost, for this reason.
    #[track_caller]
    pub fn has_lost(&self, reason: &str) {
        self.refused("/", 503, "lease_lost", reason);
        self.refused("/seat", 503, "lease_lost", reason);
    }
}

impl Deref for App {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

/// Acquires another lease when one is lost.
async fn keep(seats: Leases, holder: Holder, mut lease: HeldLease, seat: LeaseLayer) {
    loop {
        lease.lost().await;
        lease = loop {
            match seats.acquire_async(POOL, &holder).await {
                Ok(lease) => break lease,
                Err(_) => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        };
        seat.replace(lease.clone());
    }
}
