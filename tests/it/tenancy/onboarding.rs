use serde_json::{Value, json};

use crate::world::{World, on_both};

fn value() -> Value {
    json!({
        "groups": [
            {"product": "studio", "name": "Global", "slug": "global", "description": "All people."},
            {"product": "console", "name": "Global", "slug": "global", "description": null},
            {"product": "", "name": "Key Accounts", "slug": "key-accounts", "description": null},
        ],
        "zitadel": {
            "issuer": "https://z.example", "audience": "111", "project_id": "111",
            "organization_id": "900", "role_prefix": "cp_", "role_map": {"admin": ["ORGANIZATION_ADMIN"]},
        },
    })
}

#[on_both]
async fn onboarding_is_empty_then_what_the_platform_set(world: World) {
    let empty = json!({
        "groups": [],
        "zitadel": {
            "issuer": null, "audience": null, "project_id": null, "organization_id": null,
            "role_prefix": null, "role_map": {},
        },
    });
    assert_eq!(world.get("/onboarding").await.expect(200), empty);
    let mut sent = value();
    sent["groups"][2] = json!({"name": "Key Accounts"});
    assert_eq!(world.put("/onboarding", sent).await.expect(200), value());
    assert_eq!(world.get("/onboarding").await.expect(200), value());
    let event = world.get("/audit?limit=1").await.expect(200)["items"][0].clone();
    assert_eq!(
        (&event["action"], &event["before"], &event["after"]),
        (&json!("onboarding.put"), &empty, &value())
    );
    assert_eq!(world.put("/onboarding", json!({})).await.expect(200), empty);
    world.by(&world.acme.token).get("/onboarding").await.refused(403, "forbidden");
    world.by(&world.acme.token).put("/onboarding", json!({})).await.refused(403, "forbidden");
}

#[on_both]
async fn new_organization_starts_with_the_groups(world: World) {
    world.put("/onboarding", value()).await.expect(200);
    let events = world.count_events().await;
    world.post("/organizations", json!({"name": "Initech"})).await.expect(201);
    assert_eq!(world.count_events().await, events + 1);
    let groups = world.get("/organizations/initech/groups").await.expect(200);
    let items = groups["items"].as_array().unwrap().iter();
    let mut groups: Vec<_> = items.map(without_ids).collect();
    groups.sort_by_key(|group| group["product"].to_string());
    let group = |product: &str, name: &str, slug: &str, description: Value| {
        json!({
            "parent_id": null, "product": product, "name": name, "slug": slug,
            "description": description, "external_id": null,
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    };
    assert_eq!(
        groups,
        [
            group("", "Key Accounts", "key-accounts", Value::Null),
            group("console", "Global", "global", Value::Null),
            group("studio", "Global", "global", json!("All people.")),
        ]
    );
    // Organizations that exist stay as they are.
    let own = world.get(world.org("/groups")).await.expect(200);
    assert_eq!(own["items"].as_array().unwrap().len(), 2);
}

#[on_both]
async fn refused_onboarding_names_the_member(world: World) {
    world.put("/onboarding", value()).await.expect(200);
    let group = |name: &str| json!({"name": name});
    let many: Vec<_> = (0..21).map(|n| group(&format!("G{n}"))).collect();
    for (body, field) in [
        (json!({"groups": many}), "groups"),
        (json!({"groups": [group("A"), group("a")]}), "groups[1].slug"),
        (json!({"groups": [{"name": "?"}]}), "groups[0].slug"),
        (json!({"groups": [{"product": "x"}]}), "groups[0].name"),
        (json!({"zitadel": {"issuer": "z"}}), "zitadel.issuer"),
        (json!({"zitadel": {"role_map": {"a": 1}}}), "zitadel.role_map.a"),
        (json!({"zitadel": {"role_map": {"a": [1]}}}), "zitadel.role_map.a"),
        (json!({"passwords": []}), "passwords"),
    ] {
        let problem = world.put("/onboarding", body).await.refused(422, "invalid");
        assert_eq!(problem["field"], field, "{problem}");
    }
    assert_eq!(world.get("/onboarding").await.expect(200), value());
}

fn without_ids(group: &Value) -> Value {
    let mut group = group.clone();
    let members = group.as_object_mut().unwrap();
    assert!(members.remove("id").is_some() && members.remove("organization_id").is_some());
    group
}
