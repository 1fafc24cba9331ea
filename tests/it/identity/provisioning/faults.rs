//! What a provider does wrong, and what becomes of it.

use serde_json::{Value, json};

use super::{path, ran, run, statuses, summary, zitadel};
use crate::world::zitadel::{Fault, SERVICE_SECRET, SERVICE_USER, TOKEN};
use crate::world::{World, on_both};

#[on_both]
async fn lists_that_lag_lead_to_no_second_creation(world: World) {
    for (api, update) in [("v2", "UpdateAuthorization"), ("v1", "grants")] {
        let management = json!({"api": api, "secret": TOKEN});
        let zitadel = zitadel(&world, json!({"management": management})).await;
        zitadel.set(|inner| {
            inner.is_russian = true;
            inner.known.add_role("acme_extra");
            inner.known.lag = 4;
        });
        let first = ran(&world, json!({})).await;
        assert_eq!(first["summary"], summary(&[("done", 4)]), "{first}");
        // The lists do not show it yet: conflicts say so, and the keys of the grants are compared.
        let body = json!({"default_role_keys": ["extra"], "resolve_by_email": true});
        let second = ran(&world, body.clone()).await;
        assert_eq!(statuses(&second, "roles"), ["create unchanged"; 2], "{second}");
        assert_eq!(statuses(&second, "grants"), ["update done"; 2], "{second}");
        assert!(zitadel.recorded().iter().any(|one| one.path.contains(update)));
        zitadel.set(|inner| {
            assert_eq!(inner.known.keys_of("71"), ["acme_account_admin", "acme_extra"]);
            assert_eq!(inner.known.now.grants.len(), 2);
            inner.known.lag = 0;
        });
        for _ in 0..4 {
            ran(&world, json!({"dry_run": true})).await;
        }
        let third = ran(&world, body).await;
        assert_eq!(third["summary"], summary(&[("unchanged", 4)]), "{third}");
        // A grant that no list shows for long is left for another run.
        zitadel.set(|inner| {
            inner.known.lag = 20;
            let role = inner.known.now.roles[0].clone();
            inner.known.now.grants.clear();
            inner.known.changed().roles.push(role);
            inner.known.add_grant("71", &["acme_account_admin"]);
        });
        let late = ran(&world, json!({"roles": []})).await;
        assert_eq!(statuses(&late, "grants")[0], "create failed run_again", "{late}");
        assert_eq!(late["grants"][0]["error"]["status"], 409);
        assert_eq!(late["complete"], false);
        world.delete(path(&world)).await.expect(204);
    }
}

#[on_both]
async fn busy_provider_is_tried_three_times(world: World) {
    let zitadel = zitadel(&world, json!({})).await;
    zitadel.set(|inner| {
        inner.busy_tokens = vec![503, 503];
        inner.busy = vec![(429, Some(0)), (503, None)];
    });
    let outcome = ran(&world, json!({})).await;
    assert_eq!(outcome["summary"], summary(&[("done", 4)]));
    let calls = zitadel.calls();
    let times = |call: &str| calls.iter().filter(|one| *one == call).count();
    assert_eq!((times("token"), times("ListProjectRoles"), times("ListAuthorizations")), (3, 3, 1));

    zitadel.set(|inner| inner.busy = vec![(429, None); 3]);
    let problem = run(&world, json!({})).await.refused(502, "provider_failed");
    assert_eq!(
        (&problem["provider_status"], &problem["provider_code"]),
        (&json!(429), &json!("resource_exhausted"))
    );
    assert_eq!(zitadel.calls(), ["ListProjectRoles"; 3]);
    // A connection that breaks is tried again, and other failures are not.
    for (fault, times) in [
        (Fault::Broken, 3),
        (Fault::Huge, 1),
        (Fault::DuplicateMembers, 1),
        (Fault::Redirect("http://127.0.0.1:1/".to_owned()), 1),
        (Fault::NoMembership, 1),
        (Fault::CountedButEmpty, 1),
    ] {
        zitadel.fault(fault.clone());
        let events = world.count_events().await;
        let problem = run(&world, json!({})).await.refused(502, "provider_failed");
        assert_eq!(zitadel.calls(), vec!["ListProjectRoles"; times], "{fault:?}: {problem}");
        assert_eq!(world.count_events().await, events, "{fault:?}");
        let status = &problem["provider_status"];
        match fault {
            Fault::Redirect(_) => assert_eq!(*status, 302),
            Fault::NoMembership => assert_eq!(*status, 404),
            Fault::CountedButEmpty => assert_eq!(problem["provider_code"], "permission_denied"),
            Fault::Broken | Fault::Huge => assert_eq!(*status, Value::Null),
            _ => assert_eq!(*status, 200),
        }
    }
    zitadel.fault(Fault::Endless);
    run(&world, json!({})).await.refused(502, "provider_failed");
    assert_eq!(zitadel.calls().len(), 100);
    zitadel.fault(Fault::None);
    assert_eq!(ran(&world, json!({})).await["summary"], summary(&[("unchanged", 4)]));
}

#[on_both]
async fn provider_that_answered_once_refuses_items_and_not_the_run(world: World) {
    let zitadel = zitadel(&world, json!({})).await;
    zitadel.fault(Fault::ReadOnly);
    let outcome = ran(&world, json!({})).await;
    assert_eq!(statuses(&outcome, "roles"), ["create failed"; 2]);
    assert_eq!(statuses(&outcome, "grants"), ["create failed"; 2]);
    assert_eq!(
        outcome["grants"][0]["error"],
        json!({
            "status": 403, "code": "permission_denied", "message": "No matching permissions found",
        })
    );
    assert_eq!(
        (&outcome["complete"], &outcome["summary"]),
        (&json!(true), &summary(&[("failed", 4)]))
    );
    // A search that is refused says nothing about the person.
    zitadel.fault(Fault::NoSearch);
    let outcome = ran(&world, json!({})).await;
    assert_eq!(statuses(&outcome, "roles"), ["create done"; 2]);
    assert_eq!(statuses(&outcome, "grants"), ["none failed"; 2], "{outcome}");
    // So does a list of grants, which counts what it does not show.
    zitadel.set(|inner| {
        inner.known.add_grant("71", &["acme_account_admin"]);
        inner.fault = Fault::CountedButEmpty;
    });
    let outcome = run(&world, json!({"roles": []})).await;
    outcome.refused(502, "provider_failed");
}

#[on_both]
async fn token_is_kept_until_a_minute_before_its_end_and_replaced_once(world: World) {
    let zitadel = zitadel(&world, json!({})).await;
    let tokens = async |world: &World| {
        let answer = run(world, json!({"grants": []})).await;
        (answer.status, zitadel.calls().iter().filter(|call| *call == "token").count())
    };
    zitadel.set(|inner| inner.expires_in = 100);
    assert_eq!(tokens(&world).await, (200, 1));
    assert_eq!(tokens(&world).await, (200, 0));
    world.pass(chrono::TimeDelta::seconds(39));
    assert_eq!(tokens(&world).await, (200, 0));
    world.pass(chrono::TimeDelta::seconds(1));
    assert_eq!(tokens(&world).await, (200, 1));
    // A refused token causes one request for another.
    zitadel.end_tokens();
    assert_eq!(tokens(&world).await, (200, 1));
    // One that the API does not accept is not replaced again and again.
    let management =
        json!({"client_id": SERVICE_USER, "secret": SERVICE_SECRET, "scope": "profile"});
    let body = zitadel.body(json!({"management": management}));
    world.put(path(&world), body).await.expect(200);
    zitadel.recorded();
    let problem = run(&world, json!({})).await.refused(502, "provider_failed");
    assert_eq!(problem["provider_status"], 401);
    let sent = zitadel.recorded();
    let tokens: Vec<_> = sent.iter().filter(|one| one.call() == "token").collect();
    assert_eq!(tokens.len(), 2);
    assert!(tokens[0].text.ends_with("scope=openid+profile"), "{}", tokens[0].text);
    // A token of its own cannot be replaced.
    let body = zitadel.body(json!({"management": {"secret": TOKEN}}));
    world.put(path(&world), body).await.expect(200);
    let problem = run(&world, json!({})).await.refused(502, "provider_failed");
    assert_eq!(problem["provider_status"], 401);
}

#[on_both]
async fn provider_that_cannot_be_used_is_a_failure_with_its_status(world: World) {
    let zitadel = zitadel(&world, json!({})).await;
    let refused = async |management: Value| {
        let body = zitadel.body(json!({"management": management}));
        world.put(path(&world), body).await.expect(200);
        let problem = run(&world, json!({})).await.refused(502, "provider_failed");
        let detail = problem["detail"].as_str().unwrap().to_owned();
        (problem["provider_status"].clone(), problem["provider_code"].clone(), detail)
    };
    let wrong = json!({"client_id": SERVICE_USER, "secret": "canary-of-another"});
    let (status, code, detail) = refused(wrong).await;
    assert_eq!((status, code), (json!(401), json!("invalid_client")));
    assert_eq!(detail, "The identity provider answered 401: client not found");
    for (url, why) in [
        ("http://127.0.0.1:1", "cannot be read"),
        // An organization must not reach this server's network.
        ("https://10.0.0.1", "its address is not public"),
        ("http://id.example", "is not an https URL"),
    ] {
        let (status, _, detail) = refused(json!({"url": url, "secret": TOKEN})).await;
        assert_eq!(status, Value::Null, "{url}");
        assert!(detail.contains(why), "{detail}");
    }
    // A server without version 2 of the API gets no requests of version 1 on its own.
    zitadel.fault(Fault::Old);
    let (status, code, detail) = refused(json!({"secret": TOKEN})).await;
    assert_eq!((status, code), (json!(404), json!("unimplemented")));
    assert!(detail.contains("Set `management.api` to v1"), "{detail}");
    zitadel.fault(Fault::None);
    // The base URL is that of `url`, with or without a slash at its end.
    let management = json!({"url": format!("{}/", zitadel.url), "secret": TOKEN});
    world.put(path(&world), zitadel.body(json!({"management": management}))).await.expect(200);
    assert_eq!(ran(&world, json!({})).await["summary"], summary(&[("done", 4)]));
}
