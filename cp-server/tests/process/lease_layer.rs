//! axum applications whose `LeaseLayer` has a seat of a real server.
//!
//! The clock of each application is replaceable, so a test passes the end of a lease without waiting
//! for that end.

mod app;

use std::time::Duration;

use axum::routing::get;
use axum::{Extension, Router};
use dp_verifier::{
    Claim, ErrorCode, Holder, LeaseContext, LeaseError, LeaseLayer, LeaseState, LicenseLayer,
    Refusal, Verifier,
};
use serde_json::json;

use self::app::{App, DAY, POOL, Site, TTL, TestClock, World};
use super::tls::until;

const BORROWED: i64 = 3_600;

#[test]
fn axum_app_without_its_server_has_a_seat_for_a_ttl_and_another_one_after_the_return() {
    let mut world = World::start();
    let app = App::start(&world, "app-01").unwrap();
    app.admits("valid");
    let refused = refusal(App::start(&world, "app-02"));
    assert_eq!((refused.problem.status, refused.code().as_str()), (409, "seats_exhausted"));
    let taken = "All seats of the pool `render` are taken: 1 of 1.";
    assert!(refused.problem.detail.starts_with(taken), "{refused}");
    assert!(refused.retry_after.is_some_and(|after| after <= Duration::from_secs(60)));

    // A late heartbeat refuses no request: the app has its seat until the end of the lease.
    world.stop();
    let end = app.lease.expires_at().unwrap();
    app.clock.set(end - TTL / 5);
    app.seats.send_heartbeats();
    assert_eq!(app.lease.state(), LeaseState::Late);
    app.admits("valid");
    app.clock.set(end + 1);
    app.seats.send_heartbeats();
    app.has_lost("lease_expired");
    // A lost lease stays lost, whatever the clock says then. The license does not depend on it.
    app.clock.set(end - DAY);
    app.has_lost("lease_expired");
    assert!(app.verifier.current().is_ok());

    app.clock.set(end + 1);
    world.restart();
    until(|| app.get("/").0 == 200, "the seat after the return of the server");
    app.admits("valid");
    assert!(!app.lease.state().has_seat(), "the first lease");
    assert_eq!(world.live(), 1);
}

#[test]
fn axum_app_of_a_suspended_license_is_refused_until_the_reinstatement() {
    let world = World::start();
    let app = App::start(&world, "app-01").unwrap();
    app.admits("valid");
    world.change("suspend");
    until(|| app.get("/").1["code"] == "suspended", "the suspension");
    app.refused("/", 403, "suspended", "the license is suspended");
    // The next heartbeat loses the seat.
    app.clock.advance(TTL * 2 / 3);
    app.seats.send_heartbeats();
    app.refused("/seat", 503, "lease_lost", "license_suspended");
    let refused = app.seats.acquire(POOL, &Holder::id("app-01")).unwrap_err();
    let LeaseError::License(refused) = refused else { panic!("{refused}") };
    assert_eq!(refused.code(), ErrorCode::Suspended);
    app.verifier.check_in_now().unwrap();
    let health = app.verifier.check_in_health().unwrap();
    assert_eq!(health.code.unwrap().as_str(), "license_suspended");

    world.change("reinstate");
    until(|| app.get("/").0 == 200, "the seat after the reinstatement");
    app.admits("valid");
}

#[test]
fn axum_app_whose_clock_is_set_back_reports_an_anomaly_and_keeps_the_end_of_its_lease() {
    let world = World::start();
    let app = App::start(&world, "app-01").unwrap();
    app.admits("valid");
    let end = app.lease.expires_at().unwrap();
    app.clock.advance(-DAY);
    app.admits("clock_anomaly");
    assert!(app.verifier.clock_is_behind());
    app.seats.send_heartbeats();
    assert_eq!((app.lease.state(), app.lease.expires_at()), (LeaseState::Held, Some(end)));
    app.clock.advance(DAY);
    app.admits("valid");
    assert!(!app.verifier.clock_is_behind());
}

#[test]
fn axum_app_with_a_borrowed_lease_file_is_open_offline_until_the_end_of_the_borrowing() {
    let mut world = World::start();
    // A machine with a network fetches both files.
    let holder = Holder::id("machine-07");
    let seats = world.verifier(TestClock::default()).leases(world.token.as_str());
    let time = Duration::from_secs(BORROWED.unsigned_abs());
    let lease = seats.claim(&Claim::new(POOL, &holder).borrow(time)).unwrap();
    assert_eq!(lease.state(), LeaseState::Borrowed);
    let (lease_file, license_file) = (world.path("machine-07.lease"), world.path("license.lic"));
    std::fs::write(&lease_file, lease.token().unwrap()).unwrap();
    let path = format!("/api/v1{}/token", world.license);
    let (status, made) = world.server.call("POST", &path, Some(json!({"form": "file"})), "file");
    assert_eq!(status, 201, "{made}");
    std::fs::write(&license_file, made["file"].as_str().unwrap()).unwrap();
    let end = lease.expires_at().unwrap();
    drop((lease, seats));
    world.stop();

    let clock = TestClock::default();
    let app = |holder: &Holder| {
        let verifier = Verifier::builder().issuer(&world.url).audience("data-plane");
        let verifier = verifier.bundle_file(&license_file).strict_clock();
        let verifier = verifier.clock(clock.clone()).build().unwrap();
        let token = std::fs::read_to_string(&lease_file).unwrap();
        let seat = LeaseLayer::of_token(verifier.clone(), &token, holder);
        let license = LicenseLayer::new(verifier).or_token(None);
        let pool = get(async |Extension(lease): Extension<LeaseContext>| lease.pool().to_owned());
        Site::start(Router::new().route("/", pool).layer(seat).layer(license))
    };
    let machine = app(&holder);
    assert_eq!(machine.get("/"), (200, json!(POOL)));
    app(&Holder::id("machine-08")).refused("/", 503, "lease_lost", "holder_mismatch");
    clock.set(end - 60);
    assert_eq!(machine.get("/"), (200, json!(POOL)));
    clock.set(end);
    machine.refused("/", 503, "lease_lost", "lease_expired");
    clock.set(end - BORROWED - DAY);
    machine.refused("/", 503, "clock_anomaly", "behind the latest verified document");

    // The borrowed seat stays taken, and another holder gets no seat.
    world.restart();
    assert_eq!(refusal(App::start(&world, "app-01")).code().as_str(), "seats_exhausted");
}

/// Returns the refusal of the control plane.
#[track_caller]
fn refusal(claimed: Result<App, LeaseError>) -> Box<Refusal> {
    match claimed.map(|_| ()) {
        Err(LeaseError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}
