use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cp_server::audit::integrator::integrate;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use ct_merkle::{ConsistencyProof, InclusionProof};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Head, checkpoint, hashes, parse, read, unlock};
use crate::world::{World, on_both};

/// Checks a proof as an independent implementation of RFC 6962 does: the leaf that it proves.
async fn proven(world: &World, proof: &str) -> Value {
    let proof = parse(proof);
    let head = read(world, &proof.checkpoint).await;
    let path = InclusionProof::<Sha256>::from_digests(&proof.path);
    head.root.verify_inclusion(&proof.leaf, proof.index, &path).unwrap();
    let leaf: Value = serde_json::from_slice(&proof.leaf).unwrap();
    assert_eq!(leaf["seq"], proof.index);
    leaf
}

async fn is_consistent(world: &World, from: &Head, to: &Head) -> bool {
    let path = format!("/log/consistency?from={}&to={}", from.size, to.size);
    let answer = world.anyone().get(path).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = answer.text();
    let proof = ConsistencyProof::<Sha256>::from_digests(&hashes(text.lines()));
    to.root.verify_consistency(&from.root, &proof).is_ok()
}

#[on_both]
async fn a_bundle_is_proven_to_be_in_the_log_where_it_is_asked_for(world: World) {
    let path = format!("/licenses/{}/bundles?proof=wait", world.acme.license);
    let bundle = world.post(&path, json!({})).await.expect(201);
    let leaf = proven(&world, bundle["proof"].as_str().unwrap()).await;
    let token = bundle["token"].as_str().unwrap();
    let hash: String = Sha256::digest(token).iter().map(|byte| format!("{byte:02x}")).collect();
    let commit = leaf["commit"].as_str().unwrap();
    assert_eq!(commit.len(), 64);
    assert_eq!(
        leaf,
        json!({
            "v": 1, "seq": leaf["seq"], "at": "2026-01-02T00:00:00.000000Z", "commit": commit,
            "action": "bundles.issue", "target": {"type": "bundle", "id": bundle["jti"]},
            "jti": bundle["jti"], "kid": bundle["key_id"], "token_sha256": hash,
        })
    );
    let later = format!("/log/proof?jti={}", bundle["jti"].as_str().unwrap());
    let later = world.anyone().get(later).await;
    assert_eq!(later.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(later.header("access-control-allow-origin"), "*");
    assert_eq!(proven(&world, &later.text()).await, leaf);
    let plain = world.post(path.replace("?proof=wait", ""), json!({})).await.expect(201);
    assert_eq!(plain["proof"], Value::Null, "a proof was not requested");
    let events = world.get(world.org("/audit?action=bundles.issue")).await.expect(200);
    assert_eq!(events["items"][1]["seq"], leaf["seq"]);
    assert_eq!(events["items"][1]["target_id"], bundle["jti"]);
    world.post(path.replace("wait", "later"), json!({})).await.invalid("proof");
}

#[on_both]
async fn the_file_of_a_license_brings_its_proof(world: World) {
    let path = format!("/licenses/{}", world.acme.license);
    let bundle = world.post(format!("{path}/bundles?form=file"), json!({})).await.expect(201);
    let file = claims(&bundle["file"]);
    let leaf = proven(&world, file["proof"].as_str().unwrap()).await;
    assert_eq!(leaf["jti"], bundle["jti"]);
    assert_eq!(file["checkpoint"], parse(file["proof"].as_str().unwrap()).checkpoint);
    let refresh = world.post(format!("{path}/refresh"), json!({})).await.expect(201);
    let refresh = claims(&refresh["file"]);
    let newer = read(&world, refresh["checkpoint"].as_str().unwrap()).await;
    let older = read(&world, file["checkpoint"].as_str().unwrap()).await;
    assert!(is_consistent(&world, &older, &newer).await);
    assert_eq!(refresh.get("proof"), None);
}

#[on_both]
async fn checkpoints_of_one_log_are_consistent(world: World) {
    let mut heads = vec![read(&world, &checkpoint(&world).await).await];
    for n in 0..5 {
        for m in 0..n {
            let body = json!({"name": format!("Widget {n} {m}")});
            world.post(world.org("/workspaces"), body).await.expect(201);
        }
        integrate(&world.app).await.unwrap();
        let text = checkpoint(&world).await;
        assert_eq!(checkpoint(&world).await, text, "nothing has changed");
        heads.push(read(&world, &text).await);
    }
    let sizes: Vec<u64> = heads.iter().map(|head| head.size - heads[0].size).collect();
    assert_eq!(sizes, [0, 0, 1, 3, 6, 10]);
    for (n, from) in heads.iter().enumerate() {
        for to in &heads[n..] {
            assert!(is_consistent(&world, from, to).await, "{} to {}", from.size, to.size);
        }
    }
    let size = heads[5].size;
    for (from, to) in [(2, 1), (0, size + 1), (size + 1, size + 1)] {
        let path = format!("/log/consistency?from={from}&to={to}");
        let problem = world.anyone().get(path).await.refused(404, "not_found");
        assert_eq!(problem["size"], size);
    }
    for path in ["", "?from=1", "?from=1&to=x", "?from=1&from=1&to=2", "?from=-1&to=2"] {
        let answer = world.anyone().get(format!("/log/consistency{path}")).await;
        answer.refused(400, "bad_request");
    }
}

#[on_both]
async fn all_of_the_log_can_be_fetched_and_adds_up(world: World) {
    let add = async |count: u64| {
        for n in 0..count {
            let body = json!({"action": format!("n{n}"), "target_type": "t", "target_id": "me"});
            world.post(world.org("/audit"), body).await.expect(201);
        }
    };
    let size = read(&world, &checkpoint(&world).await).await.size;
    add(259 - size).await;
    integrate(&world.app).await.unwrap();
    let head = read(&world, &checkpoint(&world).await).await;
    assert_eq!(head.size, 259);
    let fetch = async |path: &str| {
        let answer = world.anyone().get(format!("/log/tile/{path}")).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "application/octet-stream");
        assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
        answer.body.to_vec()
    };
    let mut leaves = entries(&fetch("entries/000").await);
    assert_eq!(leaves.len(), 256);
    leaves.extend(entries(&fetch("entries/001.p/3").await));
    let mut tree = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    for (n, leaf) in leaves.iter().enumerate() {
        let parsed: Value = serde_json::from_slice(leaf).unwrap();
        assert_eq!(parsed["seq"], n);
        tree.push(leaf.clone());
    }
    assert_eq!(tree.root(), head.root);
    // What a caller says stays in its event: leaves are for all to read.
    let last: Value = serde_json::from_slice(&leaves[258]).unwrap();
    assert_eq!(last["action"], "audit.tell");
    assert_eq!(last["target"], json!({"type": "organization", "id": world.acme.org}));

    let mut hashes = fetch("0/000").await;
    hashes.extend(fetch("0/001.p/3").await);
    let hash = |leaf: &Vec<u8>| Sha256::digest([&[0], leaf.as_slice()].concat());
    assert_eq!(hashes, leaves.iter().flat_map(hash).collect::<Vec<u8>>());
    let mut full = MemoryBackedTree::<Sha256, Vec<u8>>::new();
    leaves[..256].iter().for_each(|leaf| full.push(leaf.clone()));
    assert_eq!(fetch("1/000.p/1").await, full.root().as_bytes().as_slice());
    for path in [
        "0/002",
        "0/001",
        "0/001.p/4",
        "0/000.p/0",
        "0/000.p/256",
        "0/0",
        "1/000",
        "1/000.p/2",
        "2/000.p/1",
        "64/000",
        "255/000",
        "data/000",
        "entries/001",
        "entries/x001/000",
        "x/000",
        "0/000/",
        "8/0/000",
        "0",
        "entries",
        "0/x18446744073709551615/000",
        "63/000.p/1",
    ] {
        let answer = world.anyone().get(format!("/log/tile/{path}")).await;
        answer.refused(404, "not_found");
    }
}

#[on_both]
async fn an_unknown_bundle_has_no_proof(world: World) {
    let asked = async |jti: &str| world.anyone().get(format!("/log/proof?jti={jti}")).await;
    asked(&world.acme.org).await.refused(404, "not_found");
    asked("x").await.refused(400, "bad_request");
    let path = format!("/licenses/{}/bundles", world.acme.license);
    let bundle = world.post(&path, json!({})).await.expect(201);
    let jti = bundle["jti"].as_str().unwrap();
    if !world.app.db.writes_alone() {
        let problem = asked(jti).await.refused(404, "not_found");
        assert!(problem["detail"].as_str().unwrap().contains("ask again"), "{problem}");
        integrate(&world.app).await.unwrap();
    }
    proven(&world, &asked(jti).await.text()).await;
}

#[on_both]
async fn rewritten_history_gets_no_signature(world: World) {
    let before = checkpoint(&world).await;
    unlock(&world).await;
    world
        .exec(
            "UPDATE log_hashes SET hash = (SELECT hash FROM log_hashes WHERE idx = 1)
                    WHERE idx = 0 OR idx = 2",
        )
        .await;
    assert_eq!(checkpoint(&world).await, before, "what was signed is still true");
    world
        .exec(
            "UPDATE log_hashes SET hash = (SELECT hash FROM log_hashes WHERE idx = 1)
                    WHERE idx >= 0",
        )
        .await;
    world.patch(world.org(""), json!({"name": "B"})).await.expect(200);
    integrate(&world.app).await.unwrap();
    world.anyone().get("/log/checkpoint").await.refused(500, "internal");
}

/// The claims of a license file.
fn claims(file: &Value) -> Value {
    let payload = file.as_str().unwrap().split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// The leaves of an entry bundle (C2SP tlog-tiles).
fn entries(mut bundle: &[u8]) -> Vec<Vec<u8>> {
    let mut leaves = Vec::new();
    while let Some((length, rest)) = bundle.split_first_chunk::<2>() {
        let (leaf, rest) = rest.split_at(u16::from_be_bytes(*length).into());
        leaves.push(leaf.to_vec());
        bundle = rest;
    }
    leaves
}
