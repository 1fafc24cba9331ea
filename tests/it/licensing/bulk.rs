use dp_verifier::Verifier;
use serde_json::{Value, json};

use crate::world::{AUDIENCE, Answer, ISSUER, World, now, on_both};

const MANY: &str = "/licenses/bundles";

#[on_both]
async fn many_are_issued_and_failures_do_not_stop_the_others(world: World) {
    let suspended = second_license(&world).await;
    world.post(format!("/licenses/{suspended}/suspend"), json!({})).await.expect(200);
    let missing = "01900000-0000-7000-8000-000000000000";
    let ids = json!([suspended, world.acme.license, missing, world.globex.license]);
    let answer = world.post(MANY, json!({"ids": ids, "ttl_seconds": 7200})).await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let lines = lines(answer);
    assert_eq!(lines.len(), 4);
    let line = |id: &str| lines.iter().find(|line| line["license_id"] == id).unwrap();

    let keys = world.anyone().get("/.well-known/jwks.json").await;
    let verifier = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).jwks(keys.body.to_vec());
    let verifier = verifier.build().unwrap();
    for id in [&world.acme.license, &world.globex.license] {
        let line = line(id);
        assert_eq!(line["ok"], true, "{line}");
        let token = line["bundle"]["token"].as_str().unwrap();
        let license = verifier.verify_at(token, now().timestamp()).unwrap();
        assert_eq!(license.license_id().to_string(), *id);
        assert_eq!(license.expires_at(), now().timestamp() + 7200);
        let row = format!("/bundles/{}", license.token_id());
        assert_eq!(world.get(row).await.expect(200)["status"], "valid");
    }
    for (id, code) in [(suspended.as_str(), "license_suspended"), (missing, "not_found")] {
        assert_eq!(line(id)["ok"], false);
        assert_eq!(line(id)["problem"]["code"], code);
    }
}

#[on_both]
async fn a_filter_names_the_active_licenses_within_reach(world: World) {
    let second = second_license(&world).await;
    let ids = async |by: &str, filter: Value| {
        let lines = lines(world.by(by).post(MANY, json!({"filter": filter})).await);
        let ids = lines.iter().map(|line| line["license_id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    let root = crate::world::ROOT;
    assert_eq!(ids(root, json!({})).await.len(), 3);
    let acme = [world.acme.license.clone(), second.clone()];
    assert_eq!(ids(&world.acme.token, json!({})).await, acme);
    assert_eq!(ids(root, json!({"organization": world.acme.org})).await, acme);
    assert_eq!(ids(root, json!({"deployment": world.acme.spare_deployment})).await, [second]);
    let foreign = json!({"organization": world.globex.org});
    assert_eq!(ids(&world.acme.token, foreign).await, [""; 0]);
}

#[on_both]
async fn foreign_and_missing_ids_in_a_batch_are_the_same(world: World) {
    let missing = "01900000-0000-7000-8000-000000000000";
    let ids = json!({"ids": [world.globex.license, missing]});
    let lines = lines(world.by(&world.acme.token).post(MANY, ids).await);
    assert_eq!(lines[0]["problem"], lines[1]["problem"]);
    assert_eq!(lines[0]["problem"]["code"], "not_found");
}

#[on_both]
async fn a_request_names_either_ids_or_a_filter(world: World) {
    world.post(MANY, json!({})).await.invalid("ids");
    world.post(MANY, json!({"ids": [], "filter": {}})).await.invalid("ids");
    world.post(MANY, json!({"filter": {"plan": "team"}})).await.invalid("filter.plan");
    world.post(MANY, json!({"ids": ["x"]})).await.invalid("ids[0]");
    world.post(MANY, json!({"filter": {}, "ttl_seconds": 1})).await.invalid("ttl_seconds");
    assert!(lines(world.post(MANY, json!({"ids": []})).await).is_empty());
    let id = &world.acme.license;
    let many = |n: usize| json!({"ids": vec![id; n]});
    world.post(MANY, many(1001)).await.refused(400, "bad_request");
}

#[on_both]
async fn repeated_request_returns_the_issued_bundles(world: World) {
    let second = second_license(&world).await;
    let caller = world.by(crate::world::ROOT).with("Idempotency-Key", "bulk");
    let ids = json!({"ids": [world.acme.license, second]});
    let first = lines(caller.post(MANY, ids.clone()).await);
    assert!(first.iter().all(|line| line["ok"] == true), "{first:#?}");
    assert_eq!(lines(caller.post(MANY, ids).await), first);
    let bundles = world.get(format!("/licenses/{second}/bundles")).await.expect(200);
    assert_eq!(bundles["items"].as_array().unwrap().len(), 1, "one, not two");
    let other = lines(caller.post(MANY, json!({"ids": [second], "ttl_seconds": 7200})).await);
    assert_eq!(other[0]["problem"]["code"], "idempotency_key_reused");
}

#[on_both]
async fn many_more_than_a_chunk_are_issued(world: World) {
    let ids = json!({"ids": vec![&world.acme.license; 250]});
    let lines = lines(world.post(MANY, ids).await);
    let tokens: std::collections::HashSet<_> =
        lines.iter().map(|line| line["bundle"]["token"].to_string()).collect();
    assert_eq!(tokens.len(), 250, "every one is issued, and no two are the same");
    let rows: i64 = world.value("SELECT COUNT(*) FROM bundles").await;
    assert_eq!(rows, 252);
}

fn lines(answer: Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn second_license(world: &World) -> String {
    let path = format!("/deployments/{}/licenses", world.acme.spare_deployment);
    let body = json!({"subscription_id": world.acme.subscription});
    let made = world.post(path, body).await.expect(201);
    made["id"].as_str().unwrap().to_owned()
}
