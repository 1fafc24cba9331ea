//! Claims, heartbeats and borrowings beside a change that ends their lease. Each test lets the change
//! begin at many points of the request.

use chrono::TimeDelta;
use cp_contracts::TokenStatus;
use futures_util::future::join;
use serde_json::{Value, json};

use super::borrowing::{claims, status};
use super::{claim, leases, with_pools};
use crate::world::{World, on_both};

/// The points at which the change begins.
const POINTS: usize = 40;

/// Runs the change beside the request; it begins at this point.
async fn beside<A, B>(
    point: usize,
    request: impl Future<Output = A>,
    change: impl Future<Output = B>,
) -> (A, B) {
    let later = async {
        for _ in 0..point {
            tokio::task::yield_now().await;
        }
        change.await
    };
    join(request, later).await
}

fn path(lease: &Value) -> String {
    format!("/leases/{}", lease["id"].as_str().unwrap())
}

async fn reset(world: &World) {
    let body = json!({"pool": "render", "reason": "a test"});
    world.post(leases(world) + "/reset", body).await.expect(200);
}

#[on_both]
async fn claim_beside_a_reset_answers_with_a_live_lease(world: World) {
    with_pools(&world, json!({"render": {"kind": "floating", "cap": 2}})).await;
    let root = world.root();
    for point in 0..POINTS {
        // Every second round the holder extends its lease.
        let id = format!("holder-{}", point / 2);
        let (answer, ()) = beside(point, claim(&world, &root, "render", &id), reset(&world)).await;
        assert!([200, 201].contains(&answer.status), "{}", answer.text());
        let lease = answer.json();
        assert_eq!(
            (&lease["state"], &lease["ended_at"]),
            (&json!("live"), &Value::Null),
            "{lease}"
        );
        let now = world.get(path(&lease)).await.expect(200);
        if now["state"] == "live" {
            let again = claim(&world, &root, "render", &id).await.expect(200);
            assert_eq!(again["id"], lease["id"]);
        } else {
            assert_eq!(now["end"], "reset");
            claim(&world, &root, "render", &id).await.expect(201);
        }
    }
}

/// Runs the request while a transaction holds the pool and then closes it. The request writes after
/// that.
async fn before_the_close<A>(world: &World, request: impl Future<Output = A>) -> A {
    let mut tx = world.app.db.begin().await.unwrap();
    let held = tx.q2(
        "SELECT 1 FROM lease_pools WHERE closed_at IS NULL",
        "SELECT 1 FROM lease_pools WHERE closed_at IS NULL FOR UPDATE",
    );
    assert!(held.exec().await.is_ok());
    let close = async {
        for _ in 0..500 {
            tokio::task::yield_now().await;
        }
        let sql = "UPDATE lease_pools SET closed_at = $1, closed_by = 'reset'
                   WHERE closed_at IS NULL";
        tx.q(sql).bind(world.clock.now()).exec().await.unwrap();
        tx.commit().await.unwrap();
    };
    join(request, close).await.0
}

#[on_both]
async fn claim_that_writes_after_a_reset_has_a_seat_of_the_next_pool(world: World) {
    let own = json!({"kind": "floating", "cap": 2, "borrow_seconds": 86400});
    with_pools(&world, json!({"render": own})).await;
    let root = world.root();
    // The holder never had a seat, has one, and had one.
    for round in 0..3 {
        let before = claim(&world, &root, "render", "a").await.expect(201);
        if round == 2 {
            world.delete(path(&before)).await.expect(204);
        }
        let id = if round == 0 { "new" } else { "a" };
        let claimed = before_the_close(&world, claim(&world, &root, "render", id)).await;
        let lease = claimed.expect(201);
        assert_ne!(lease["id"], before["id"]);
        assert_eq!(world.get(path(&lease)).await.expect(200)["state"], "live", "round {round}");
        reset(&world).await;
    }
    let lease = claim(&world, &root, "render", "a").await.expect(201);
    world.pass(TimeDelta::seconds(100));
    let beat = before_the_close(&world, world.put(path(&lease), json!({}))).await;
    // A heartbeat locks no pool: where transactions write at once, it may come first.
    if world.app.db.writes_alone() || beat.status != 200 {
        assert_eq!(beat.refused(409, "lease_over")["end"], "reset");
    }
    let lease = claim(&world, &root, "render", "a").await.expect(201);
    let borrow = world.post(path(&lease) + "/borrow", json!({"seconds": 3600}));
    let borrowed = before_the_close(&world, borrow).await;
    assert_eq!(borrowed.refused(409, "lease_over")["end"], "reset");
}

#[on_both]
async fn heartbeat_beside_a_reset_keeps_the_lease_or_reports_its_end(world: World) {
    with_pools(&world, json!({"render": {"kind": "floating", "cap": 2}})).await;
    for point in 0..POINTS {
        let lease = claim(&world, &world.root(), "render", "a").await.expect(201);
        world.pass(TimeDelta::seconds(100));
        let beat = world.put(path(&lease), json!({}));
        let (answer, ()) = beside(point, beat, reset(&world)).await;
        match answer.status {
            200 => assert_eq!(answer.json()["state"], "live", "{}", answer.text()),
            _ => assert_eq!(answer.refused(409, "lease_over")["end"], "reset"),
        }
        assert_eq!(world.get(path(&lease)).await.expect(200)["end"], "reset");
    }
}

#[on_both]
async fn borrowing_beside_a_reset_is_live_or_revoked(world: World) {
    let own = json!({"kind": "floating", "cap": 2, "borrow_seconds": 86400});
    with_pools(&world, json!({"render": own})).await;
    for point in 0..POINTS {
        let id = format!("holder-{point}");
        let body = json!({"pool": "render", "holder": {"id": id}, "borrow_seconds": 7200});
        let claimed = world.post(leases(&world), body);
        let (answer, ()) = beside(point, claimed, reset(&world)).await;
        let lease = answer.expect(201);
        let is_live = world.get(path(&lease)).await.expect(200)["state"] == "live";
        let expected = if is_live { TokenStatus::Valid } else { TokenStatus::Invalid };
        assert_eq!(status(&world, &claims(&lease["token"])).await, expected, "point {point}");
        reset(&world).await;
        // Lists are signed ahead of the clock by a few seconds only.
        world.pass(TimeDelta::seconds(10));
    }
}

#[on_both]
async fn two_borrowings_at_once_have_one_entry_that_a_return_revokes(world: World) {
    let own = json!({"kind": "floating", "cap": 1, "borrow_seconds": 86400, "early_return": true});
    with_pools(&world, json!({"render": own})).await;
    for point in 0..POINTS / 2 {
        let lease = claim(&world, &world.root(), "render", "a").await.expect(201);
        let borrow = async |seconds: i64| {
            let body = json!({"seconds": seconds});
            let answer = world.post(path(&lease) + "/borrow", body).await;
            claims(&answer.expect(200)["token"])
        };
        let (first, second) = beside(point, borrow(3600), borrow(7200)).await;
        assert_eq!(first["status"], second["status"]);
        world.post(path(&lease) + "/return", json!({})).await.expect(200);
        assert_eq!(status(&world, &first).await, TokenStatus::Invalid);
        world.pass(TimeDelta::seconds(10));
    }
}

#[on_both]
async fn released_lease_beyond_the_cap_stays_ended_despite_a_heartbeat(world: World) {
    let cap = |cap: i64| json!({"render": {"kind": "floating", "cap": cap}});
    for point in 0..POINTS {
        with_pools(&world, cap(2)).await;
        let id = |name: &str| format!("{name}-{point}");
        let first = claim(&world, &world.root(), "render", &id("a")).await.expect(201);
        let second = claim(&world, &world.root(), "render", &id("b")).await.expect(201);
        with_pools(&world, cap(1)).await;
        let (beyond, within) = match second["seat"].as_i64().unwrap() {
            2 => (&second, &first),
            _ => (&first, &second),
        };
        world.delete(path(within)).await.expect(204);
        world.pass(TimeDelta::seconds(100));
        let beat = world.put(path(beyond), json!({}));
        let (answer, released) = beside(point, beat, world.delete(path(beyond))).await;
        released.expect(204);
        assert!([200, 409].contains(&answer.status), "{}", answer.text());
        let ended = world.get(path(beyond)).await.expect(200);
        assert_eq!((&ended["state"], &ended["end"]), (&json!("over"), &json!("released")));
    }
}

#[on_both]
async fn first_claim_beside_a_transfer_leaves_no_lease_at_the_other_deployment(world: World) {
    let own = world.by(&world.acme.deployment_token);
    let transfer = async |deployment: &str| {
        let path = format!("/licenses/{}/transfer", world.acme.license);
        world.post(path, json!({"deployment_id": deployment})).await.expect(200);
    };
    let pools = json!({"render": {"kind": "floating", "cap": 2}});
    with_pools(&world, pools).await;
    for point in 0..POINTS {
        let claimed = claim(&world, &own, "render", "a");
        let (answer, ()) = beside(point, claimed, transfer(&world.acme.spare_deployment)).await;
        assert!([201, 404].contains(&answer.status), "{}", answer.text());
        let live = world.get(leases(&world)).await.expect(200);
        assert_eq!(live["items"], json!([]), "point {point}");
        transfer(&world.acme.deployment).await;
    }
}
