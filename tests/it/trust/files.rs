use chrono::TimeDelta;
use cp_contracts::{LicenseFileClaims, TokenStatus};
use serde_json::{Value, json};

use super::{issue, parts};
use crate::world::{ISSUER, World, now, on_both, usage_report};

fn claims(file: &Value) -> LicenseFileClaims {
    let (header, claims) = parts(file.as_str().unwrap());
    assert_eq!(header["typ"], "license-file+jwt");
    serde_json::from_value(claims).unwrap()
}

fn status(claims: &LicenseFileClaims, entry: &Value) -> TokenStatus {
    let (_, list) = parts(claims.status_list.as_deref().unwrap());
    assert_eq!(list["sub"], entry["uri"]);
    let list: cp_contracts::StatusListClaims = serde_json::from_value(list).unwrap();
    let encoded = &list.status_list;
    let list = cp_contracts::StatusList::decode(encoded.bits, &encoded.lst, 1 << 14).unwrap();
    list.status(entry["idx"].as_u64().unwrap()).unwrap()
}

fn list_iat(claims: &LicenseFileClaims) -> i64 {
    parts(claims.status_list.as_deref().unwrap()).1["iat"].as_i64().unwrap()
}

/// The data plane reports that it has seen this checkpoint.
async fn report(world: &World, sequence: i64, checkpoint: &str) {
    let (deployment, license) = (&world.acme.deployment, &world.acme.license);
    let path = format!("/deployments/{deployment}/usage-reports");
    let last = world.get(&path).await.expect(200)["items"][0]["report_hash"].clone();
    let file = usage_report(deployment, license, sequence, last.as_str());
    let mut report: Value = serde_json::from_str(&file).unwrap();
    report["checkpoint"] = json!(checkpoint);
    world.post(&path, json!({"file": report.to_string()})).await.expect(201);
}

#[on_both]
async fn a_file_holds_all_that_a_data_plane_without_a_network_needs(world: World) {
    let path = format!("/licenses/{}/bundles?form=file", world.acme.license);
    let bundle = world.post(path, json!({"ttl_seconds": 86_400})).await.expect(201);
    assert_eq!(bundle["seq"], now().timestamp());
    let claims = claims(&bundle["file"]);
    let found = (&claims.iss[..], claims.sub.to_string(), claims.license_id.to_string());
    assert_eq!(found, (ISSUER, world.acme.deployment.clone(), world.acme.license.clone()));
    assert_eq!((claims.seq, claims.iat), (now().timestamp(), now().timestamp()));
    assert_eq!(claims.token.as_deref(), bundle["token"].as_str());
    let published = world.anyone().get("/.well-known/jwks.json").await.expect(200);
    assert_eq!(serde_json::to_value(&claims.jwks).unwrap(), published);
    let entry = &bundle["payload"]["status"]["status_list"];
    assert_eq!(status(&claims, entry), TokenStatus::Valid);
    assert_eq!(claims.key_chain.len(), 1, "the successor, vouched for by the active key");
    let (header, vouched) = parts(&claims.key_chain[0]);
    assert_eq!(header["kid"], bundle["key_id"]);
    assert_eq!(vouched["jwk"]["kid"], world.successor.as_str());
    // A quarter, and some days to carry the next file.
    assert_eq!(bundle["payload"]["enforcement"]["status_max_age"], 8_640_000);
}

#[on_both]
async fn a_refresh_brings_the_news_without_a_token_and_counts_on(world: World) {
    let bundle = issue(&world, json!({"form": "file"})).await;
    let license = format!("/licenses/{}", world.acme.license);
    world.post(format!("{license}/suspend"), json!({})).await.expect(200);
    let refresh = world.post(format!("{license}/refresh"), json!({})).await.expect(201);
    let first = now().timestamp();
    assert_eq!((&bundle["seq"], &refresh["seq"]), (&json!(first), &json!(first + 1)));
    let file = claims(&refresh["file"]);
    assert_eq!((file.seq, file.token.as_deref()), (first + 1, None));
    let entry = &bundle["payload"]["status"]["status_list"];
    assert_eq!(status(&file, entry), TokenStatus::Suspended);
    world.post(format!("{license}/revoke"), json!({})).await.expect(200);
    let last = world.post(format!("{license}/refresh"), json!({})).await.expect(201);
    let file = claims(&last["file"]);
    assert_eq!((file.seq, status(&file, entry)), (first + 2, TokenStatus::Invalid));
}

#[on_both]
async fn a_file_proves_that_its_log_goes_on_from_what_was_reported(world: World) {
    let first = claims(&issue(&world, json!({"form": "file"})).await["file"]);
    assert_eq!(first.consistency, None, "no checkpoint was reported yet");
    let key = world.anyone().get("/log/key").await.text();
    let key: dp_verifier::LogKey = key.trim_end().parse().unwrap();
    let seen = first.checkpoint.unwrap();
    report(&world, 2, &seen).await;
    world.post(world.org("/workspaces"), json!({"name": "Later"})).await.expect(201);
    let seen = key.checkpoint(&seen).unwrap();
    let refresh = format!("/licenses/{}/refresh", world.acme.license);
    let files = [
        issue(&world, json!({"form": "file"})).await,
        world.post(&refresh, json!({})).await.expect(201),
    ];
    for file in files {
        let file = claims(&file["file"]);
        let proven = key.checkpoint(&file.checkpoint.unwrap()).unwrap();
        let proof = file.consistency.unwrap();
        let proof = proof.strip_prefix(&format!("old {}\n", seen.size())).unwrap();
        assert!(proven.size() > seen.size());
        assert_eq!(seen.is_extended_by(&proven, proof), Some(true), "{proof}");
    }
    // What is no checkpoint of this log is not gone on from.
    report(&world, 3, "cp.example/api/v1/log\n1\nx\n").await;
    let file = world.post(&refresh, json!({})).await.expect(201);
    assert_eq!(claims(&file["file"]).consistency, None);
}

#[on_both]
async fn files_of_one_license_never_share_a_number(world: World) {
    let license = format!("/licenses/{}", world.acme.license);
    let path = format!("{license}/refresh");
    let files = futures_util::future::join_all((0..4).map(|_| world.post(&path, json!({}))));
    let mut numbers: Vec<i64> = Vec::new();
    for answer in files.await {
        numbers.push(answer.expect(201)["seq"].as_i64().unwrap());
    }
    numbers.sort_unstable();
    let first = now().timestamp();
    assert_eq!(numbers, [first, first + 1, first + 2, first + 3]);
}

#[on_both]
async fn files_of_a_server_whose_clock_was_set_back_are_numbered_on(world: World) {
    let refresh = format!("/licenses/{}/refresh", world.acme.license);
    let first = world.post(&refresh, json!({})).await.expect(201);
    world.pass(TimeDelta::hours(-1));
    world.post(format!("/licenses/{}/suspend", world.acme.license), json!({})).await.expect(200);
    let second = world.post(&refresh, json!({})).await.expect(201);
    assert_eq!(second["seq"].as_i64().unwrap(), first["seq"].as_i64().unwrap() + 1);
    let (first, second) = (claims(&first["file"]), claims(&second["file"]));
    assert!(list_iat(&second) > list_iat(&first));
    assert!(second.iat >= list_iat(&second), "a file is not older than its list");
}

#[on_both]
async fn files_of_one_state_bring_one_list(world: World) {
    let refresh = format!("/licenses/{}/refresh", world.acme.license);
    let (first, second) = (
        claims(&world.post(&refresh, json!({})).await.expect(201)["file"]),
        claims(&world.post(&refresh, json!({})).await.expect(201)["file"]),
    );
    assert_eq!(first.status_list, second.status_list);
}

#[on_both]
async fn a_query_and_a_body_do_not_contradict_each_other(world: World) {
    let path = format!("/licenses/{}/bundles", world.acme.license);
    let both = world.post(format!("{path}?form=file"), json!({"form": "token"})).await;
    both.invalid("form");
    world.post(format!("{path}?from=file"), json!({})).await.invalid("from");
}
