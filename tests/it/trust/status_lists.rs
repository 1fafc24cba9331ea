use cp_server::kernel::app::Part;
use cp_server::licensing::status_lists::StatusLists;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use axum::http::Method;
use chrono::TimeDelta;
use cp_contracts::TokenStatus::{Invalid, Suspended, Valid};
use serde_json::{Value, json};

use super::{issue, list_at, status_of};
use crate::world::{Answer, Client, ISSUER, World, now, on_both};

async fn ready(world: &World) -> Answer {
    world.anyone().call(Method::GET, "/readyz", None).await
}

fn entry(bundle: &Value) -> u64 {
    bundle["payload"]["status"]["status_list"]["idx"].as_u64().unwrap()
}

#[on_both]
async fn a_list_says_what_became_of_each_bundle(world: World) {
    let anyone = world.anyone();
    let (first, second) = (issue(&world, json!({})).await, issue(&world, json!({})).await);
    assert_eq!(status_of(&anyone, &first).await, Valid);
    let license = format!("/licenses/{}", world.acme.license);
    world.post(format!("{license}/suspend"), json!({"reason": "late"})).await.expect(200);
    assert_eq!(status_of(&anyone, &first).await, Suspended);
    assert_eq!(status_of(&anyone, &second).await, Suspended);
    world.post(format!("{license}/reinstate"), json!({})).await.expect(200);
    assert_eq!(status_of(&anyone, &first).await, Valid);
    let jti = first["jti"].as_str().unwrap();
    world.post(format!("/bundles/{jti}/revoke"), json!({})).await.expect(200);
    assert_eq!(status_of(&anyone, &first).await, Invalid);
    assert_eq!(status_of(&anyone, &second).await, Valid);
    world.post(format!("{license}/suspend"), json!({})).await.expect(200);
    world.post(format!("{license}/reinstate"), json!({})).await.expect(200);
    assert_eq!(status_of(&anyone, &first).await, Invalid, "what was revoked stays revoked");
    world.post(format!("{license}/revoke"), json!({})).await.expect(200);
    assert_eq!(status_of(&anyone, &second).await, Invalid);
}

#[on_both]
async fn an_organization_that_is_suspended_suspends_its_bundles_and_no_others(world: World) {
    let anyone = world.anyone();
    let bundle = issue(&world, json!({})).await;
    let foreign = format!("/licenses/{}/bundles", world.globex.license);
    let foreign = world.post(foreign, json!({})).await.expect(201);
    let jti = bundle["jti"].as_str().unwrap();
    let reported_status =
        async || world.get(format!("/bundles/{jti}")).await.expect(200)["status"].clone();
    for (change, expected, word) in [
        (json!({"status": "suspended"}), Suspended, "suspended"),
        (json!({"status": "active"}), Valid, "valid"),
    ] {
        world.patch(world.org(""), change).await.expect(200);
        assert_eq!(status_of(&anyone, &bundle).await, expected);
        assert_eq!(reported_status().await, word);
        assert_eq!(status_of(&anyone, &foreign).await, Valid);
    }
    world.delete(world.org("?mode=suspend")).await.expect(204);
    assert_eq!(status_of(&anyone, &bundle).await, Suspended);
    world.delete(world.org("?mode=purge&confirm=Acme&force=true")).await.expect(204);
    assert_eq!(status_of(&anyone, &bundle).await, Invalid, "a purge is no pardon");
    assert_eq!(status_of(&anyone, &foreign).await, Valid);
}

#[on_both]
async fn another_replica_publishes_a_revocation_within_its_next_look(world: World) {
    let (app, replica) = world.replica().await;
    let bundle = issue(&world, json!({})).await;
    assert_eq!(status_of(&replica, &bundle).await, Valid);
    let jti = bundle["jti"].as_str().unwrap();
    world.post(format!("/bundles/{jti}/revoke"), json!({})).await.expect(200);
    StatusLists::of(&app).refresh(&app).await.unwrap();
    assert_eq!(status_of(&replica, &bundle).await, Invalid);
}

#[on_both]
async fn list_is_signed_again_before_half_its_time_to_live(world: World) {
    let anyone = world.anyone();
    let bundle = issue(&world, json!({})).await;
    let uri = bundle["payload"]["status"]["status_list"]["uri"].as_str().unwrap().to_owned();
    let (_, before) = list_at(&anyone, &uri).await;
    assert_eq!(before.iat, now().timestamp());
    assert_eq!((before.ttl, before.exp), (300, now().timestamp() + 7 * 86_400));
    world.pass(TimeDelta::seconds(149));
    StatusLists::of(&world.app).refresh(&world.app).await.unwrap();
    assert_eq!(list_at(&anyone, &uri).await.1.iat, before.iat);
    world.pass(TimeDelta::seconds(1));
    StatusLists::of(&world.app).refresh(&world.app).await.unwrap();
    assert_eq!(list_at(&anyone, &uri).await.1.iat, before.iat + 150);
}

#[on_both]
async fn list_that_changes_within_a_second_never_shares_an_iat(world: World) {
    let anyone = world.anyone();
    let (_, replica) = world.replica().await;
    let bundles = [(); 4].map(|()| issue(&world, json!({})));
    let bundles = futures_util::future::join_all(bundles).await;
    let uri = bundles[0]["payload"]["status"]["status_list"]["uri"].as_str().unwrap().to_owned();
    let mut last = list_at(&anyone, &uri).await.1.iat;
    for bundle in &bundles {
        let path = format!("/bundles/{}/revoke", bundle["jti"].as_str().unwrap());
        world.post(path, json!({})).await.expect(200);
        let (list, claims) = list_at(&anyone, &uri).await;
        assert!(claims.iat > last, "{} after {last}", claims.iat);
        assert_eq!(claims.exp, claims.iat + 7 * 86_400);
        assert_eq!(list.status(entry(bundle)).unwrap(), Invalid);
        last = claims.iat;
    }
    assert_eq!(list_at(&replica, &uri).await.1.iat, last, "replicas publish the same list");
    // A server that is started again goes on from there, and so does one that signs much.
    for _ in 0..40 {
        world.exec("UPDATE status_lists SET version = version + 1").await;
        let (app, fresh) = world.replica().await;
        StatusLists::of(&app).refresh(&app).await.unwrap();
        let next = list_at(&fresh, &uri).await.1.iat;
        assert!(next >= last);
        last = next;
    }
    assert!(last <= now().timestamp() + 31, "it does not run away from the clock: {last}");
    world.pass(TimeDelta::seconds(1));
    let (app, fresh) = world.replica().await;
    StatusLists::of(&app).refresh(&app).await.unwrap();
    assert!(list_at(&fresh, &uri).await.1.iat > last, "a second later it is signed again");
}

#[on_both]
async fn list_of_a_clock_that_was_set_back_continues_from_the_newest(world: World) {
    let anyone = world.anyone();
    let bundle = issue(&world, json!({})).await;
    let uri = bundle["payload"]["status"]["status_list"]["uri"].as_str().unwrap().to_owned();
    let before = list_at(&anyone, &uri).await.1.iat;
    assert_eq!(ready(&world).await.text(), "ready\n");
    for _ in 0..3 {
        world.pass(TimeDelta::hours(-1));
        let license = format!("/licenses/{}", world.acme.license);
        world.post(format!("{license}/suspend"), json!({})).await.expect(200);
        assert_eq!(status_of(&anyone, &bundle).await, Suspended);
        let after = list_at(&anyone, &uri).await.1;
        assert!(after.iat > before && after.iat < before + 60, "{}", after.iat);
        world.post(format!("{license}/reinstate"), json!({})).await.expect(200);
    }
    StatusLists::of(&world.app).refresh(&world.app).await.unwrap();
    let said = ready(&world).await.text();
    assert!(said.contains("seconds behind the newest status list"), "{said}");
    // The clock is right again.
    world.pass(TimeDelta::hours(4));
    StatusLists::of(&world.app).refresh(&world.app).await.unwrap();
    assert_eq!(list_at(&anyone, &uri).await.1.iat, before + 3600);
    assert_eq!(ready(&world).await.text(), "ready\n");
}

#[on_both]
async fn list_more_than_a_day_ahead_is_not_signed_until_the_operator_decides(world: World) {
    let anyone = world.anyone();
    let bundle = issue(&world, json!({})).await;
    let uri = bundle["payload"]["status"]["status_list"]["uri"].as_str().unwrap().to_owned();
    let published = list_at(&anyone, &uri).await.1.iat;
    world.pass(TimeDelta::hours(-25));
    let jti = bundle["jti"].as_str().unwrap();
    world.post(format!("/bundles/{jti}/revoke"), json!({})).await.expect(200);
    assert_eq!(list_at(&anyone, &uri).await.1.iat, published, "what was signed is still good");
    let refused = ready(&world).await;
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert!(refused.text().contains("clock accept"), "{}", refused.text());
    let refresh = format!("/licenses/{}/refresh", world.acme.license);
    world.post(&refresh, json!({})).await.refused(503, "unavailable");

    cp_server::licensing::clock::accept(&world.app, "the clock was ahead").await.unwrap();
    StatusLists::of(&world.app).refresh(&world.app).await.unwrap();
    let (app, replica) = world.replica().await;
    StatusLists::of(&app).refresh(&app).await.unwrap();
    for client in [&anyone, &replica] {
        let (list, claims) = list_at(client, &uri).await;
        let ahead = claims.iat - world.clock.now().timestamp();
        assert!((0..2).contains(&ahead), "{ahead}");
        assert_eq!(list.status(entry(&bundle)).unwrap(), Invalid);
    }
    world.post(&refresh, json!({})).await.expect(201);
    let events = world.get("/audit?action=clock.accept").await.expect(200);
    assert_eq!(events["items"][0]["reason"], "the clock was ahead");
}

#[on_both]
async fn lists_are_served_from_memory_with_a_tag_and_are_found_by_their_aggregation(world: World) {
    let bundle = issue(&world, json!({})).await;
    let uri = bundle["payload"]["status"]["status_list"]["uri"].as_str().unwrap().to_owned();
    let lists = world.anyone().get("/status-lists").await;
    assert_eq!(lists.header("access-control-allow-origin"), "*");
    assert_eq!(lists.expect(200), json!({"status_lists": [uri]}));
    let path = uri.strip_prefix(ISSUER).unwrap();
    let served = world.anyone().call(Method::GET, path, None).await;
    assert_eq!(served.header("cache-control"), "public, max-age=30, stale-if-error=86400");
    assert_eq!(served.header("access-control-allow-origin"), "*");
    let tag = served.header("etag").to_owned();
    world.lose_database().await;
    let again = world.anyone().with("if-none-match", &tag).call(Method::GET, path, None).await;
    assert_eq!((again.status, again.body.len()), (304, 0));
    let whole = world.anyone().call(Method::GET, path, None).await;
    assert_eq!(whole.body, served.body, "the database is down, and the list is there");
    world.anyone().get("/status-lists/x").await.refused(404, "not_found");
    let unknown = "/status-lists/01900000-0000-7000-8000-000000000000";
    world.anyone().get(unknown).await.refused(503, "unavailable");
}

#[on_both]
async fn data_plane_waits_for_another_list(world: World) {
    let bundle = issue(&world, json!({})).await;
    let uri = bundle["payload"]["status"]["status_list"]["uri"].as_str().unwrap();
    let path = uri.strip_prefix(ISSUER).unwrap().to_owned();
    let first = world.anyone().call(Method::GET, &path, None).await;
    let tag = first.header("etag").to_owned();
    let waits = async |client: Client, tag: &str, wait: &str| {
        let client = client.with("if-none-match", tag).with("prefer", wait);
        client.call(Method::GET, &path, None).await
    };
    let data_plane = || world.by(&world.acme.deployment_token);
    // Other callers, and those that have another list, are answered at once.
    let began = Instant::now();
    for other in [world.anyone(), world.root(), world.by("cpat_x"), world.by(&world.acme.token)] {
        let answer = waits(other, &tag, "wait=25").await;
        assert_eq!((answer.status, answer.header("preference-applied")), (304, ""));
    }
    let other_list = waits(data_plane(), "\"other\"", "wait=25").await;
    assert_eq!((other_list.status, other_list.header("preference-applied")), (200, ""));
    let unchanged = waits(data_plane(), &tag, "wait=1").await;
    assert_eq!((unchanged.status, unchanged.header("preference-applied")), (304, "wait=1"));
    assert_eq!(unchanged.header("cache-control"), "no-store");
    let revoke = format!("/bundles/{}/revoke", bundle["jti"].as_str().unwrap());
    let revoked = async { world.post(revoke, json!({})).await.expect(200) };
    let (changed, _) = tokio::join!(waits(data_plane(), &tag, "wait=25"), revoked);
    assert_eq!((changed.status, changed.header("preference-applied")), (200, "wait=25"));
    assert_ne!(changed.header("etag"), tag);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // A server that stops answers at once.
    let (app, client) = world.replica().await;
    let client = client.token(&world.acme.deployment_token);
    let tag = changed.header("etag").to_owned();
    let stopped = async {
        tokio::task::yield_now().await;
        app.stop();
    };
    let (unchanged, ()) = tokio::join!(waits(client, &tag, "wait=25"), stopped);
    assert_eq!(unchanged.status, 304);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[on_both]
async fn a_list_that_does_not_exist_is_not_found(world: World) {
    for nothing in ["01900000-0000-7000-8000-000000000000", "x", "%00"] {
        let path = format!("/status-lists/{nothing}");
        world.anyone().get(path).await.refused(404, "not_found");
    }
}

#[on_both]
async fn no_two_bundles_share_an_entry_and_their_order_is_hidden(world: World) {
    let mut entries = Vec::new();
    for _ in 0..40 {
        let bundle = issue(&world, json!({})).await;
        let entry = &bundle["payload"]["status"]["status_list"];
        entries.push((entry["uri"].to_string(), entry["idx"].as_u64().unwrap()));
    }
    let unique: BTreeSet<_> = entries.iter().collect();
    assert_eq!(unique.len(), entries.len());
    let ordered = entries.windows(2).filter(|pair| pair[0].1 < pair[1].1).count();
    assert!((5..35).contains(&ordered), "{ordered} of 39 ascend");
}

#[on_both]
async fn the_last_entry_of_a_list_is_given_out_like_any_other(world: World) {
    // A replica takes one entry at first, and two when it needs more.
    let (_app, replica) = world.replica().await;
    let replica = replica.token(crate::world::ROOT);
    world.exec("UPDATE status_lists SET allocated = 65535").await;
    let path = format!("/licenses/{}/bundles", world.acme.license);
    let mut lists = Vec::new();
    for _ in 0..3 {
        let bundle = replica.post(&path, json!({})).await.expect(201);
        assert_eq!(status_of(&replica, &bundle).await, Valid);
        lists.push(bundle["payload"]["status"]["status_list"]["uri"].clone());
    }
    assert_ne!(lists[0], lists[1]);
    assert_eq!(lists[1], lists[2]);
}

#[on_both]
async fn a_full_list_is_followed_by_another_and_retires_with_its_last_token(world: World) {
    let short = issue(&world, json!({"ttl_seconds": 3600})).await;
    let old = short["payload"]["status"]["status_list"]["uri"].clone();
    world.exec("UPDATE status_lists SET allocated = 65536").await;
    // The entries that this process has already are used up first.
    let mut uri = old.clone();
    let mut issued = 0;
    while uri == old {
        uri = issue(&world, json!({"ttl_seconds": 3600})).await["payload"]["status"]["status_list"]
            ["uri"]
            .clone();
        issued += 1;
        assert!(issued < 10);
    }
    let both = world.anyone().get("/status-lists").await.expect(200);
    assert_eq!(both, json!({"status_lists": [old, uri]}));
    world.post(world.org("/deployments"), json!({"name": "x", "type": "demo"})).await;
    // The bundles of the world live for 30 days.
    world.pass(TimeDelta::days(31));
    cp_server::licensing::status_lists::retire(&world.app).await.unwrap();
    StatusLists::of(&world.app).refresh(&world.app).await.unwrap();
    let left = world.anyone().get("/status-lists").await.expect(200);
    assert_eq!(left, json!({"status_lists": [uri]}));
    let gone = old.as_str().unwrap().strip_prefix(ISSUER).unwrap().to_owned();
    world.anyone().call(Method::GET, &gone, None).await.refused(404, "not_found");
}

#[on_both]
async fn token_enforcement_is_chosen_within_bounds(world: World) {
    let asked = async |wishes: Value| issue(&world, wishes).await["payload"]["enforcement"].clone();
    assert_eq!(
        asked(json!({"status_max_age_seconds": 60, "on_stale": "block", "grace_seconds": 5})).await,
        json!({"status_max_age": 60, "on_stale": "block", "grace_seconds": 5})
    );
    let end = json!({"valid_until": "2026-03-01T00:00:00Z"});
    world.patch(format!("/licenses/{}", world.acme.license), end).await.expect(200);
    let long = json!({"ttl_seconds": 4_000_000, "grace_seconds": 7_776_000});
    assert_eq!(asked(long).await["grace_seconds"], 1_011_200, "to the license's end, no longer");
    for (member, value) in [
        ("status_max_age_seconds", json!(0)),
        ("grace_seconds", json!(-1)),
        ("grace_seconds", json!(7_776_001)),
        ("on_stale", json!("ignore")),
        ("form", json!("paper")),
    ] {
        let path = format!("/licenses/{}/bundles", world.acme.license);
        world.post(path, json!({member: value})).await.invalid(member);
    }
}
