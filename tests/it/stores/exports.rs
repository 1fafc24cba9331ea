//! What the `ControlPlaneStore` holds, as it is read and exported.

use chrono::TimeDelta;
use serde_json::json;

use super::control_plane_store::ControlPlaneStore;
use super::{at, done, each, id, items, named, refuses, with};
use crate::world::{World, on_both};

#[on_both]
async fn created_record_reads_back_as_answered(world: World) {
    let store = ControlPlaneStore::over(&world);
    store.create_org("org_x", "x").await.unwrap();
    let user = json!({"user_id": world.acme.user, "role": "viewer"});
    let deployment = json!({"name": "d", "type": "cloud"});
    let limit = json!({"metric": "m", "quantity": 1});
    for (what, body) in [
        ("groups", named("d")),
        ("projects", named("d")),
        ("workspaces", named("d")),
        ("deployments", deployment),
        ("memberships", user),
        ("usage", limit.clone()),
        ("limits", limit),
    ] {
        let created = match what {
            "limits" => store.set_usage_limit("x", body).await,
            _ => store.make("x", what, body).await,
        };
        let created = created.unwrap();
        let read = done(world.get(format!("/{what}/{}", id(&created))).await).unwrap();
        assert_eq!(read, created, "{what}");
        let list = items(world.get(format!("/organizations/x/{what}")).await);
        assert_eq!(list, [created], "{what}");
    }
    let provider = json!({"type": "oidc", "issuer": "https://idp.test"});
    let provider = store.upsert_identity_provider("x", "idp", provider).await.unwrap();
    let read = world.get("/organizations/x/identity-providers/idp").await.expect(200);
    assert_eq!(read, provider);
    assert_eq!(store.list_identity_providers("x", "").await, [provider]);
}

#[on_both]
async fn an_export_is_what_the_store_holds_in_its_order(world: World) {
    let store = ControlPlaneStore::over(&world);
    let next = || world.pass(TimeDelta::microseconds(1));
    store.create_org("org_x", "x").await.unwrap();
    let mut projects = Vec::new();
    let mut limits = Vec::new();
    for slug in ["zoo", "app"] {
        next();
        let project = store.create_project("x", slug).await.unwrap();
        let team = id(&store.create_team("x", slug).await.unwrap());
        store.add_team_member(&team, &world.acme.user, Some("admin")).await.unwrap();
        store.add_project_team(&id(&project), &team, Some("member")).await.unwrap();
        for (metric, unit) in [("runs", "count"), ("runs", "Count")] {
            let limit =
                json!({"metric": metric, "unit": unit, "quantity": 9, "project_id": project["id"]});
            limits.push(store.set_usage_limit("x", limit).await.unwrap());
        }
        let grants = json!([{"group_id": team, "role": "PROJECT_MEMBER"}]);
        projects.push(with(project, json!({"groups": grants})));
    }
    let limit = json!({"metric": "zeal", "quantity": 9});
    limits.insert(0, store.set_usage_limit("x", limit).await.unwrap());
    projects.reverse();
    let account = json!({"plan": "business", "billing_customer_id": "cus_1", "status": "trialing"});
    let account = store.upsert_billing_account("x", account).await.unwrap();
    for hour in [3, 4, 5] {
        next();
        let at = format!("2025-06-01T{hour:02}:00:00Z");
        let event = json!({"metric": "runs", "quantity": hour, "observed_at": at});
        store.record_usage("x", event).await.unwrap();
        let event = json!({"action": at, "target_type": "run", "occurred_at": at});
        store.record_audit_event("x", event).await.unwrap();
    }
    for (whose, name) in [("none", "b"), (&*id(&projects[0]), "c"), ("none", "a")] {
        let body = json!({"provider": "vault", "ref": "vault://v1"});
        store.put_secret_ref("x", whose, name, body).await.unwrap();
    }
    for key in ["okta", "auth0"] {
        let body = json!({"type": key, "issuer": "https://idp.test", "client_secret": "hush"});
        store.upsert_identity_provider("x", key, body).await.unwrap();
    }

    let export = store.export("x", "").await.unwrap();
    assert_eq!(export["organization"], store.get_org("org_x").await.unwrap());
    assert_eq!(export["projects"], json!(projects));
    let groups = export["groups"].as_array().unwrap();
    assert_eq!(each(groups, "slug"), json!(["app", "zoo"]));
    assert_eq!(groups[0]["members"][0]["role"], "GROUP_ADMIN");
    assert_eq!(export["billing_account"], account);
    assert_eq!(export["identity_providers"], json!(store.list_identity_providers("x", "").await));
    assert_eq!(export["secret_refs"], json!(store.list_secret_refs("x", "").await));
    let runs = json!([{"metric": "runs", "unit": "count", "quantity": 12, "events": 3}]);
    assert_eq!(export["usage"], runs);
    // The whole organization's come first, then each project's, by metric and unit.
    limits.swap(1, 2);
    limits.swap(3, 4);
    assert_eq!(export["usage_limits"], json!(limits));
    let mut events = store.audit_events("x", "limit=500").await;
    events.sort_by_key(|event| at(&event["occurred_at"]));
    let times = each(&events, "occurred_at");
    assert_eq!(each(export["audit_events"].as_array().unwrap(), "occurred_at"), times);
    assert_eq!(events.len(), 3 + 2 + 2 * 6 + 3 + 2 + 1);
    assert!(!export.to_string().contains("hush"));

    let window = "since=2025-06-01T03:00:00Z&until=2025-06-01T04:00:00Z";
    let narrowed = store.export("x", window).await.unwrap();
    assert_eq!(narrowed["usage"][0]["quantity"], 7);
    let actions = each(narrowed["audit_events"].as_array().unwrap(), "action");
    assert_eq!(actions, json!(["2025-06-01T03:00:00Z", "2025-06-01T04:00:00Z"]));
    for whole in ["projects", "groups", "usage_limits", "secret_refs", "billing_account"] {
        assert_eq!(narrowed[whole], export[whole], "{whole}");
    }
    refuses(store.export("nope", "").await, "organization not found");
}
