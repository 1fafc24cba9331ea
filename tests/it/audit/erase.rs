use chrono::TimeDelta;
use cp_server::Settings;
use cp_server::audit::erase::Retention;
use cp_server::audit::integrator::integrate;
use cp_server::audit::verify::{Evidence, Stopped, verify};
use cp_server::audit::{erase, stored_hashes};
use cp_server::kernel::clock::{Clock, Random};
use cp_server::kernel::secret::Kek;
use serde_json::{Value, json};

use super::{checkpoint, unlock};
use crate::world::{AUDIENCE, ISSUER, KEK, World, on_both};

async fn erased(world: &World) -> u64 {
    match verify(Evidence::of(&world.app).await.unwrap(), None, false, |_, _| {}).await {
        Ok(report) => report.erased,
        Err(Stopped::Found(finding)) => panic!("{finding}"),
        Err(Stopped::Failed(error)) => panic!("{error:#}"),
    }
}

#[on_both]
async fn a_person_is_erased_and_the_log_stays_as_it_is(world: World) {
    let proof = format!("/log/proof?jti={}", world.acme.bundle);
    let before = checkpoint(&world).await;
    let proof_before = world.anyone().get(&proof).await.text();
    let body = json!({"action": "seen", "target_type": "door", "actor": "mats@acme.example"});
    world.post(world.org("/audit"), body).await.expect(201);
    let name = json!({"display_name": "Mats M."});
    world.patch(format!("/users/{}", world.acme.user), name).await.expect(200);
    let mentions = "SELECT COUNT(*) FROM audit_events WHERE actor = 'mats@acme.example' OR
            LOWER(CAST(before AS TEXT) || CAST(after AS TEXT)) LIKE '%mats@acme.example%'";
    assert!(world.value::<i64>(mentions).await >= 3);
    let all = world.count_events().await;

    let asked = json!({"user": world.acme.user, "reason": "asked for"});
    let done = world.post("/audit/erasures", asked).await.expect(201);
    let count = done["events"].as_u64().unwrap();
    assert!(count >= 5, "made, linked, seated, invited, renamed: {done}");
    assert_eq!(done["is_complete"], true);
    assert_eq!(world.value::<i64>(mentions).await, 0);
    assert_eq!(world.count_events().await, all + 1, "no event is deleted, and one is recorded");
    integrate(&world.app).await.unwrap();
    assert_eq!(erased(&world).await, count);
    assert_eq!(world.anyone().get(&proof).await.text().lines().nth(1), proof_before.lines().nth(1));
    let size: u64 = before.lines().nth(1).unwrap().parse().unwrap();
    let root = stored_hashes::root_at(&mut world.app.db.read(), size).await.unwrap();
    assert_eq!(before.lines().nth(2).unwrap(), root.to_string(), "the tree is as it was");

    let list = world.get("/audit?limit=500").await.expect(200);
    let list = list["items"].as_array().unwrap();
    let gone = list.iter().find(|event| event["action"] == "users.update").unwrap();
    let kept = ["id", "seq", "at", "action", "target_type", "target_id", "occurred_at"];
    for (name, value) in gone.as_object().unwrap() {
        match name.as_str() {
            name if kept.contains(&name) => assert!(!value.is_null(), "{name}"),
            "source" => assert_eq!(value, "server"),
            "actor_kind" => assert_eq!(value, "anonymous"),
            "actor_id" => assert_eq!(value, "00000000-0000-0000-0000-000000000000"),
            "actor_name" => assert_eq!(value, ""),
            "erased_at" => assert_eq!(value, "2026-01-02T00:00:00Z"),
            name => assert_eq!(*value, Value::Null, "{name}"),
        }
    }
    let own = list.iter().find(|event| event["action"] == "audit.erase").unwrap();
    assert_eq!(own["target_type"], "audit events");
    assert_eq!((&own["reason"], &own["after"]), (&json!("asked for"), &json!({"events": count})));
    assert!(!own.to_string().contains(&world.acme.user), "it does not name the person");
    let again = json!({"user": world.acme.user});
    let again = world.post("/audit/erasures", again).await.expect(201);
    assert_eq!(again["events"], 0);
}

#[on_both]
async fn single_events_are_erased(world: World) {
    let asked = json!({"events": [world.event]});
    let done = world.post("/audit/erasures", asked.clone()).await.expect(201);
    assert_eq!(done, json!({"events": 1, "is_complete": true}));
    let event = world.get(format!("/audit/{}", world.event)).await.expect(200);
    assert_ne!(event["erased_at"], Value::Null);
    let missing = json!({"events": [world.acme.org]});
    world.post("/audit/erasures", missing).await.refused(404, "not_found");
    world.post("/audit/erasures", json!({})).await.invalid("user");
    let both = json!({"events": [world.event], "user": world.acme.user});
    world.post("/audit/erasures", both).await.invalid("user");
}

#[on_both]
async fn content_that_is_gone_without_an_erasure_is_found(world: World) {
    let asked = json!({"events": [world.event]});
    world.post("/audit/erasures", asked).await.expect(201);
    integrate(&world.app).await.unwrap();
    assert_eq!(erased(&world).await, 1);
    // A consistent edit, by a caller with write access to the database.
    unlock(&world).await;
    world
        .exec(
            "UPDATE audit_events
            SET salt = NULL, erased_at = at, occurred_at = at, actor_kind = 'anonymous',
                actor_id = (SELECT actor_id FROM audit_events WHERE erased_at IS NOT NULL),
                actor_name = '', before = 'null', after = 'null', request_id = NULL
            WHERE seq = 20",
        )
        .await;
    match verify(Evidence::of(&world.app).await.unwrap(), None, false, |_, _| {}).await {
        Err(Stopped::Found(finding)) => {
            let detail = finding.to_string();
            assert!(detail.starts_with("seq 20") && detail.contains("no erasure"), "{detail}");
        }
        other => panic!("{other:?}"),
    }
}

#[on_both]
async fn content_is_kept_for_as_long_as_the_setting_says(world: World) {
    let keeping = |days| {
        let settings = Settings {
            audit_retention: Retention(Some(TimeDelta::days(days))),
            ..Settings::new(ISSUER, AUDIENCE)
        };
        let (clock, kek) = (Clock::following(&world.clock), Kek::new(&KEK).unwrap());
        cp_server::app_with(
            crate::world::operations,
            world.app.db.clone(),
            clock,
            Random::seeded(9),
            kek,
            settings,
        )
    };
    erase::expire(&keeping(2)).await.unwrap();
    let all = world.count_events().await;
    assert_eq!(erased(&world).await, 0, "all is of yesterday");
    world.pass(TimeDelta::days(2));
    erase::expire(&keeping(2)).await.unwrap();
    erase::expire(&keeping(2)).await.unwrap();
    integrate(&world.app).await.unwrap();
    assert_eq!(world.count_events().await, all + 1, "nothing is left to do the second time");
    let events = world.get("/audit?limit=500").await.expect(200);
    let left: Vec<_> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["erased_at"].is_null())
        .collect();
    assert_eq!(left.len(), 1, "the event of the erasure itself");
    assert_eq!(left[0]["action"], "audit.expire");
    assert_eq!(left[0]["target_id"], format!("0-{}", all - 1));
    assert_eq!(erased(&world).await, u64::try_from(all).unwrap());
    world.pass(TimeDelta::days(3));
    erase::expire(&keeping(2)).await.unwrap();
    integrate(&world.app).await.unwrap();
    assert_eq!(erased(&world).await, u64::try_from(all).unwrap() + 1);
}
