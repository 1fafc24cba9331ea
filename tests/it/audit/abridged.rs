//! Large events: their contents, and that the log verifies with them.

use cp_server::audit::integrator::integrate;
use cp_server::audit::verify::{Evidence, verify};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::world::{World, on_both};

/// The newest event of a project.
async fn event(world: &World, project: &Value) -> Value {
    let path = format!("/audit?target={}&limit=1", project["id"].as_str().unwrap());
    world.get(world.org("") + &path).await.expect(200)["items"][0].clone()
}

/// The digest of a thing as an answer shows it. Its texts are plain and its numbers whole, so that
/// its canonical text is the one of sorted members.
fn digest(thing: &Value) -> Value {
    let text = thing.to_string();
    let hash: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"bytes": text.len(), "sha256": hash})
}

#[on_both]
async fn large_change_is_recorded_as_its_difference_and_verifies(world: World) {
    let large = "x".repeat(50_000);
    let body = json!({"name": "P", "metadata": {"large": large, "n": 1}});
    let made = world.post(world.org("/projects"), body).await.expect(201);
    let path = format!("/projects/{}", made["id"].as_str().unwrap());
    let recorded = event(&world, &made).await;
    assert_eq!(
        (&recorded["before"], &recorded["after"]),
        (&Value::Null, &made),
        "a new thing is whole"
    );

    world.pass(chrono::TimeDelta::seconds(1));
    let changed = world.patch(&path, json!({"metadata": {"n": 2}})).await.expect(200);
    let recorded = event(&world, &made).await;
    let side = |thing: &Value| {
        json!({
            "metadata": {"n": thing["metadata"]["n"]}, "updated_at": thing["updated_at"],
            "$whole": digest(thing),
        })
    };
    assert_eq!((&recorded["before"], &recorded["after"]), (&side(&made), &side(&changed)));

    let other = "y".repeat(50_000);
    world.pass(chrono::TimeDelta::seconds(1));
    world.patch(&path, json!({"metadata": {"large": other}})).await.expect(200);
    let recorded = event(&world, &made).await;
    assert_eq!(recorded["before"]["metadata"]["large"], digest(&json!(large)));
    assert_eq!(recorded["after"]["metadata"]["large"], other);
    world.pass(chrono::TimeDelta::seconds(1));
    world.delete(&path).await.expect(204);
    let recorded = event(&world, &made).await;
    assert_eq!(recorded["after"], Value::Null);
    assert!(recorded.to_string().len() < 5_000, "{recorded}");

    integrate(&world.app).await.unwrap();
    let report = verify(Evidence::of(&world.app).await.unwrap(), None, true, |_, _| {}).await;
    assert!(report.is_ok(), "{:?}", report.err());
    let ids = json!({"events": [recorded["id"]]});
    assert_eq!(world.post("/audit/erasures", ids).await.expect(201)["events"], 1);
    integrate(&world.app).await.unwrap();
    let report = verify(Evidence::of(&world.app).await.unwrap(), None, true, |_, _| {}).await;
    assert_eq!(report.map(|report| report.erased).ok(), Some(1));
}

#[on_both]
async fn the_log_grows_by_what_is_sent_not_by_what_is_stored(world: World) {
    let body = json!({"name": "P", "metadata": {"large": "x".repeat(60_000)}});
    let made = world.post(world.org("/projects"), body).await.expect(201);
    let size = async || -> i64 {
        world
            .value(
                "SELECT CAST(SUM(LENGTH(CAST(before AS TEXT)) + LENGTH(CAST(after AS TEXT)))
                         AS BIGINT) FROM audit_events",
            )
            .await
    };
    let before = size().await;
    let path = format!("/projects/{}", made["id"].as_str().unwrap());
    for n in 0..50 {
        world.patch(&path, json!({"metadata": {"n": n}})).await.expect(200);
    }
    let grown = size().await - before;
    assert!(grown < 50 * 1000, "{grown} bytes for 50 small changes");
}

#[on_both]
async fn a_log_of_large_events_is_verified_in_batches(world: World) {
    let body = json!({"name": "P"});
    let made = world.post(world.org("/projects"), body).await.expect(201);
    let path = format!("/projects/{}", made["id"].as_str().unwrap());
    for n in 0..150 {
        let text = format!("{n:05}").repeat(12_000);
        world.patch(&path, json!({"metadata": {"text": text}})).await.expect(200);
    }
    integrate(&world.app).await.unwrap();
    let mut batches = 0;
    let evidence = Evidence::of(&world.app).await.unwrap();
    let report = verify(evidence, None, true, |_, _| batches += 1).await;
    assert!(report.is_ok(), "{:?}", report.err());
    assert!(batches >= 3, "{batches} batches");
}
