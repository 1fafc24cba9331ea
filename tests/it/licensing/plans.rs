use serde_json::{Value, json};

use crate::world::{World, on_both};

#[on_both]
async fn plans_are_seeded_and_pro_is_another_name(world: World) {
    let plans = world.by(&world.acme.token).get("/plans").await.expect(200);
    let codes: Vec<_> = plans["items"].as_array().unwrap().iter().map(|p| &p["code"]).collect();
    assert_eq!(codes.len(), 4, "{codes:?}");
    for code in ["free", "professional", "team", "enterprise"] {
        assert!(codes.contains(&&json!(code)), "{code} is missing: {codes:?}");
    }
    let pro = world.get("/plans/pro").await.expect(200);
    assert_eq!(pro["code"], "professional");
    assert_eq!(pro["features"]["alerts_enabled"], true);
    let enterprise = world.get("/plans/enterprise").await.expect(200);
    assert_eq!(enterprise["limits"]["projects"], Value::Null, "null is unlimited");
    let subscription = json!({"plan_code": "pro", "status": "canceled"});
    let made = world.post(world.org("/subscriptions"), subscription).await.expect(201);
    assert_eq!(made["plan_code"], "professional");
}

#[on_both]
async fn an_edited_plan_has_a_new_version_and_subscriptions_keep_theirs(world: World) {
    let made = world.post("/plans", gold()).await.expect(201);
    assert_eq!(
        world.named(&made),
        json!({
            "id": "<1>", "code": "gold", "version": 1, "name": "Gold",
            "description": null, "is_public": true, "features": {"sso": false, "theme": "a"},
            "default_features": {"sso": false, "theme": "a"},
            "limits": {"projects": 5, "x_runs": null}, "seat_cap": 7, "leasing": {},
            "token_ttl_seconds": null,
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    let subscription = move_acme_to_gold(&world).await;
    let patch = json!({
        "features": {"sso": true, "theme": "a"}, "limits": {"projects": 9},
    });
    let edited = world.patch("/plans/gold", patch).await.expect(200);
    assert_eq!((&edited["version"], &edited["seat_cap"]), (&json!(2), &json!(7)));
    let pinned = world.get(&subscription).await.expect(200);
    assert_eq!(pinned["plan_version"], 1);
    let license = world.get(format!("/licenses/{}", world.acme.license)).await.expect(200);
    let sso = &license["effective"]["features"]["sso"];
    assert_eq!(sso, &json!({"value": false, "from": "plan"}));

    let versions = world.get("/plans/gold/versions").await.expect(200);
    let numbers: Vec<_> =
        versions["items"].as_array().unwrap().iter().map(|p| &p["version"]).collect();
    assert_eq!(numbers, [2, 1]);
    assert_eq!(versions["items"][1], made);

    // What changes nothing makes no version.
    let same = json!({"name": "Gold", "features": {"sso": true}, "limits": {"projects": 9}});
    for patch in [json!({}), same] {
        let same = world.patch("/plans/gold", patch).await.expect(200);
        assert_eq!((&same["version"], &same["changes"]), (&json!(2), &json!({})));
    }
    assert_eq!(world.get("/plans/gold/versions").await.expect(200), versions);
}

#[on_both]
async fn a_migration_is_shown_before_it_is_made(world: World) {
    world.post("/plans", gold()).await.expect(201);
    let subscription = move_acme_to_gold(&world).await;
    let patch = json!({
        "features": {"sso": true},
        "limits": {"projects": 9, "x_runs": "not_included", "x_seats": "unlimited"},
        "seat_cap": 8,
    });
    let changes = json!({
        "sso": {"before": false, "after": true},
        "limits.projects": {"before": 5, "after": 9},
        "limits.x_runs": {"before": null},
        "limits.x_seats": {"after": null},
        "seat_cap": {"before": 7, "after": 8},
    });
    let edited = world.patch("/plans/gold", patch).await.expect(200);
    assert_eq!(edited["changes"], changes);
    let moves = |dry_run: bool| {
        json!({
            "code": "gold", "version": 2, "dry_run": dry_run,
            "subscriptions": [{
                "subscription_id": "<acme's subscription>", "organization_id": "<acme's org>",
                "from_version": 1,
                "changes": changes, "capped_licenses": [],
            }],
        })
    };
    let shown = world.post("/plans/gold/migrate", json!({"dry_run": true})).await.expect(200);
    assert_eq!(world.named(&shown), moves(true));
    assert_eq!(world.get(&subscription).await.expect(200)["plan_version"], 1);
    let made = world.post("/plans/gold/migrate", json!({})).await.expect(200);
    assert_eq!(world.named(&made), moves(false));
    assert_eq!(world.get(&subscription).await.expect(200)["plan_version"], 2);
    let done = world.post("/plans/gold/migrate", json!({})).await.expect(200);
    assert_eq!(done["subscriptions"], json!([]));
}

#[on_both]
async fn private_plans_are_for_the_platform(world: World) {
    let org = world.by(&world.acme.token);
    org.get("/plans/internal").await.refused(404, "not_found");
    org.get("/plans/internal/versions").await.refused(404, "not_found");
    assert_eq!(world.get("/plans/internal").await.expect(200)["is_public"], false);
    let all = world.get("/plans").await.expect(200);
    assert_eq!(all["items"].as_array().unwrap().len(), 5);
}

#[on_both]
async fn a_code_that_is_another_name_is_refused_with_the_plan(world: World) {
    let body = json!({"code": "pro", "name": "Pro"});
    let mut refused = world.post("/plans", body).await.refused(409, "code_taken");
    refused.as_object_mut().unwrap().remove("request_id");
    assert_eq!(
        refused,
        json!({
            "type": "/problems/code_taken", "title": "The code is in use", "status": 409,
            "code": "code_taken", "field": "code",
            "detail": "`pro` is another name of the plan `professional`. PATCH `professional`, or \
                       choose another code.",
        })
    );
}

#[on_both]
async fn a_code_is_taken_once_and_a_used_plan_stays(world: World) {
    for code in ["team", "pro", "internal"] {
        let body = json!({"code": code, "name": "x"});
        world.post("/plans", body).await.refused(409, "code_taken");
    }
    for code in ["1a", "A", "", "a b"] {
        world.post("/plans", json!({"code": code, "name": "x"})).await.invalid("code");
    }
    world.delete("/plans/team").await.refused(409, "in_use");
    world.delete("/plans/internal").await.expect(204);
    world.get("/plans/internal").await.refused(404, "not_found");
    world.delete("/plans/internal").await.refused(404, "not_found");
    let body = json!({"code": "x", "name": "x", "limits": {"x_a": -2}});
    world.post("/plans", body).await.invalid("limits.x_a");
    let body = json!({"code": "x", "name": "x", "seat_cap": 0});
    world.post("/plans", body).await.invalid("seat_cap");
}

#[on_both]
async fn preset_plans_are_as_documented(world: World) {
    let page = std::fs::read_to_string("../docs/plans.md").unwrap();
    let (_, table) = page.split_once("## Preset plans").unwrap();
    let rows = table.lines().filter(|line| line.starts_with('|')).map(|line| {
        line.trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().trim_matches('`').to_owned())
            .collect::<Vec<_>>()
    });
    let rows: Vec<_> = rows.take_while(|row| row[0] != "member").collect();
    let mut documented = json!({});
    for row in &rows[2..] {
        for (n, plan) in rows[0].iter().enumerate().skip(1) {
            documented[plan][&row[0]] = row[n].parse::<i64>().map_or(Value::Null, Value::from);
        }
    }
    for plan in world.get("/plans").await.expect(200)["items"].as_array().unwrap() {
        if plan["code"] == "internal" {
            continue;
        }
        let mut limits = plan["limits"].clone();
        limits["seats"] = plan["seat_cap"].clone();
        assert_eq!(documented[plan["code"].as_str().unwrap()], limits);
    }
}

#[on_both]
async fn plan_patch_merges_limits_and_features(world: World) {
    world.post("/plans", gold()).await.expect(201);
    let patch = json!({
        "limits": {"members": 4, "x_runs": 3},
        "features": {"theme": null, "mfa": ["totp"]},
    });
    let edited = world.patch("/plans/gold", patch).await.expect(200);
    assert_eq!(edited["limits"], json!({"members": 4, "projects": 5, "x_runs": 3}));
    assert_eq!(edited["features"], json!({"sso": false, "mfa": ["totp"]}));
    assert_eq!(
        edited["changes"],
        json!({
            "limits.members": {"after": 4},
            "limits.x_runs": {"before": null, "after": 3},
            "theme": {"before": "a"},
            "mfa": {"after": ["totp"]},
        })
    );
    let same = world.patch("/plans/gold", json!({"limits": {}})).await.expect(200);
    assert_eq!((&same["limits"], &same["changes"]), (&edited["limits"], &json!({})));
    // The plan itself has no list of changes.
    let read = world.get("/plans/gold").await.expect(200);
    assert_eq!(read.get("changes"), None);
}

#[on_both]
async fn plan_with_an_unknown_metric_is_refused(world: World) {
    world.post("/plans", gold()).await.expect(201);
    for metric in ["projets", "Projects", "x_", "", "storage-bytes"] {
        let body = json!({"code": "typo", "name": "Typo", "limits": {metric: 20}});
        let problem = world.post("/plans", body).await.refused(422, "invalid");
        assert_eq!(problem["field"], "limits");
        let known = problem["known_metrics"].as_array().unwrap();
        assert!(known.contains(&json!("storage_bytes")), "{problem}");
        assert!(known.contains(&json!("x_runs")), "{problem}");
        let patch = json!({"limits": {metric: 20}});
        world.patch("/plans/gold", patch).await.refused(422, "invalid");
    }
    assert_eq!(world.get("/plans/gold").await.expect(200)["version"], 1);
    // A usage limit declares its metric, and removal needs no declaration.
    let limits = json!({"limits": {"calls": 100, "projets": "not_included"}});
    let edited = world.patch("/plans/gold", limits).await.expect(200);
    assert_eq!(edited["limits"], json!({"projects": 5, "x_runs": null, "calls": 100}));
    let body = json!({"code": "own", "name": "Own", "limits": {"x_gpu_hours": 4}});
    world.post("/plans", body).await.expect(201);
}

fn gold() -> Value {
    json!({
        "code": "gold", "name": "Gold", "features": {"sso": false, "theme": "a"},
        "limits": {"projects": 5, "x_runs": -1}, "seat_cap": 7,
    })
}

async fn move_acme_to_gold(world: &World) -> String {
    let path = format!("/subscriptions/{}", world.acme.subscription);
    world.patch(&path, json!({"plan_code": "gold"})).await.expect(200);
    path
}
