//! Heartbeats and releases beside other requests, and their refusals.

use std::time::Duration;

use dp_verifier::ErrorCode::{LeaseExpired, LeaseOver};
use dp_verifier::cp_contracts::ProblemCode;
use dp_verifier::{Holder, LeaseState};
use serde_json::json;

use crate::control_plane::TTL;
use crate::leases::{Fixture, assert_lost, block_on, eventually, start};
use crate::support::*;

#[test]
fn heartbeat_of_another_process_does_not_set_the_clock_back() {
    let fixture = start();
    let Fixture { server, license, seats, .. } = &fixture;
    let lease = fixture.acquire("a");
    // Another process has the same holder.
    server.set_clock(NOW + 120);
    let other = server.builder().build().unwrap();
    let same = other.leases("cpat_token").of(license).acquire("render", &Holder::id("a")).unwrap();
    assert_eq!(same.id(), lease.id());
    // The heartbeat of this process is then too early, and changes nothing.
    server.set_clock(NOW + 150);
    seats.send_heartbeats();
    assert_eq!(server.sent("PUT").len(), 1);
    assert_eq!(lease.expires_at(), Some(NOW + 120 + TTL));
    server.set_down(true);
    server.set_clock(NOW + 120 + TTL - 1);
    assert!(lease.state().has_seat());
    server.set_clock(NOW + 120 + TTL);
    assert_lost(&lease, LeaseExpired, None);
    same.keep();
}

#[test]
fn claim_of_another_process_does_not_prolong_a_lease_without_the_network() {
    let fixture = start();
    let Fixture { server, license, seats, .. } = &fixture;
    // A lease without an end has a heartbeat twice a day.
    let machine = seats.acquire("machines", &Holder::id("m")).unwrap();
    let other = server.builder().build().unwrap();
    let other = other.leases("cpat_token").of(license);
    server.set_clock(NOW + 20_000);
    other.acquire("machines", &Holder::id("m")).unwrap().keep();
    server.set_clock(NOW + 21_590);
    let lease = fixture.acquire("a");
    server.set_clock(NOW + 21_600);
    seats.send_heartbeats();
    assert_eq!(server.sent("PUT").len(), 1);
    server.set_down(true);
    server.set_clock(NOW + 21_590 + TTL);
    assert_lost(&lease, LeaseExpired, None);
    machine.keep();
}

#[test]
fn refused_release_is_sent_again() {
    for code in [
        ProblemCode::RateLimited,
        ProblemCode::Unavailable,
        ProblemCode::Internal,
        ProblemCode::Conflict,
    ] {
        let fixture = start();
        let (lease, other) = (fixture.acquire("a"), fixture.acquire("b"));
        fixture.server.refuse_with(code);
        drop(lease);
        eventually(|| !fixture.server.released().is_empty());
        fixture.server.refuse_with(None);
        eventually(|| fixture.server.live() == 1);
        // The refusals have not changed other releases.
        drop(other);
        eventually(|| fixture.server.live() == 0);
    }
}

#[test]
fn refused_release_is_sent_again_after_the_drop_of_the_client() {
    let fixture = start();
    let lease = fixture.acquire("a");
    fixture.server.refuse_with(ProblemCode::RateLimited);
    drop(lease);
    let Fixture { server, seats, .. } = fixture;
    drop(seats);
    // The thread pauses between the attempts.
    assert!((1..=5).contains(&server.released().len()), "{}", server.released().len());
    server.refuse_with(None);
    eventually(|| server.live() == 0);
}

#[test]
fn release_that_this_data_plane_may_not_send_is_forgotten() {
    for code in [ProblemCode::Forbidden, ProblemCode::NotFound, ProblemCode::LeaseBorrowed] {
        let fixture = start();
        let lease = fixture.acquire("a");
        fixture.server.refuse_with(code);
        drop(lease);
        let Fixture { server, seats, .. } = fixture;
        drop(seats);
        assert_eq!(server.released().len(), 1);
    }
}

#[test]
fn claims_do_not_delay_heartbeats() {
    let fixture = start();
    let Fixture { server, seats, .. } = &fixture;
    let lease = fixture.acquire("a");
    server.set_stalled(true);
    let claims: Vec<_> = (0..50)
        .map(|n| seats.acquire_async("render", &Holder::id(&format!("holder-{n}"))))
        .collect();
    server.set_clock(NOW + TTL / 2);
    server.set_stalled(false);
    let held: Vec<_> = claims.into_iter().map(|claim| block_on(claim).unwrap()).collect();
    let methods: Vec<String> = server.requests().into_iter().map(|request| request.0).collect();
    let heartbeat = methods.iter().position(|method| method == "PUT");
    assert!(heartbeat.is_some_and(|index| index <= 3), "{methods:?}");
    drop((lease, held));
}

#[test]
fn releases_do_not_delay_heartbeats() {
    let fixture = start();
    let Fixture { server, seats, .. } = &fixture;
    let lease = fixture.acquire("a");
    let others: Vec<_> = (0..50).map(|n| fixture.acquire(&format!("holder-{n}"))).collect();
    server.set_stalled(true);
    drop(others);
    server.set_clock(NOW + TTL / 2);
    server.set_stalled(false);
    eventually(|| server.live() == 1);
    seats.send_heartbeats();
    let requests = server.requests().into_iter().skip(51);
    let methods: Vec<String> = requests.map(|request| request.0).collect();
    let heartbeat = methods.iter().position(|method| method == "PUT");
    assert!(heartbeat.is_some_and(|index| index <= 2), "{methods:?}");
    assert_eq!(lease.state(), LeaseState::Held);
}

#[test]
fn lease_that_another_request_borrows_is_borrowed() {
    let fixture = start();
    let Fixture { server, seats, .. } = &fixture;
    let lease = fixture.acquire("a");
    server.borrow_all(NOW + 86_400);
    server.set_clock(NOW + TTL / 2);
    seats.send_heartbeats();
    assert_eq!(lease.state(), LeaseState::Borrowed);
    assert_eq!(lease.expires_at(), Some(NOW + 86_400));
    server.set_down(true);
    server.set_clock(NOW + TTL);
    seats.send_heartbeats();
    assert_eq!(lease.state(), LeaseState::Borrowed);
    assert_eq!(server.sent("PUT").len(), 1);
    server.set_clock(NOW + 86_400);
    assert_lost(&lease, LeaseExpired, None);
}

#[test]
fn short_borrowing_ends_a_lease_at_its_end() {
    let fixture = start();
    let Fixture { server, seats, .. } = &fixture;
    let (lease, machine) =
        (fixture.acquire("a"), seats.acquire("machines", &Holder::id("m")).unwrap());
    server.borrow_all(NOW + TTL / 2 + 60);
    server.set_clock(NOW + TTL / 2);
    seats.send_heartbeats();
    assert_eq!(lease.expires_at(), Some(NOW + TTL / 2 + 60));
    // A lease without an end gets one by the borrowing, at its own next heartbeat.
    assert_eq!(machine.expires_at(), None);
    server.borrow_all(NOW + 30_000);
    server.set_clock(NOW + 21_600);
    seats.send_heartbeats();
    assert_eq!(machine.expires_at(), Some(NOW + 30_000));
    assert_eq!(machine.state(), LeaseState::Borrowed);
    // A refusal without a usable time is one of its own kind.
    let other = fixture.acquire("b");
    let unusable = [json!({}), json!({ "borrowed_until": 5 }), json!({ "borrowed_until": "x" })];
    for (n, members) in (0..).zip(unusable) {
        server.refuse_with_members(ProblemCode::LeaseBorrowed, members);
        server.set_clock(NOW + 21_600 + TTL / 2 + n * 40);
        seats.send_heartbeats();
        assert_eq!(other.state(), LeaseState::Late);
    }
    assert_eq!(server.sent("PUT").len(), 5);
}

#[test]
fn lease_that_a_restored_server_does_not_know_lasts_until_its_end() {
    let fixture = start();
    let Fixture { server, seats, .. } = &fixture;
    let lease = fixture.acquire("a");
    server.refuse_with(ProblemCode::NotFound);
    server.set_clock(NOW + TTL / 2);
    seats.send_heartbeats();
    assert_eq!(lease.state(), LeaseState::Late);
    // The thread tries again, but not all the time.
    seats.send_heartbeats();
    assert_eq!(server.sent("PUT").len(), 1);
    server.set_clock(NOW + TTL - 1);
    seats.send_heartbeats();
    assert_eq!(server.sent("PUT").len(), 2);
    assert_eq!(lease.state(), LeaseState::Late);
    server.set_clock(NOW + TTL);
    seats.send_heartbeats();
    assert_lost(&lease, LeaseExpired, None);
}

#[test]
fn unknown_lease_without_an_end_and_unknown_holder_are_lost_at_once() {
    let fixture = start();
    let Fixture { server, seats, .. } = &fixture;
    let machine = seats.acquire("machines", &Holder::id("m")).unwrap();
    server.refuse_with(ProblemCode::NotFound);
    server.set_clock(NOW + 21_600);
    seats.send_heartbeats();
    assert_lost(&machine, LeaseOver, Some(ProblemCode::NotFound));
    server.refuse_with(None);
    let lease = fixture.acquire("a");
    let members = json!({ "field": "holder.user_id" });
    server.refuse_with_members(ProblemCode::NotFound, members);
    server.set_clock(NOW + 21_600 + TTL / 2);
    seats.send_heartbeats();
    assert_lost(&lease, LeaseOver, Some(ProblemCode::NotFound));
}

#[test]
fn retry_after_delays_a_refused_release() {
    let fixture = start();
    let lease = fixture.acquire("a");
    fixture.server.refuse_with(ProblemCode::RateLimited);
    fixture.server.set_retry_after(3);
    drop(lease);
    eventually(|| !fixture.server.released().is_empty());
    fixture.server.refuse_with(None);
    std::thread::sleep(Duration::from_millis(2_000));
    assert_eq!(fixture.server.live(), 1);
    eventually(|| fixture.server.live() == 0);
}
