//! The secrets of the management API are where they belong, and nowhere else.

use cp_server::kernel::secret::Kek;
use cp_server::licensing::keys::rekey::rekey;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{path, provision, ran, run, zitadel};
use crate::world::zitadel::{Fault, SERVICE_SECRET, SERVICE_USER, TOKEN};
use crate::world::{World, on_both};

#[on_both]
async fn secrets_and_tokens_are_in_no_answer_event_or_export(world: World) {
    let zitadel = zitadel(&world, json!({})).await;
    let mut answers = Vec::new();
    let keyed = world.root().with("idempotency-key", "once");
    for fault in [Fault::Echo, Fault::NoSearch, Fault::None] {
        zitadel.fault(fault);
        answers.push(run(&world, json!({})).await.text());
        answers.push(keyed.post(provision(&world), json!({})).await.text());
    }
    for secret in
        [json!([SERVICE_SECRET]), json!({"x": SERVICE_SECRET}), json!(SERVICE_SECRET.repeat(200))]
    {
        let body = zitadel.body(json!({"management": {"secret": secret}}));
        let refused = world.put(path(&world), body).await;
        answers.push(refused.text());
        refused.invalid("management.secret");
    }
    let body = zitadel.body(json!({"management": {"secrets": SERVICE_SECRET}}));
    answers.push(world.put(path(&world), body).await.text());
    // A static token, and a provider that repeats it.
    let body = zitadel.body(json!({"management": {"secret": TOKEN}}));
    answers.push(world.put(path(&world), body).await.text());
    zitadel.fault(Fault::Echo);
    answers.push(run(&world, json!({})).await.text());
    answers.push(world.get(path(&world)).await.text());
    answers.push(world.get(provision(&world)).await.text());
    answers.push(world.get(world.org("/identity-providers")).await.text());
    answers.push(world.get(world.org("/export")).await.text());
    world.delete(path(&world)).await.expect(204);
    answers.push(world.get("/audit?limit=500").await.text());
    for text in answers {
        assert!(!text.contains("canary"), "{text}");
    }
    let kept: i64 = world
        .value(
            "SELECT COUNT(*) FROM audit_events
             WHERE CAST(before AS TEXT) LIKE '%canary%' OR CAST(after AS TEXT) LIKE '%canary%'",
        )
        .await;
    assert_eq!(kept, 0);
    // The provider got the secret at its token endpoint, and tokens in one header.
    for mut one in zitadel.recorded() {
        let header = one.headers.remove("authorization");
        let header = header.map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        assert_eq!(header.starts_with("Basic "), one.call() == "token", "{}", one.path);
        let rest = format!("{} {:?} {}", one.path, one.headers, one.text);
        assert!(!rest.contains("canary"), "{rest}");
    }
}

#[on_both]
async fn echoed_credentials_are_removed_from_messages(world: World) {
    let zitadel = zitadel(&world, json!({})).await;
    zitadel.fault(Fault::Echo);
    let problem = run(&world, json!({})).await.refused(502, "provider_failed");
    assert_eq!(
        problem["detail"],
        "The identity provider answered 400: You sent Bearer [removed] [removed]"
    );
}

#[on_both]
async fn management_secret_is_sealed_bound_to_its_row_and_resealed(world: World) {
    let zitadel = zitadel(&world, json!({})).await;
    let (id, sealed) = row(&world).await;
    assert!(!sealed.windows(6).any(|window| window == b"canary"));
    let organization: Uuid = world.acme.org.parse().unwrap();
    let purpose = format!("identity provider {organization} {id} management_secret v1");
    let plain = world.app.kek.open(&purpose, &sealed).unwrap();
    assert_eq!(plain.as_slice(), SERVICE_SECRET.as_bytes());

    let new = Kek::new(&[9; 32]).unwrap();
    rekey(&world.app, &new).await.unwrap();
    let (_, sealed) = row(&world).await;
    assert_eq!(new.open(&purpose, &sealed).unwrap().as_slice(), SERVICE_SECRET.as_bytes());
    // This server still has the old key.
    let management = json!({"client_id": SERVICE_USER, "secret": "canary-another"});
    let body = zitadel.body(json!({"management": management}));
    world.put(path(&world), body).await.refused(503, "unavailable");
}

async fn row(world: &World) -> (Uuid, Vec<u8>) {
    let sql = "SELECT id, management_secret FROM identity_providers WHERE key = 'zitadel'";
    world.app.db.read().q(sql).one().await.unwrap()
}

#[on_both]
async fn repeated_request_is_one_run(world: World) {
    let zitadel = zitadel(&world, json!({})).await;
    let keyed = world.root().with("idempotency-key", "again");
    let first = keyed.post(provision(&world), json!({})).await.expect(200);
    let calls = zitadel.calls().len();
    let second = keyed.post(provision(&world), json!({})).await;
    assert_eq!(second.header("idempotent-replayed"), "true");
    assert_eq!(second.expect(200), first);
    assert!(calls > 0 && zitadel.recorded().is_empty());
    // A dry run stores nothing, so it compares again.
    let keyed = world.root().with("idempotency-key", "dry");
    for _ in 0..2 {
        let outcome: Value =
            keyed.post(provision(&world), json!({"dry_run": true})).await.expect(200);
        assert_eq!(outcome["summary"]["unchanged"], 4);
        assert!(!zitadel.recorded().is_empty());
    }
    ran(&world, json!({})).await;
}
