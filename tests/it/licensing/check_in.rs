//! Check-ins: when the server signs, and what it reports.

use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::{CheckIn, CheckInCode};
use cp_server::audit::integrator::integrate;
use cp_server::kernel::http::openapi;
use dp_verifier::Verifier;
use futures_util::future::join_all;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{
    AUDIENCE, Client, ISSUER, World, count_statements, now, on_both, statements_so_far,
};

/// The data plane of Acme.
pub(super) fn data_plane(world: &World) -> Client {
    world.by(&world.acme.deployment_token)
}

pub(super) fn path(world: &World) -> String {
    format!("/deployments/{}/check-in", world.acme.deployment)
}

pub(super) fn license(world: &World) -> String {
    format!("/licenses/{}", world.acme.license)
}

/// Checks in as Acme's data plane.
pub(super) async fn check_in(world: &World, body: Value) -> Value {
    data_plane(world).post(path(world), body).await.expect(200)
}

/// Checks in with the token that the world issued, a day ago.
pub(super) async fn check_in_as_before(world: &World) -> Value {
    check_in(world, json!({"jti": world.acme.bundle})).await
}

/// Checks in without a token, and returns the new one's `jti`.
async fn renewed(world: &World) -> Value {
    let answer = check_in(world, json!({})).await;
    assert_eq!(answer["code"], "valid", "{answer}");
    answer["bundle"]["jti"].clone()
}

fn instant(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap_or_else(|| panic!("{value} is no instant")).parse().unwrap()
}

/// The life of the bundle in an answer, in seconds.
pub(super) fn life(bundle: &Value) -> i64 {
    (instant(&bundle["expires_at"]) - instant(&bundle["issued_at"])).num_seconds()
}

/// The time until the next check-in of this token, of which a third is `third`.
pub(super) fn spread(third: TimeDelta, jti: &Value) -> TimeDelta {
    let jti: Uuid = jti.as_str().unwrap().parse().unwrap();
    let spread = i64::from(jti.as_bytes()[15]) - 128;
    TimeDelta::milliseconds(third.num_milliseconds() * (1280 + spread) / 1280)
}

async fn seen(world: &World) -> Value {
    let path = format!("/deployments/{}", world.acme.deployment);
    world.get(path).await.expect(200)["last_seen_at"].clone()
}

#[on_both]
async fn check_in_with_newest_token_signs_nothing(world: World) {
    let events = world.count_events().await;
    let answer = check_in_as_before(&world).await;
    let row = world.get(format!("/bundles/{}", world.acme.bundle)).await.expect(200);
    assert_eq!(
        answer,
        json!({
            "code": "valid", "license_id": world.acme.license,
            "next_check_in_at": now() + spread(TimeDelta::hours(12), &json!(world.acme.bundle)),
            "not_before": instant(&row["issued_at"]) + TimeDelta::seconds(60),
            "server_time": now(),
        })
    );
    let answer: CheckIn = serde_json::from_value(answer).unwrap();
    assert_eq!((answer.code, answer.bundle), (CheckInCode::Valid, None));
    assert_eq!(world.count_events().await, events);
}

#[on_both]
async fn check_in_without_token_is_answered_with_one(world: World) {
    let events = world.count_events().await;
    let report = json!({
        "contract": "2.10.0", "verifier": "dp-verifier 0.1.0", "status_list_iat": 1_767_225_600,
        "checkpoint": "log\n1\nhash\n",
    });
    let answer = check_in(&world, report.clone()).await;
    let bundle = &answer["bundle"];
    assert_eq!(
        (&answer["code"], &answer["not_before"]),
        (&json!("valid"), &json!(now() + TimeDelta::seconds(60)))
    );
    let next = now() + spread(TimeDelta::hours(12), &bundle["jti"]);
    assert_eq!(answer["next_check_in_at"], json!(next));
    assert_eq!(life(bundle), 30 * 86_400);
    let keys = world.anyone().get("/.well-known/jwks.json").await;
    let verifier = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).jwks(keys.body.to_vec());
    let token = bundle["token"].as_str().unwrap();
    let license = verifier.build().unwrap().verify_at(token, now().timestamp()).unwrap();
    assert_eq!(license.deployment().id.to_string(), world.acme.deployment);

    assert_eq!(world.count_events().await, events + 1);
    let event = world.get("/audit?limit=1").await.expect(200)["items"][0].clone();
    assert_eq!(event["action"], "deployments.check_in");
    let after = &event["after"];
    assert_eq!(
        (&after["jti"], &after["bundle_hash"], &after["token"]),
        (&bundle["jti"], &bundle["bundle_hash"], &json!({"masked": true}))
    );
    let mut reported = report;
    reported["jti"] = Value::Null;
    assert_eq!(after["reported"], reported);
    let row = world.get(format!("/bundles/{}", bundle["jti"].as_str().unwrap())).await.expect(200);
    assert_eq!((&row["status"], &row["key_id"]), (&json!("valid"), &bundle["key_id"]));
    integrate(&world.app).await.unwrap();
    let proof = format!("/log/proof?jti={}", bundle["jti"].as_str().unwrap());
    assert_eq!(world.anyone().get(proof).await.status, 200);
}

#[on_both]
async fn older_token_is_replaced(world: World) {
    let bundles = format!("{}/bundles", license(&world));
    let newer = world.post(&bundles, json!({})).await.expect(201);
    let held = check_in_as_before(&world).await;
    // The newest token is some instants old: its data plane may be among those that ask.
    assert_eq!((&held["bundle"], &held["code"]), (&Value::Null, &json!("valid")));
    assert_eq!(held["next_check_in_at"], held["not_before"]);
    world.pass(TimeDelta::seconds(60));
    let answer = check_in_as_before(&world).await;
    assert_ne!(answer["bundle"]["jti"], newer["jti"]);
    world.pass(TimeDelta::seconds(60));
    let again = check_in(&world, json!({"jti": answer["bundle"]["jti"]})).await;
    assert_eq!(again["bundle"], Value::Null, "the new token is the newest");
    // After a restore, the newest token may be unknown.
    let unknown = check_in(&world, json!({"jti": crate::sweep::examples::UNKNOWN_ID})).await;
    assert!(unknown["bundle"].is_object(), "{unknown}");
}

#[on_both]
async fn revoked_token_is_replaced(world: World) {
    let revoke = format!("/bundles/{}/revoke", world.acme.bundle);
    world.post(revoke, json!({})).await.expect(200);
    let answer = check_in_as_before(&world).await;
    assert!(answer["bundle"]["token"].is_string(), "{answer}");
    assert_ne!(answer["bundle"]["jti"], world.acme.bundle);
}

#[on_both]
async fn token_of_changed_license_is_replaced(world: World) {
    world.patch(license(&world), json!({"features": {"sso": true}})).await.expect(200);
    let answer = check_in_as_before(&world).await;
    let jti = &answer["bundle"]["jti"];
    assert_eq!(answer["bundle"]["payload"]["license"]["features"]["sso"], true);
    world.pass(TimeDelta::seconds(61));
    assert_eq!(check_in(&world, json!({"jti": jti})).await["bundle"], Value::Null);
    // The suspension and the return are changes, too.
    world.post(format!("{}/suspend", license(&world)), json!({})).await.expect(200);
    world.post(format!("{}/reinstate", license(&world)), json!({})).await.expect(200);
    assert!(check_in(&world, json!({"jti": jti})).await["bundle"].is_object());
}

#[on_both]
async fn token_is_replaced_after_two_thirds_of_its_life(world: World) {
    let row = world.get(format!("/bundles/{}", world.acme.bundle)).await.expect(200);
    let due = instant(&row["issued_at"]) + TimeDelta::days(20);
    world.pass(due - now() - TimeDelta::seconds(1));
    assert_eq!(check_in_as_before(&world).await["bundle"], Value::Null);
    world.pass(TimeDelta::seconds(1));
    assert!(check_in_as_before(&world).await["bundle"].is_object());
}

/// Follows the check-ins of several tokens, each a second early: data planes count in full seconds.
#[on_both]
async fn token_of_an_hour_is_renewed_with_a_quarter_of_its_life_left(world: World) {
    world.patch(license(&world), json!({"token_ttl_seconds": 3600})).await.expect(200);
    let mut answer = check_in(&world, json!({})).await;
    for _ in 0..12 {
        let bundle = answer["bundle"].clone();
        assert_eq!(life(&bundle), 3600);
        answer["bundle"] = Value::Null;
        while answer["bundle"].is_null() {
            let wait = instant(&answer["next_check_in_at"]) - instant(&answer["server_time"]);
            world.pass(wait - TimeDelta::seconds(1));
            answer = check_in(&world, json!({"jti": bundle["jti"]})).await;
        }
        let left = instant(&bundle["expires_at"]) - instant(&answer["server_time"]);
        assert!((900..=1200).contains(&left.num_seconds()), "{left}, {}", bundle["jti"]);
    }
}

#[on_both]
async fn request_decides_whether_it_wants_a_token(world: World) {
    let nothing = check_in(&world, json!({"want": "nothing"})).await;
    assert_eq!(nothing["bundle"], Value::Null);
    let body = json!({"want": "token", "jti": world.acme.bundle});
    let answer = check_in(&world, body.clone()).await;
    assert!(answer["bundle"].is_object(), "{answer}");
    // Before `not_before` the server signs nothing, whatever the request wants.
    world.pass(TimeDelta::seconds(59));
    let early = check_in(&world, body.clone()).await;
    assert_eq!(early["bundle"], Value::Null);
    assert_eq!(early["not_before"], answer["not_before"]);
    assert_eq!(early["next_check_in_at"], answer["not_before"]);
    world.pass(TimeDelta::seconds(1));
    assert!(check_in(&world, body).await["bundle"].is_object());
    for (field, value) in [
        ("want", json!("all")),
        ("jti", json!("x")),
        ("contract", json!("")),
        ("checkpoint", json!("x".repeat(4001))),
        ("status_list_iat", json!(-1)),
        ("verifier", json!(1)),
    ] {
        data_plane(&world).post(path(&world), json!({field: value})).await.invalid(field);
    }
}

#[on_both]
async fn refusal_has_its_code_and_no_token(world: World) {
    let code = async || {
        let answer = check_in(&world, json!({})).await;
        assert_eq!(answer["bundle"], Value::Null, "{answer}");
        assert_eq!(answer["license_id"], world.acme.license);
        answer["code"].clone()
    };
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    let deployment = format!("/deployments/{}", world.acme.deployment);
    // The reasons are added from the last of the precedence to the first.
    let later = json!({"valid_from": now() + TimeDelta::days(5)});
    world.patch(license(&world), later).await.expect(200);
    assert_eq!(code().await, "license_not_yet_valid");
    let ended = json!({"valid_from": now() - TimeDelta::days(5), "valid_until": now()});
    world.patch(license(&world), ended).await.expect(200);
    assert_eq!(code().await, "license_expired");
    world.post(format!("{}/suspend", license(&world)), json!({})).await.expect(200);
    assert_eq!(code().await, "license_suspended");
    world.post(format!("{}/revoke", license(&world)), json!({})).await.expect(200);
    assert_eq!(code().await, "license_revoked");
    world.patch(subscription, json!({"status": "paused"})).await.expect(200);
    assert_eq!(code().await, "subscription_inactive");
    world.patch(deployment, json!({"status": "inactive"})).await.expect(200);
    assert_eq!(code().await, "deployment_inactive");
    world.delete(world.org("?mode=suspend")).await.expect(204);
    assert_eq!(code().await, "organization_suspended");
}

#[on_both]
async fn deployment_without_license_gets_license_missing(world: World) {
    let path = format!("/deployments/{}/check-in", world.acme.spare_deployment);
    let spare: Uuid = world.acme.spare_deployment.parse().unwrap();
    let answer = world.post(path, json!({})).await.expect(200);
    assert_eq!(
        answer,
        json!({
            "code": "license_missing",
            "next_check_in_at": now() + spread(TimeDelta::hours(12), &json!(spare)),
            "not_before": now(), "server_time": now(),
        })
    );
    let deployment = format!("/deployments/{spare}");
    assert_eq!(world.get(deployment).await.expect(200)["last_seen_at"], json!(now()));
}

#[on_both]
async fn suspended_organization_gets_an_answer_until_it_returns(world: World) {
    world.delete(world.org("?mode=suspend")).await.expect(204);
    let events = world.count_events().await;
    let answer = check_in(&world, json!({})).await;
    assert_eq!(answer["code"], "organization_suspended");
    assert_eq!(world.count_events().await, events);
    let token = format!("{}/token", license(&world));
    let owner = world.person("auth0|olga-acme");
    owner.post(token, json!({})).await.refused(409, "organization_suspended");
    world.patch(world.org(""), json!({"status": "active"})).await.expect(200);
    let answer = check_in(&world, json!({})).await;
    assert_eq!(answer["code"], "valid");
}

#[on_both]
async fn deployment_is_hidden_from_others(world: World) {
    for token in [&world.globex.deployment_token, &world.globex.token] {
        let other = world.by(token);
        other.post(path(&world), json!({})).await.refused(404, "not_found");
        other.post(format!("{}/token", license(&world)), json!({})).await.refused(404, "not_found");
    }
    // A token of another deployment of the same organization.
    let spare = format!("/deployments/{}/service-tokens", world.acme.spare_deployment);
    let spare = world.post(spare, json!({"name": "edge"})).await.expect(201);
    let spare = world.by(spare["token"].as_str().unwrap());
    spare.post(path(&world), json!({})).await.refused(404, "not_found");
    spare.post(format!("{}/token", license(&world)), json!({})).await.refused(404, "not_found");
    // The `jti` of another deployment is as good as an unknown one.
    let answer = check_in(&world, json!({"jti": world.globex.bundle})).await;
    assert_eq!(answer["license_id"], world.acme.license);
    assert_eq!(answer["bundle"]["payload"]["sub"], world.acme.deployment);
}

#[on_both]
async fn newest_license_in_force_answers_unless_the_token_names_one(world: World) {
    let old = check_in_as_before(&world).await;
    assert_eq!(old["license_id"], world.acme.license);
    // The license under an earlier contract stays, and another one is in force.
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    world.post(format!("{subscription}/cancel"), json!({})).await.expect(200);
    world.post(world.org("/subscriptions"), json!({"plan_code": "team"})).await.expect(201);
    let licenses = format!("/deployments/{}/licenses", world.acme.deployment);
    let newer = world.post(&licenses, json!({})).await.expect(201)["id"].clone();
    let answer = check_in(&world, json!({})).await;
    assert_eq!((&answer["license_id"], &answer["code"]), (&newer, &json!("valid")));
    let jti = answer["bundle"]["jti"].clone();
    let named = check_in_as_before(&world).await;
    assert_eq!(named["license_id"], world.acme.license);
    assert_eq!(named["code"], "subscription_inactive");
    // None is in force: the newest answers.
    world
        .post(format!("/licenses/{}/suspend", newer.as_str().unwrap()), json!({}))
        .await
        .expect(200);
    let answer = check_in(&world, json!({})).await;
    assert_eq!((&answer["license_id"], &answer["code"]), (&newer, &json!("license_suspended")));
    world
        .post(format!("/licenses/{}/reinstate", newer.as_str().unwrap()), json!({}))
        .await
        .expect(200);
    // A revoked license does not return: the one that replaced it answers.
    world.post(format!("{}/revoke", license(&world)), json!({})).await.expect(200);
    world.pass(TimeDelta::seconds(60));
    let answer = check_in_as_before(&world).await;
    assert_eq!((&answer["license_id"], &answer["code"]), (&newer, &json!("valid")));
    assert_ne!(answer["bundle"]["jti"], jti);
}

#[on_both]
async fn last_contact_is_written_once_a_minute(world: World) {
    check_in_as_before(&world).await;
    assert_eq!(seen(&world).await, json!(now()));
    world.pass(TimeDelta::seconds(59));
    check_in_as_before(&world).await;
    assert_eq!(seen(&world).await, json!(now()));
    world.pass(TimeDelta::seconds(1));
    check_in_as_before(&world).await;
    assert_eq!(seen(&world).await, json!(now() + TimeDelta::seconds(60)));
    // A clock that was set back does not stop it.
    world.pass(TimeDelta::hours(-5));
    check_in_as_before(&world).await;
    assert_eq!(seen(&world).await, json!(now() + TimeDelta::seconds(60) - TimeDelta::hours(5)));
}

#[on_both]
async fn clock_that_was_set_back_does_not_stop_renewals(world: World) {
    let future = renewed(&world).await;
    world.pass(TimeDelta::hours(-5));
    let answer = check_in(&world, json!({"jti": future})).await;
    let jti = answer["bundle"]["jti"].clone();
    assert!(jti.is_string(), "{answer}");
    // The token that was written last is the newest one, whatever its date.
    world.pass(TimeDelta::seconds(60));
    assert_eq!(check_in(&world, json!({"jti": jti})).await["bundle"], Value::Null);
}

#[on_both]
async fn of_concurrent_check_ins_one_signs(world: World) {
    let (_, replica) = world.replica().await;
    let clients = [data_plane(&world), replica.token(&world.acme.deployment_token)];
    let path = path(&world);
    let events = world.count_events().await;
    let requests = (0..10).map(|n| clients[n % 2].post(&path, json!({"want": "token"})));
    let answers = join_all(requests).await;
    let answers: Vec<Value> = answers.into_iter().map(|answer| answer.expect(200)).collect();
    let signed: Vec<_> = answers.iter().filter(|answer| answer["bundle"].is_object()).collect();
    assert_eq!(signed.len(), 1, "{answers:?}");
    for answer in &answers {
        assert_eq!(answer["code"], "valid");
        assert_eq!(answer["not_before"], json!(now() + TimeDelta::seconds(60)));
    }
    assert_eq!(world.count_events().await, events + 1);
}

#[tokio::test]
async fn check_in_without_signature_costs_one_read() {
    let Some(world) = World::on_postgres().await else { return };
    count_statements();
    let deployment = format!("/deployments/{}", world.acme.deployment);
    let root = world.root();
    let body = json!({"jti": world.acme.bundle});
    // The first requests also read the credential, and write the contact.
    root.get(&deployment).await.expect(200);
    root.post(path(&world), body.clone()).await.expect(200);
    let mut costs = [u64::MAX; 2];
    // The least of three: now and then a request also records the last use of a credential.
    for _ in 0..3 {
        let before = statements_so_far();
        root.get(&deployment).await.expect(200);
        let read = statements_so_far();
        let answer = root.post(path(&world), body.clone()).await.expect(200);
        assert_eq!(answer["code"], "valid");
        costs = [costs[0].min(read - before), costs[1].min(statements_so_far() - read)];
    }
    assert_eq!(costs[0], costs[1], "as many as one read of the deployment");
}

#[test]
fn check_in_counts_towards_no_request_quota() {
    let table = crate::world::operations().table;
    for name in ["deployments.check_in", "licenses.token"] {
        let line = table.iter().find(|line| line.name == name).unwrap();
        assert!(!line.metered && line.shapes(&mut openapi::schemas()).output.is_some(), "{name}");
    }
}
