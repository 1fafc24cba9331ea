//! Held leases, against a control plane on loopback.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use dp_verifier::ErrorCode::{LeaseExpired, LeaseOver};
use dp_verifier::cp_contracts::ProblemCode;
use dp_verifier::{
    Claim, ErrorCode, Fingerprint, HeldLease, Holder, LeaseError, LeaseState, Leases,
    LicenseContext, Verifier,
};
use serde_json::json;

use crate::control_plane::{ControlPlane, TTL};
use crate::fetch_lists::wait_for;
use crate::support::*;

pub(crate) struct Fixture {
    pub(crate) server: ControlPlane,
    verifier: Verifier,
    pub(crate) license: LicenseContext,
    pub(crate) seats: Leases,
}

pub(crate) fn start() -> Fixture {
    let server = ControlPlane::start();
    let verifier = server.builder().build().unwrap();
    let license = verifier.verify(&KEY.token(&server.claims())).unwrap();
    let seats = verifier.leases("cpat_token").of(&license);
    Fixture { server, verifier, license, seats }
}

impl Fixture {
    pub(crate) fn acquire(&self, holder: &str) -> HeldLease {
        self.seats.acquire("render", &Holder::id(holder)).unwrap()
    }
}

#[track_caller]
pub(crate) fn assert_lost(lease: &HeldLease, code: ErrorCode, refusal: Option<ProblemCode>) {
    match lease.state() {
        LeaseState::Lost(actual, reason) => {
            assert_eq!(actual, code);
            assert_eq!(reason.map(|reason| reason.code().clone()), refusal);
        }
        state => panic!("the lease is in the state {state:?}"),
    }
}

/// The hash that the control plane gives a holder.
fn hash(holder: &str) -> String {
    base64url(json!({ "id": holder }).to_string())
}

/// Waits for the thread, which works on its own.
#[track_caller]
pub(crate) fn eventually(what: impl Fn() -> bool) {
    let begun = Instant::now();
    while !what() {
        assert!(begun.elapsed() < Duration::from_secs(10), "nothing happened");
        std::thread::yield_now();
    }
}

/// A task that counts how often it is woken.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn acquired_lease_is_held_by_heartbeats() {
    let fixture = start();
    let Fixture { server, seats, .. } = &fixture;
    let lease = fixture.acquire("a");
    assert_eq!(lease.state(), LeaseState::Held);
    assert_eq!(lease.expires_at(), Some(NOW + TTL));
    let (method, path, credential, body) = server.requests().remove(0);
    let license_id = fixture.license.license_id();
    assert_eq!((&*method, path), ("POST", format!("/api/v1/licenses/{license_id}/leases")));
    assert_eq!(credential, "Bearer cpat_token");
    assert_eq!(body, json!({ "pool": "render", "holder": { "id": "a" } }));
    // Not before the server wants it.
    server.set_clock(NOW + TTL / 2 - 1);
    seats.send_heartbeats();
    assert!(server.sent("PUT").is_empty());
    server.set_clock(NOW + TTL / 2);
    seats.send_heartbeats();
    assert_eq!(server.sent("PUT"), [json!({ "holder": { "id": "a" } })]);
    assert_eq!(lease.expires_at(), Some(NOW + TTL / 2 + TTL));
    assert_eq!(lease.state(), LeaseState::Held);
}

#[test]
fn lease_without_the_network_is_late_and_lost_at_its_end() {
    let fixture = start();
    let Fixture { server, seats, .. } = &fixture;
    let lease = fixture.acquire("a");
    server.set_down(true);
    assert_eq!(lease.state(), LeaseState::Held);
    server.set_clock(NOW + TTL / 2);
    seats.send_heartbeats();
    assert_eq!(lease.state(), LeaseState::Late);
    server.set_clock(NOW + TTL - 1);
    seats.send_heartbeats();
    assert_eq!(lease.state(), LeaseState::Late);
    assert_eq!(lease.expires_at(), Some(NOW + TTL));
    // The state depends on the time, not on the thread.
    server.set_clock(NOW + TTL);
    assert_lost(&lease, LeaseExpired, None);
    seats.send_heartbeats();
    assert_lost(&lease, LeaseExpired, None);
    // The lease stays lost when the network returns, and the holder acquires another one.
    server.set_down(false);
    seats.send_heartbeats();
    assert_lost(&lease, LeaseExpired, None);
    let next = fixture.acquire("a");
    assert_eq!(next.state(), LeaseState::Held);
    assert_ne!(next.id(), lease.id());
}

#[test]
fn late_lease_is_held_again_when_the_network_returns() {
    let fixture = start();
    let Fixture { server, seats, .. } = &fixture;
    let lease = fixture.acquire("a");
    server.set_down(true);
    server.set_clock(NOW + TTL / 2);
    seats.send_heartbeats();
    assert_eq!(lease.state(), LeaseState::Late);
    server.set_down(false);
    // The thread tries again by itself.
    eventually(|| lease.state() == LeaseState::Held);
    assert_eq!(lease.expires_at(), Some(NOW + TTL / 2 + TTL));
}

#[test]
fn lease_is_late_when_no_heartbeat_was_sent() {
    let fixture = start();
    let lease = fixture.acquire("a");
    // The thread did not run, as on a machine that was suspended.
    fixture.server.set_clock(NOW + TTL / 2 + 14);
    assert_eq!(lease.state(), LeaseState::Held);
    fixture.server.set_clock(NOW + TTL / 2 + 15);
    assert_eq!(lease.state(), LeaseState::Late);
}

#[test]
fn refusal_that_names_the_license_counts_at_once() {
    for code in [
        ProblemCode::LicenseSuspended,
        ProblemCode::LicenseRevoked,
        ProblemCode::LicenseExpired,
        ProblemCode::OrganizationSuspended,
        ProblemCode::DeploymentInactive,
        ProblemCode::SubscriptionInactive,
    ] {
        let fixture = start();
        let lease = fixture.acquire("a");
        fixture.server.refuse_with(code.clone());
        fixture.server.set_clock(NOW + TTL / 2);
        fixture.seats.send_heartbeats();
        assert_lost(&lease, LeaseOver, Some(code.clone()));
        // It is permanent for this lease, and a claim is refused with the same code.
        match fixture.seats.acquire("render", &Holder::id("a")) {
            Err(LeaseError::Refused(refusal)) => assert_eq!(*refusal.code(), code),
            other => panic!("{other:?}"),
        }
        fixture.server.refuse_with(None);
        fixture.seats.send_heartbeats();
        assert_lost(&lease, LeaseOver, Some(code));
    }
}

#[test]
fn lease_that_the_server_ended_is_lost() {
    let fixture = start();
    let lease = fixture.acquire("a");
    fixture.server.reset();
    fixture.server.set_clock(NOW + TTL / 2);
    fixture.seats.send_heartbeats();
    assert_lost(&lease, LeaseOver, Some(ProblemCode::LeaseOver));
    // The server knows that it has ended, so the drop sends nothing.
    drop(lease);
    let next = fixture.acquire("a");
    assert!(fixture.server.released().is_empty());
    drop(next);
}

#[test]
fn refusal_of_another_kind_keeps_the_lease_until_its_end() {
    for code in [
        ProblemCode::SeatsExhausted,
        ProblemCode::Unauthenticated,
        ProblemCode::Forbidden,
        ProblemCode::RateLimited,
        ProblemCode::Unavailable,
        ProblemCode::Internal,
    ] {
        let fixture = start();
        let lease = fixture.acquire("a");
        fixture.server.refuse_with(code);
        fixture.server.set_clock(NOW + TTL / 2);
        fixture.seats.send_heartbeats();
        assert_eq!(lease.state(), LeaseState::Late);
        fixture.server.set_clock(NOW + TTL - 1);
        fixture.seats.send_heartbeats();
        assert_eq!(lease.state(), LeaseState::Late);
        fixture.server.set_clock(NOW + TTL);
        assert_lost(&lease, LeaseExpired, None);
    }
}

#[test]
fn clock_set_back_neither_ends_nor_prolongs_a_lease() {
    let fixture = start();
    let Fixture { server, verifier, seats, .. } = &fixture;
    let lease = fixture.acquire("a");
    server.set_down(true);
    server.set_clock(NOW - 100_000);
    seats.send_heartbeats();
    assert!(lease.state().has_seat());
    // A document that the issuer signed later proves the time.
    let mut later = server.claims();
    later["iat"] = json!(NOW + TTL - 1);
    later["jti"] = json!("018f2a00-0000-7000-8000-00000000eeee");
    server.set_clock(NOW + TTL - 1);
    verifier.verify(&KEY.token(&later)).unwrap();
    server.set_clock(NOW - 100_000);
    assert!(lease.state().has_seat());
    later["iat"] = json!(NOW + TTL);
    server.set_clock(NOW + TTL);
    verifier.verify(&KEY.token(&later)).unwrap();
    server.set_clock(NOW - 100_000);
    assert_lost(&lease, LeaseExpired, None);
    seats.send_heartbeats();
    server.set_clock(NOW);
    assert_lost(&lease, LeaseExpired, None);
}

#[test]
fn clock_that_is_wrong_by_a_constant_changes_no_lease() {
    for ahead in [-100_000, -250, 250, 100_000] {
        let fixture = start();
        let Fixture { server, seats, .. } = &fixture;
        server.set_ahead(ahead);
        let lease = fixture.acquire("a");
        server.set_clock(NOW + TTL / 2 - 1);
        seats.send_heartbeats();
        assert!(server.sent("PUT").is_empty());
        server.set_clock(NOW + TTL / 2);
        seats.send_heartbeats();
        assert_eq!(server.sent("PUT").len(), 1);
        assert_eq!(lease.expires_at(), Some(NOW + TTL / 2 + TTL));
        server.set_down(true);
        server.set_clock(NOW + TTL / 2 + TTL - 1);
        assert!(lease.state().has_seat());
        server.set_clock(NOW + TTL / 2 + TTL);
        assert_lost(&lease, LeaseExpired, None);
    }
}

#[test]
fn dropped_lease_is_released_within_two_seconds() {
    let fixture = start();
    let (a, b) = (fixture.acquire("a"), fixture.acquire("b"));
    let another_handle = a.clone();
    drop(a);
    drop(b);
    eventually(|| fixture.server.live() == 1);
    assert_eq!(fixture.server.released(), [hash("b")]);
    // The drop of the client waits for the release.
    let Fixture { server, seats, .. } = fixture;
    drop(seats);
    assert_eq!(server.live(), 1);
    drop(another_handle);
    assert_eq!(server.live(), 0);
}

#[test]
fn drop_without_the_network_waits_for_two_seconds_at_most() {
    let fixture = start();
    let lease = fixture.acquire("a");
    fixture.server.set_down(true);
    let begun = Instant::now();
    drop(fixture.seats);
    drop(lease);
    assert!(begun.elapsed() < Duration::from_secs(3));
}

#[test]
fn release_that_failed_is_sent_when_the_network_returns() {
    let fixture = start();
    fixture.server.set_down(true);
    assert!(fixture.seats.acquire("render", &Holder::id("a")).is_err());
    fixture.server.set_down(false);
    let a = fixture.acquire("a");
    fixture.server.set_down(true);
    drop(a);
    fixture.seats.send_heartbeats();
    assert_eq!(fixture.server.live(), 1);
    fixture.server.set_down(false);
    // The thread tries again by itself, also without another lease.
    eventually(|| fixture.server.live() == 0);
}

#[test]
fn lease_that_is_dropped_in_a_pause_is_released_soon() {
    let fixture = start();
    let (a, b) = (fixture.acquire("a"), fixture.acquire("b"));
    fixture.server.set_down(true);
    fixture.server.set_clock(NOW + TTL / 2);
    // Each failure doubles the pause.
    for _ in 0..6 {
        fixture.seats.send_heartbeats();
    }
    fixture.server.set_down(false);
    let begun = Instant::now();
    drop(a);
    eventually(|| fixture.server.live() == 1);
    assert!(begun.elapsed() < Duration::from_secs(2));
    drop(b);
}

#[test]
fn same_holder_shares_one_lease() {
    let fixture = start();
    let (a, again) = (fixture.acquire("a"), fixture.acquire("a"));
    assert_eq!(a.id(), again.id());
    drop(a);
    let other = fixture.acquire("b");
    assert_eq!(fixture.server.live(), 2);
    assert!(fixture.server.released().is_empty());
    drop((again, other));
    eventually(|| fixture.server.live() == 0);
}

#[test]
fn full_pool_refuses_a_claim_and_is_counted() {
    let fixture = start();
    fixture.server.set_cap(2);
    let held = [fixture.acquire("a"), fixture.acquire("b")];
    let claim = Claim::new("render", &Holder::id("c")).label("third").meta("host", "c");
    match fixture.seats.claim(&claim.take_over().ttl(Duration::from_secs(60))) {
        Err(LeaseError::Refused(refusal)) => {
            assert_eq!(*refusal.code(), ProblemCode::SeatsExhausted);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        server_body(&fixture),
        json!({
            "pool": "render", "holder": { "id": "c" }, "label": "third", "meta": { "host": "c" },
            "ttl_seconds": 60, "take_over": true,
        })
    );
    let usage = fixture.seats.take_usage();
    assert_eq!((usage["render"].peak, usage["render"].refused), (2, 1));
    drop(held);
    // The leases that were held at the beginning count for the next time, too.
    assert_eq!(fixture.seats.take_usage()["render"].peak, 2);
    assert!(fixture.seats.take_usage().is_empty());
}

fn server_body(fixture: &Fixture) -> serde_json::Value {
    fixture.server.sent("POST").pop().unwrap()
}

#[test]
fn machine_sends_hashes_only() {
    let fixture = start();
    let print = Fingerprint::of(&fixture.license).component("mac", "aa:bb:cc").text("node-17");
    let lease = fixture.seats.acquire("machines", &Holder::machine(&print)).unwrap();
    assert_eq!(lease.expires_at(), None);
    let sent = server_body(&fixture);
    assert!(!sent.to_string().contains("aa:bb") && !sent.to_string().contains("node-17"), "{sent}");
    let holder = sent["holder"].as_object().unwrap();
    assert_eq!(holder["fingerprint"].as_str().unwrap().len(), 43);
    assert_eq!(holder["components"].as_object().unwrap().len(), 2);
    // Only pools of machines have components.
    let other = fixture.seats.acquire("render", &Holder::machine(&print)).unwrap();
    let fingerprint = &sent["holder"]["fingerprint"];
    assert_eq!(server_body(&fixture)["holder"], json!({ "fingerprint": fingerprint }));
    drop(other);
    eventually(|| fixture.server.live() == 1);
    // Without an end the lease survives any time without the network.
    fixture.server.set_down(true);
    fixture.server.set_clock(NOW + 400 * 86_400);
    assert_eq!(lease.state(), LeaseState::Late);
    lease.keep();
    fixture.server.set_down(false);
    drop(fixture.seats);
    assert_eq!(fixture.server.live(), 1);
}

#[test]
fn license_key_is_another_scheme() {
    let fixture = start();
    let key = "01234-56789-ABCDE-FGHJK-MNP8N";
    let seats = fixture.verifier.leases(key).of(&fixture.license);
    let lease = seats.acquire("render", &Holder::id("a")).unwrap();
    assert_eq!(fixture.server.requests()[0].2, format!("License {key}"));
    drop(lease);
}

#[test]
fn borrowed_lease_needs_no_heartbeat_and_no_network() {
    let fixture = start();
    let Fixture { server, seats, .. } = &fixture;
    let lease = fixture.acquire("a");
    assert_eq!(lease.borrow(Duration::from_secs(86_400)).unwrap(), "a.lease.token");
    assert_eq!(lease.state(), LeaseState::Borrowed);
    server.set_down(true);
    server.set_clock(NOW + 86_399);
    seats.send_heartbeats();
    assert_eq!(lease.state(), LeaseState::Borrowed);
    assert!(server.sent("PUT").is_empty());
    server.set_clock(NOW + 86_400);
    assert_lost(&lease, LeaseExpired, None);
    // The drop of a borrowed lease releases nothing.
    server.set_down(false);
    server.set_clock(NOW);
    let claim = Claim::new("render", &Holder::id("b")).borrow(Duration::from_secs(3_600));
    drop(seats.claim(&claim).unwrap());
    drop(fixture.acquire("c"));
    eventually(|| !server.released().is_empty());
    assert_eq!(server.released(), [hash("c")]);
}

#[test]
fn claim_of_a_borrowed_lease_does_not_set_the_clock_back() {
    let fixture = start();
    let Fixture { server, seats, .. } = &fixture;
    let claim = Claim::new("render", &Holder::id("a")).borrow(Duration::from_secs(86_400));
    let borrowed = seats.claim(&claim).unwrap();
    server.set_clock(NOW + 1_000);
    let lease = fixture.acquire("b");
    // The control plane leaves a borrowed lease as it is, with its old heartbeat.
    let again = seats.claim(&claim).unwrap();
    assert_eq!(again.id(), borrowed.id());
    server.set_down(true);
    server.set_clock(NOW + 1_000 + TTL);
    assert_lost(&lease, LeaseExpired, None);
    assert_eq!(borrowed.state(), LeaseState::Borrowed);
}

#[test]
fn lost_wakes_its_tasks() {
    let fixture = start();
    let lease = fixture.acquire("a");
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    let mut lost = pin!(lease.lost());
    assert!(lost.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    // By a refusal, and by the time alone.
    fixture.server.refuse_with(ProblemCode::LicenseSuspended);
    fixture.server.set_clock(NOW + TTL / 2);
    fixture.seats.send_heartbeats();
    assert_eq!(count.0.load(SeqCst), 1);
    let poll = lost.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(matches!(poll, Poll::Ready(LeaseState::Lost(LeaseOver, Some(_)))));
    fixture.server.refuse_with(None);
    let other = fixture.acquire("b");
    let mut lost = pin!(other.lost());
    assert!(lost.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    fixture.server.set_down(true);
    fixture.server.set_clock(NOW + TTL / 2 + TTL);
    fixture.seats.send_heartbeats();
    assert_eq!(count.0.load(SeqCst), 2);
    assert!(lost.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
}

#[test]
fn task_that_stops_waiting_is_forgotten() {
    let fixture = start();
    let lease = fixture.acquire("a");
    let count = Arc::new(Count::default());
    let waker = Waker::from(Arc::clone(&count));
    for _ in 0..10 {
        let mut lost = pin!(lease.lost());
        assert!(lost.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert!(lost.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    assert_eq!(Arc::strong_count(&count), 2);
    // A task that owns the last handle may end when it is woken.
    struct Holds(std::sync::Mutex<Option<HeldLease>>);
    impl Wake for Holds {
        fn wake(self: Arc<Self>) {
            drop(self.0.lock().unwrap().take());
        }
    }
    let mut lost = pin!(lease.lost());
    let holds = Waker::from(Arc::new(Holds(std::sync::Mutex::new(Some(lease)))));
    assert!(lost.as_mut().poll(&mut Context::from_waker(&holds)).is_pending());
    fixture.server.set_down(true);
    fixture.server.set_clock(NOW + TTL);
    fixture.seats.send_heartbeats();
    assert!(lost.as_mut().poll(&mut Context::from_waker(&holds)).is_ready());
}

#[test]
fn asynchronous_claim_needs_no_runtime() {
    let fixture = start();
    let lease = block_on(fixture.seats.acquire_async("render", &Holder::id("a"))).unwrap();
    assert_eq!(lease.state(), LeaseState::Held);
    fixture.server.refuse_with(ProblemCode::SeatsExhausted);
    let refused = block_on(fixture.seats.acquire_async("render", &Holder::id("b")));
    assert!(matches!(refused, Err(LeaseError::Refused(_))));
    fixture.server.refuse_with(None);
    // A future that is dropped early leaves no seat behind.
    drop(fixture.seats.acquire_async("render", &Holder::id("c")));
    eventually(|| fixture.server.released().len() == 1);
    assert_eq!(fixture.server.live(), 1);
}

pub(crate) fn block_on<T: Send>(future: impl Future<Output = T>) -> T {
    let mut result = None;
    wait_for(async { result = Some(future.await) });
    result.unwrap()
}

#[test]
fn claim_without_a_license_or_a_server_is_an_error() {
    let fixture = start();
    let without = fixture.verifier.leases("cpat_token");
    let error = without.acquire("render", &Holder::id("a")).unwrap_err();
    assert!(matches!(error, LeaseError::License(_)), "{error}");
    assert!(fixture.server.requests().is_empty());
    fixture.server.set_down(true);
    let error = fixture.seats.acquire("render", &Holder::id("a")).unwrap_err();
    assert!(matches!(error, LeaseError::Unreachable(_)), "{error}");
    // An issuer that is not https cannot get a credential.
    let verifier = verifier(&json!({ "keys": [KEY.jwk()] }));
    let license = verifier.verify(&KEY.token(&claims())).unwrap();
    let unsafe_issuer = Verifier::builder().issuer("http://cp.example").audience(AUDIENCE);
    let jwks = json!({ "keys": [KEY.jwk()] }).to_string();
    let unsafe_issuer = unsafe_issuer.jwks(jwks).build().unwrap();
    let seats = unsafe_issuer.leases("cpat_token").of(&license);
    let error = seats.acquire("render", &Holder::id("a")).unwrap_err();
    assert!(error.to_string().contains("use https"), "{error}");
    seats.send_heartbeats();
}

#[test]
fn ten_thousand_leases_use_one_thread_and_one_connection() {
    const LEASES: usize = 10_000;
    let fixture = start();
    let Fixture { server, seats, .. } = &fixture;
    let held: Vec<HeldLease> =
        (0..LEASES).map(|n| fixture.acquire(&format!("holder-{n}"))).collect();
    assert_eq!(server.live(), LEASES);
    server.set_clock(NOW + TTL / 2);
    seats.send_heartbeats();
    assert_eq!(server.sent("PUT").len(), LEASES);
    assert!(held.iter().all(|lease| lease.expires_at() == Some(NOW + TTL / 2 + TTL)));
    assert!(server.connections() < 10, "{}", server.connections());
    #[cfg(target_os = "linux")]
    {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let names = tasks
            .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok());
        // Other tests have threads of their own, one each.
        let threads = names.filter(|name| name.starts_with("dp-verifier-lea")).count();
        assert!(threads < 40, "{threads}");
    }
    // One failed request says that the network is gone, for all of them.
    server.set_down(true);
    server.set_clock(NOW + TTL);
    let begun = Instant::now();
    seats.send_heartbeats();
    assert!(begun.elapsed() < Duration::from_secs(5));
    server.set_clock(NOW + TTL / 2 + TTL);
    assert!(held.iter().all(|lease| !lease.state().has_seat()));
}
