//! Who and what a run is about, and how a person is found at the provider.

use serde_json::{Value, json};

use super::{path, provision, ran, run, statuses, summary, zitadel};
use crate::world::{World, on_both};

/// Adds an active member with this role.
async fn member(world: &World, name: &str, role: &str) -> String {
    // An identity takes the seat.
    let identity = json!({"provider": "auth0", "subject": name});
    let body = json!({
        "email": format!("{name}@acme.example"), "role": role, "identity": identity,
    });
    let made = world.post(world.org("/users"), body).await.expect(201);
    made["user"]["id"].as_str().unwrap().to_owned()
}

fn grant_of<'o>(outcome: &'o Value, email: &str) -> &'o Value {
    let grants = outcome["grants"].as_array().unwrap();
    grants.iter().find(|one| one["email"] == email).unwrap_or_else(|| panic!("{outcome}"))
}

#[on_both]
async fn people_without_an_id_are_found_by_their_verified_address(world: World) {
    let zitadel = zitadel(&world, json!({})).await;
    for name in ["twice", "unverified", "missing", "linked", "chosen"] {
        member(&world, name, "admin").await;
    }
    zitadel.set(|inner| {
        inner.known.add_user("81", "twice@acme.example");
        inner.known.add_user("82", "TWICE@acme.example");
        inner.known.add_user("83", "unverified@acme.example");
        inner.known.users.last_mut().unwrap().is_verified = false;
        // Another organization's person with the same address is another person.
        inner.known.add_user("84", "missing@acme.example");
        inner.known.users.last_mut().unwrap().organization = "901".to_owned();
        inner.known.add_user("85", "linked@acme.example");
        inner.known.add_user("86", "other@acme.example");
        inner.known.add_user("87", "chosen@acme.example");
    });
    let linked = world.get(world.org("/users?email=linked@acme.example")).await.expect(200);
    let linked = linked["items"][0]["user"]["id"].as_str().unwrap().to_owned();
    let account = json!({"provider": "zitadel", "subject": "86"});
    world.post(format!("/users/{linked}/auth-accounts"), account).await.expect(201);

    let outcome = ran(&world, json!({"users": {"CHOSEN@acme.example": "71"}})).await;
    let found = |name: &str| {
        let one = grant_of(&outcome, &format!("{name}@acme.example"));
        (one["status"].clone(), one["reason"].clone(), one["provider_user_id"].clone())
    };
    let unresolved = |reason: &str| (json!("skipped"), json!(reason), Value::Null);
    assert_eq!(found("twice"), unresolved("ambiguous"));
    assert_eq!(found("unverified"), unresolved("email_unverified"));
    assert_eq!(found("missing"), unresolved("user_not_found"));
    assert_eq!(found("linked"), (json!("done"), Value::Null, json!("86")));
    // The chosen ID is that of mats, whose grant two items describe.
    assert_eq!(found("chosen"), (json!("done"), Value::Null, json!("71")));
    assert_eq!(found("mats").2, json!("71"));
    assert_eq!(outcome["summary"]["unresolved"], 3);
    assert_eq!(outcome["complete"], true);
    zitadel.set(|inner| assert_eq!(inner.known.keys_of("84"), [""; 0]));

    let outcome = ran(&world, json!({"resolve_by_email": false})).await;
    let mats = grant_of(&outcome, "mats@acme.example");
    assert_eq!((&mats["status"], &mats["reason"]), (&json!("skipped"), &json!("not_linked")));
    assert!(!zitadel.calls().ends_with(&["ListUsers".to_owned()]));
}

#[on_both]
async fn members_of_every_rank_get_the_keys_of_the_next_lower_one(world: World) {
    let zitadel = zitadel(&world, json!({"role_map": {"reader": "VIEWER"}})).await;
    member(&world, "vera", "viewer").await;
    member(&world, "mona", "member").await;
    zitadel.set(|inner| {
        inner.known.add_role("acme_all");
        for (id, name) in [("73", "vera"), ("74", "mona")] {
            inner.known.add_user(id, &format!("{name}@acme.example"));
        }
    });
    let body = json!({"grants": "members", "default_role_keys": ["all", "reader"]});
    let outcome = ran(&world, body).await;
    assert_eq!(outcome["grants"].as_array().unwrap().len(), 4);
    for id in ["71", "72", "73", "74"] {
        zitadel.set(|inner| {
            assert_eq!(inner.known.keys_of(id), ["acme_all", "acme_reader"], "{id}");
        });
    }
    // Without a key for the role or a lower one there is nothing to grant.
    let body = zitadel.body(json!({"role_map": {"account_owner": "owner"}}));
    world.put(path(&world), body).await.expect(200);
    let outcome = ran(&world, json!({"grants": "members"})).await;
    for (name, reason) in [("vera", json!("no_role_keys")), ("olga", Value::Null)] {
        let one = grant_of(&outcome, &format!("{name}@acme.example"));
        assert_eq!(one["reason"], reason, "{outcome}");
    }
    let plan = world.get(provision(&world)).await.expect(200);
    assert_eq!(plan["grants"][0]["problem"], "no_role_keys", "{plan}");
}

#[on_both]
async fn listed_roles_and_people_are_set_up_without_a_role_map(world: World) {
    let zitadel = zitadel(&world, json!({"role_map": {}})).await;
    zitadel.set(|inner| inner.known.add_user("90", "guest@elsewhere.example"));
    let roles = json!([
        {"key": "reports", "display_name": "Reports", "group": "data"},
        {"key": "billing", "display_name": "Billing"},
    ]);
    let outcome = ran(&world, json!({"roles": roles, "grants": []})).await;
    assert_eq!(statuses(&outcome, "roles"), ["create done", "create done"]);
    assert_eq!(outcome["roles"][0]["key"], "acme_reports");
    let grants = json!([
        {"provider_user_id": "71", "role_keys": ["reports", "reports"]},
        {"email": "Guest@elsewhere.example", "role_keys": ["billing"]},
        {"user_id": world.acme.owner, "role_keys": ["billing", "reports"]},
        {"email": "olga@acme.example", "role_keys": ["missing"]},
    ]);
    let outcome = ran(&world, json!({"roles": [], "grants": grants})).await;
    let done = ["create done", "create done", "create done", "create failed"];
    assert_eq!(statuses(&outcome, "grants"), done, "{outcome}");
    let error = &outcome["grants"][3]["error"];
    assert_eq!((&error["status"], &error["code"]), (&json!(400), &json!("failed_precondition")));
    assert_eq!(outcome["grants"][1]["user_id"], Value::Null);
    zitadel.set(|inner| {
        assert_eq!(inner.known.keys_of("71"), ["acme_reports"]);
        assert_eq!(inner.known.keys_of("90"), ["acme_billing"]);
        assert_eq!(inner.known.keys_of("72"), ["acme_billing", "acme_reports"]);
    });
    // Listed texts replace others; a group that is not named stays.
    let roles = json!([
        {"key": "reports", "display_name": "All reports"},
        {"key": "billing", "display_name": "Billing"},
    ]);
    let outcome = ran(&world, json!({"roles": roles, "grants": []})).await;
    assert_eq!(statuses(&outcome, "roles"), ["update done", "none unchanged"]);
    zitadel.set(|inner| {
        let role = &inner.known.now.roles[0];
        assert_eq!((&*role.display_name, &*role.group), ("All reports", "data"));
    });
    let nothing = ran(&world, json!({"roles": [], "grants": []})).await;
    assert_eq!(nothing["summary"], summary(&[]));
}

#[on_both]
async fn prune_removes_only_keys_with_the_own_prefix(world: World) {
    let zitadel = zitadel(&world, json!({})).await;
    zitadel.set(|inner| {
        for key in ["acme_account_admin", "acme_account_owner", "acme_old", "globex_admin"] {
            inner.known.add_role(key);
        }
        inner.known.add_user("99", "else@acme.example");
        inner.known.add_grant("71", &["acme_old", "globex_admin"]);
        inner.known.add_grant("99", &["acme_old"]);
    });
    ran(&world, json!({"prune": true})).await;
    zitadel.set(|inner| {
        let known = &mut inner.known;
        assert_eq!(known.keys_of("71"), ["acme_account_admin", "globex_admin"]);
        assert_eq!(known.keys_of("99"), ["acme_old"], "a person outside the selection");
        known.now.grants[0].keys = vec!["acme_old".to_owned(), "globex_admin".to_owned()];
    });
    // An empty prefix is the beginning of every key, so it prunes none.
    let claim_map = json!({"project_id": "111", "organization_id": "900"});
    let body = zitadel.body(json!({"claim_map": claim_map}));
    world.put(path(&world), body).await.expect(200);
    ran(&world, json!({"prune": true})).await;
    zitadel.set(|inner| {
        assert_eq!(inner.known.keys_of("71"), ["account_admin", "acme_old", "globex_admin"]);
    });
}

#[on_both]
async fn defaults_fill_gaps_and_are_stored(world: World) {
    let defaults = json!({
        "zitadel": {
            "project_id": "111", "organization_id": "900", "role_prefix": "new_",
            "role_map": {"boss": "ORGANIZATION_OWNER"},
        },
    });
    world.put("/onboarding", defaults).await.expect(200);
    let zitadel =
        zitadel(&world, json!({"claim_map": {"role_prefix": "own_"}, "role_map": {}})).await;
    run(&world, json!({})).await.invalid("claim_map.project_id");
    world.pass(chrono::TimeDelta::hours(1));
    let outcome = ran(&world, json!({"apply_defaults": true})).await;
    assert_eq!(outcome["config_updated"], true);
    assert_eq!(outcome["roles"][0]["key"], "own_boss");
    let stored = world.get(path(&world)).await.expect(200);
    let claim_map = json!({"project_id": "111", "organization_id": "900", "role_prefix": "own_"});
    assert_eq!(stored["claim_map"], claim_map);
    assert_eq!(stored["role_map"], json!({"boss": "ORGANIZATION_OWNER"}));
    assert_eq!(stored["updated_at"], "2026-01-02T01:00:00Z");
    let outcome = ran(&world, json!({"apply_defaults": true})).await;
    assert_eq!(outcome["config_updated"], false);

    // Without a map anywhere there is a role for each role of organizations.
    world.put("/onboarding", json!({})).await.expect(200);
    let body = zitadel.body(json!({"role_map": {}}));
    world.put(path(&world), body).await.expect(200);
    let outcome = ran(&world, json!({"apply_defaults": true, "grants": []})).await;
    let keys: Vec<&Value> =
        outcome["roles"].as_array().unwrap().iter().map(|role| &role["key"]).collect();
    let levels = ["admin", "member", "owner", "viewer"];
    assert_eq!(
        keys,
        levels.map(|level| json!(format!("acme_organization_{level}"))).iter().collect::<Vec<_>>()
    );
    // IDs of another Zitadel fill nothing.
    let elsewhere = json!({"zitadel": {"issuer": "https://other.example", "project_id": "111"}});
    world.put("/onboarding", elsewhere).await.expect(200);
    world.put(path(&world), zitadel.body(json!({"claim_map": {}}))).await.expect(200);
    run(&world, json!({"apply_defaults": true})).await.invalid("claim_map.project_id");
}
