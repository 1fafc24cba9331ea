//! Each kind of line: created, unchanged, updated and refused.

use chrono::TimeDelta;
use dp_verifier::{Fingerprint, Verifier};
use serde_json::{Value, json};

use super::{import, of_each_kind, refusal, statuses};
use crate::world::{AUDIENCE, ISSUER, World, now, on_both};

/// Lines that change an object of each kind.
fn changes() -> Vec<Value> {
    vec![
        json!({"kind": "plan", "code": "moved", "features": {"audit": true}}),
        json!({"kind": "user", "email": "peter@initech.example", "display_name": "Peter G"}),
        json!({"kind": "organization", "external_id": "crm-1", "metadata": {"tier": 1}}),
        json!({
            "kind": "membership", "organization": "crm-1", "email": "milton@initech.example",
            "role": "ORGANIZATION_ADMIN",
        }),
        json!({
            "kind": "subscription", "organization": "crm-1", "external_id": "crm-s", "seat_cap": 9,
        }),
        json!({
            "kind": "deployment", "organization": "crm-1", "external_id": "crm-d", "region": "eu-1",
        }),
        json!({
            "kind": "license", "organization": "crm-1", "deployment": "crm-d", "name": "Main",
        }),
        json!({
            "kind": "license_key", "organization": "crm-1", "deployment": "crm-d",
            "key": " LEGACY-KEY-0001 ", "expires_at": "2026-12-01T00:00:00Z",
        }),
        json!({
            "kind": "lease", "organization": "crm-1", "deployment": "crm-d", "pool": "machines",
            "machine": "host-1", "label": "Host one",
        }),
    ]
}

#[on_both]
async fn each_kind_is_created_once_and_then_unchanged(world: World) {
    let before = world.count_events().await;
    let (first, summary) = import(&world, &of_each_kind()).await;
    assert!(first.iter().all(|answer| answer["status"] == "created"), "{first:#?}");
    assert_eq!(
        summary,
        json!({
            "dry_run": false, "lines": 11, "created": 11, "updated": 0, "unchanged": 0, "refused": 0,
        })
    );
    assert_eq!(world.count_events().await - before, 11);
    let (second, summary) = import(&world, &of_each_kind()).await;
    for (before, after) in first.iter().zip(&second) {
        let unchanged = json!({
            "line": before["line"], "kind": before["kind"], "status": "unchanged",
            "id": before["id"],
        });
        assert_eq!(*after, unchanged);
    }
    assert_eq!(summary["unchanged"], 11);
    assert_eq!(world.count_events().await - before, 11);
}

#[on_both]
async fn each_kind_is_updated_by_the_operation_of_the_api(world: World) {
    let (made, _) = import(&world, &of_each_kind()).await;
    // Events of a later instant precede those of the creations.
    world.pass(TimeDelta::milliseconds(1));
    let (changed, summary) = import(&world, &changes()).await;
    assert_eq!(summary["updated"], 9, "{changed:#?}");
    let events = world.get("/audit?limit=9").await.expect(200);
    let actions: Vec<&str> =
        events["items"].as_array().unwrap().iter().map(|e| e["action"].as_str().unwrap()).collect();
    let mut expected = [
        "plans.update",
        "users.upsert",
        "organizations.update",
        "memberships.update",
        "subscriptions.update",
        "deployments.update",
        "licenses.update",
        "license_keys.update",
        "leases.claim",
    ];
    expected.reverse();
    assert_eq!(actions, expected);
    for event in events["items"].as_array().unwrap() {
        assert_ne!(event["before"], event["after"], "{event}");
        assert_ne!(event["before"], Value::Null, "{event}");
    }
    // Fields that the lines did not name stay.
    let id = |n: usize| made[n]["id"].as_str().unwrap();
    let plan = world.get("/plans/moved").await.expect(200);
    assert_eq!(plan["features"], json!({"sso": true, "audit": true}));
    assert_eq!((&plan["version"], &plan["seat_cap"]), (&json!(2), &json!(5)));
    let organization = world.get(format!("/organizations/{}", id(2))).await.expect(200);
    assert_eq!(organization["metadata"], json!({"region": "eu", "tier": 1}));
    assert_eq!(organization["name"], "Initech");
    let deployment = world.get(format!("/deployments/{}", id(6))).await.expect(200);
    assert_eq!((&deployment["region"], &deployment["tags"]), (&json!("eu-1"), &json!(["emea"])));
    let license = world.get(format!("/licenses/{}", id(7))).await.expect(200);
    assert_eq!((&license["name"], &license["seat_cap"]), (&json!("Main"), &json!(4)));
    // The subscription is still pinned to the version of its plan.
    let subscription = world.get(format!("/subscriptions/{}", id(5))).await.expect(200);
    assert_eq!((&subscription["plan_version"], &subscription["seat_cap"]), (&json!(1), &json!(9)));
    let (again, summary) = import(&world, &changes()).await;
    assert_eq!(summary["unchanged"], 9, "{again:#?}");
}

#[on_both]
async fn refusals_are_those_of_the_api_and_stop_no_other_line(world: World) {
    import(&world, &of_each_kind()).await;
    let suspended = json!({
        "kind": "license_key", "organization": "crm-1", "deployment": "crm-d2",
        "key": "LEGACY-KEY-0001",
    });
    let refused = [
        (json!({"kind": "plan", "code": "Bad Code", "name": "x"}), ("invalid", "code")),
        (json!({"kind": "plan", "code": "new"}), ("invalid", "name")),
        (json!({"kind": "user", "email": "nobody"}), ("invalid", "email")),
        (
            json!({"kind": "user", "email": "x@y.example", "external_id": "crm-peter"}),
            ("external_id_taken", "external_id"),
        ),
        (json!({"kind": "organization", "name": "x"}), ("invalid", "external_id")),
        (
            json!({"kind": "organization", "external_id": "crm-2", "name": "x", "slug": "acme"}),
            ("slug_taken", "slug"),
        ),
        (
            json!({"kind": "organization", "external_id": "crm-1", "owner": "milton@initech.example"}),
            ("use_transfer_ownership", "owner"),
        ),
        (
            json!({"kind": "organization", "external_id": "crm-1", "owner": "new@initech.example"}),
            ("use_transfer_ownership", "owner"),
        ),
        (
            json!({"kind": "organization", "external_id": "crm-1", "owner": "crm-milton"}),
            ("invalid", "owner"),
        ),
        (
            json!({"kind": "membership", "organization": "crm-1", "user": "x", "role": "member"}),
            ("not_found", "user"),
        ),
        (
            json!({"kind": "membership", "organization": "crm-1", "email": "z@z.example", "role": "owner"}),
            ("use_transfer_ownership", "role"),
        ),
        (
            json!({"kind": "subscription", "organization": "crm-9", "external_id": "a", "plan": "x"}),
            ("not_found", "organization"),
        ),
        (
            json!({"kind": "subscription", "organization": "crm-1", "external_id": "a", "plan": "x"}),
            ("not_found", "plan"),
        ),
        (
            json!({"kind": "subscription", "organization": "crm-1", "external_id": "a", "plan": "moved"}),
            ("subscription_exists", ""),
        ),
        (
            json!({"kind": "deployment", "organization": "crm-1", "external_id": "d2", "name": ""}),
            ("invalid", "name"),
        ),
        (
            json!({"kind": "license", "organization": "crm-1", "deployment": "crm-d", "seat_cap": 50}),
            ("invalid", "seat_cap"),
        ),
        (
            json!({"kind": "license", "organization": "crm-1", "deployment": "crm-9"}),
            ("not_found", "deployment"),
        ),
        (suspended, ("not_found", "deployment")),
        (
            json!({
                "kind": "license_key", "organization": "crm-1", "deployment": "crm-d", "key": "short",
            }),
            ("invalid", "key"),
        ),
        (
            json!({
                "kind": "lease", "organization": "crm-1", "deployment": "crm-d", "pool": "farm",
                "holder": {"id": "x"},
            }),
            ("invalid", "pool"),
        ),
        (
            json!({
                "kind": "lease", "organization": "crm-1", "deployment": "crm-d", "pool": "machines",
                "machine": "host-1", "user": "crm-milton",
            }),
            ("invalid", "holder"),
        ),
    ];
    let mut lines: Vec<Value> = refused.iter().map(|(line, _)| line.clone()).collect();
    lines.push(json!({"kind": "organization", "external_id": "crm-3", "name": "Last"}));
    let (answers, summary) = import(&world, &lines).await;
    let (made, answers) = answers.split_last().unwrap();
    let expected: Vec<_> = refused.iter().map(|(_, refusal)| *refusal).collect();
    assert_eq!(answers.iter().map(refusal).collect::<Vec<_>>(), expected);
    assert_eq!(made["status"], "created");
    assert_eq!(summary["refused"], refused.len());
}

#[on_both]
async fn keys_of_other_systems_validate_and_stay_revoked(world: World) {
    let (made, _) = import(&world, &of_each_kind()).await;
    let validate = async |key: &str| {
        let body = json!({"key": key});
        world.anyone().post("/licenses/validate", body).await.expect(200)["code"].clone()
    };
    assert_eq!(validate("LEGACY-KEY-0001").await, "valid");
    assert_eq!(validate("legacy-key-0001").await, "key_unknown");
    let key = made[8]["id"].as_str().unwrap();
    world.delete(format!("/license-keys/{key}")).await.expect(204);
    let (again, _) = import(&world, &of_each_kind()).await;
    assert_eq!(again[8]["status"], "unchanged", "{}", again[8]);
    assert_eq!(validate("LEGACY-KEY-0001").await, "key_revoked");
    let license = made[7]["id"].as_str().unwrap();
    world.post(format!("/licenses/{license}/revoke"), json!({})).await.expect(200);
    let lines = [json!({
        "kind": "license", "organization": "crm-1", "deployment": "crm-d", "seat_cap": 3,
    })];
    let (after, _) = import(&world, &lines).await;
    assert_eq!(refusal(&after[0]), ("license_revoked", ""), "an import licenses nothing again");
}

#[on_both]
async fn key_of_another_license_and_rotated_key_are_refused(world: World) {
    let (made, _) = import(&world, &of_each_kind()).await;
    let other = [
        json!({"kind": "deployment", "organization": "crm-1", "external_id": "d2", "name": "Two"}),
        json!({"kind": "license", "organization": "crm-1", "deployment": "d2"}),
        json!({
            "kind": "license_key", "organization": "crm-1", "deployment": "d2",
            "key": "LEGACY-KEY-0001",
        }),
    ];
    let (answers, _) = import(&world, &other).await;
    assert_eq!(statuses(&answers), ["created", "created", "refused"]);
    assert_eq!(refusal(&answers[2]), ("code_taken", "key"));
    let key = made[8]["id"].as_str().unwrap();
    world.post(format!("/license-keys/{key}/rotate"), json!({})).await.expect(200);
    let (answers, _) = import(&world, &of_each_kind()).await;
    assert_eq!(refusal(&answers[8]), ("code_taken", "key"));
}

#[on_both]
async fn machine_holds_the_seat_that_its_application_claims(world: World) {
    let (made, _) = import(&world, &of_each_kind()).await;
    let license = made[7]["id"].as_str().unwrap();
    let bundle = world.post(format!("/licenses/{license}/bundles"), json!({})).await.expect(201);
    let keys = world.anyone().get("/.well-known/jwks.json").await;
    let verifier = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).jwks(keys.body.to_vec());
    let token = bundle["token"].as_str().unwrap();
    let context = verifier.build().unwrap().verify_at(token, now().timestamp()).unwrap();
    let holder = dp_verifier::Holder::machine(&Fingerprint::of(&context).text("host-1"));
    let leases = world.get(format!("/licenses/{license}/leases?pool=machines")).await.expect(200);
    let lease = &leases["items"][0];
    assert_eq!(lease["id"], made[9]["id"]);
    assert_eq!(lease["holder"]["hash"], holder.hash(context.license_id()));
    assert_eq!((&lease["label"], &lease["expires_at"]), (&json!("Host 1"), &Value::Null));
}

#[on_both]
async fn full_pool_refuses_the_lease_of_one_more_machine(world: World) {
    import(&world, &of_each_kind()).await;
    let lease = |machine: &str| {
        json!({
            "kind": "lease", "organization": "crm-1", "deployment": "crm-d", "pool": "machines",
            "machine": machine,
        })
    };
    let (answers, _) = import(&world, &[lease("host-2"), lease("host-3"), lease("host-1")]).await;
    assert_eq!(statuses(&answers), ["created", "refused", "unchanged"]);
    assert_eq!(refusal(&answers[1]), ("seats_exhausted", ""));
}

#[on_both]
async fn license_has_the_status_of_its_line(world: World) {
    import(&world, &of_each_kind()).await;
    let line = |status: &str| {
        json!({
            "kind": "license", "organization": "crm-1", "deployment": "crm-d", "status": status,
            "status_reason": "Unpaid.",
        })
    };
    let read = async || -> Value {
        let found = world.get("/licenses?limit=500").await.expect(200);
        let all = found["items"].as_array().unwrap().clone();
        all.into_iter().find(|one| one["status_reason"] == "Unpaid.").unwrap()
    };
    let (results, summary) = import(&world, &[line("suspended")]).await;
    assert_eq!(summary["updated"], 1, "{results:#?}");
    assert_eq!(read().await["status"], "suspended");
    let events = world.get("/audit?action=licenses.suspend").await.expect(200);
    let reasons: Vec<&Value> =
        events["items"].as_array().unwrap().iter().map(|event| &event["reason"]).collect();
    assert_eq!(reasons, ["Unpaid."]);
    let (_, summary) = import(&world, &[line("suspended")]).await;
    assert_eq!(summary["unchanged"], 1);
    // A line without a status leaves it.
    let plain = json!({"kind": "license", "organization": "crm-1", "deployment": "crm-d"});
    let (_, summary) = import(&world, &[plain]).await;
    assert_eq!((&summary["unchanged"], &read().await["status"]), (&json!(1), &json!("suspended")));
    let (_, summary) = import(&world, &[line("active")]).await;
    assert_eq!((&summary["updated"], &read().await["status"]), (&json!(1), &json!("active")));
    let (results, summary) = import(&world, &[line("revoked")]).await;
    assert_eq!(summary["refused"], 1, "{results:#?}");
}
