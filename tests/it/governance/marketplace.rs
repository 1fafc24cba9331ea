//! The marketplace: who sees which listing, installations and ratings counted from rows, and copies
//! across organizations.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{agent, guardrail, id, resource};
use crate::sweep::examples::UNKNOWN_ID;
use crate::world::{Client, World, on_both};

/// A listing of acme's connection.
async fn listing(world: &World, name: &str, more: Value) -> String {
    // Lists have one order.
    world.pass(TimeDelta::milliseconds(1));
    let body = json!({"kind": "connection", "name": name, "spec": {"type": "mcp"}});
    let entity = id(&resource(world, body).await);
    let mut body = json!({"kind": "listing", "name": name, "parent_id": entity});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    id(&resource(world, body).await)
}

async fn bind(world: &World, listing: &str, scope: &str, effect: &str) {
    let body = json!({"kind": "listing", "subject": listing, "scope": scope, "effect": effect});
    let answer = world.put(world.org("/bindings"), body).await;
    assert!([200, 201].contains(&answer.status), "{}", answer.text());
}

/// Below acme's marketplace.
fn market(world: &World, path: &str) -> String {
    world.org(&format!("/marketplace{path}"))
}

async fn names(client: &Client, path: &str) -> Vec<String> {
    let list = client.get(path).await.expect(200);
    let items = list["items"].as_array().unwrap().iter();
    items.map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}

/// A listing as its own read shows it: installations and rating.
async fn counted(world: &World, listing: &str) -> (Value, Value) {
    let found = world.get(format!("/resources/{listing}")).await.expect(200);
    (found["installations"].clone(), found["rating"].clone())
}

/// A viewer of acme who can log in.
async fn viewer(world: &World) -> Client {
    let seat = json!({"user_id": world.acme.stranger, "role": "viewer"});
    world.post(world.org("/memberships"), seat).await.expect(201);
    world.person("auth0|sven-acme")
}

/// A person of the organization, with the ID.
async fn member(world: &World, organization: &str, name: &str) -> String {
    let path = format!("/organizations/{organization}/users");
    let made = world.post(path, json!({"email": format!("{name}@x.example")})).await;
    made.json()["user"]["id"].as_str().unwrap().to_owned()
}

#[on_both]
async fn whole_item_shows_listing_entity_publisher_and_reactions(world: World) {
    let one = listing(&world, "Mail box", json!({"description": "All mail."})).await;
    let olga = world.person("auth0|olga-acme");
    let path = market(&world, &format!("/{one}"));
    let installed = olga.put(format!("{path}/installation"), json!({})).await.expect(201);
    assert_eq!(
        installed,
        json!({
            "id": installed["id"], "organization_id": world.acme.org, "kind": "installation",
            "listing_id": one, "user_id": world.acme.owner, "stars": null, "copy": null,
            "created_at": "2026-01-02T00:00:00.001Z", "updated_at": "2026-01-02T00:00:00.001Z",
        })
    );
    let rated = olga.put(format!("{path}/rating"), json!({"stars": 4})).await.expect(201);
    assert_eq!(
        rated,
        json!({
            "id": rated["id"], "organization_id": world.acme.org, "kind": "rating",
            "listing_id": one, "user_id": world.acme.owner, "stars": 4,
            "created_at": "2026-01-02T00:00:00.001Z", "updated_at": "2026-01-02T00:00:00.001Z",
        })
    );
    let list = olga.get(market(&world, "")).await.expect(200);
    let shown = world.get(format!("/resources/{one}")).await.expect(200);
    assert_eq!(shown["rating"], json!({"average": 4, "count": 1}));
    let mut expected = shown.clone();
    let more = json!({
        "entity": {
            "kind": "connection", "id": shown["parent_id"], "key": "mail-box", "name": "Mail box",
        },
        "publisher": {"organization_id": world.acme.org, "name": "Acme"},
        "visibility": {"mode": "global", "matched": null},
        "installed": true, "own_rating": 4, "installations": 1,
    });
    expected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    assert_eq!(list["items"], json!([expected]));
    // The organization's own answer has no person.
    let own = world.get(market(&world, "")).await.expect(200)["items"][0].clone();
    assert_eq!((&own["installed"], &own["own_rating"]), (&json!(false), &Value::Null));
    assert_eq!(own["installations"], 1);
}

#[on_both]
async fn fold_decides_which_listings_a_person_sees(world: World) {
    let olga = world.person("auth0|olga-acme");
    let sven = viewer(&world).await;
    let (group, path) = (format!("group:{}", world.acme.group), market(&world, ""));
    let granted = listing(&world, "Granted", json!({})).await;
    bind(&world, &granted, &group, "allow").await;
    let denied = listing(&world, "Denied", json!({})).await;
    bind(&world, &denied, &format!("user:{}", world.acme.stranger), "deny").await;
    listing(&world, "Disabled", json!({"status": "disabled"})).await;
    listing(&world, "Draft", json!({"spec": {"published": false}})).await;
    listing(&world, "Studio", json!({"product": "studio"})).await;
    assert_eq!(names(&olga, &path).await, ["Denied"], "newest first");
    assert_eq!(names(&sven, &path).await, [""; 0]);
    let of_mats = format!("{path}?user={}", world.acme.user);
    let list = world.get(&of_mats).await.expect(200);
    let seen: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|one| &one["visibility"]).collect();
    let global = json!({"mode": "global", "matched": null});
    assert_eq!(seen, [&global, &json!({"mode": "granted", "matched": group})]);
    let products = names(&olga, &format!("{path}?product=studio")).await;
    assert_eq!(products, ["Studio", "Denied", "Archive"]);
    // A pinned group narrows the chain.
    let spare = &world.acme.spare_group;
    assert_eq!(names(&world.root(), &format!("{of_mats}&group={spare}")).await, ["Denied"]);
    let outside = format!("{path}?user={}&group={spare}", world.acme.owner);
    world.get(&outside).await.invalid("group");
    let missing = format!("{path}?user={}", world.globex.user);
    assert_eq!(world.get(missing).await.refused(404, "not_found")["field"], "user");
    let other = format!("{path}?user={}", world.acme.user);
    assert_eq!(sven.get(other).await.refused(403, "forbidden")["field"], "user");
    // An ended subscription hides all.
    let subscription = format!("/subscriptions/{}", world.acme.subscription);
    world.patch(&subscription, json!({"status": "paused"})).await.expect(200);
    assert_eq!(names(&olga, &path).await, [""; 0]);
}

#[on_both]
async fn filters_select_listings(world: World) {
    let preset = guardrail(&world, "pii").await;
    let scout = agent(&world, "Scout", &[&preset]).await;
    let best = json!({"featured": true, "verified": true});
    let body = json!({"kind": "listing", "name": "Scout", "parent_id": scout, "spec": best});
    resource(&world, body).await;
    listing(&world, "Mail 100%", json!({})).await;
    let olga = world.person("auth0|olga-acme");
    for (query, expected) in [
        ("entity=agent", vec!["Scout"]),
        ("entity=connection", vec!["Mail 100%"]),
        ("featured=true", vec!["Scout"]),
        ("featured=false", vec!["Mail 100%"]),
        ("verified=true&featured=true", vec!["Scout"]),
        ("verified=false", vec!["Mail 100%"]),
        ("q=MAIL", vec!["Mail 100%"]),
        ("q=0%25", vec!["Mail 100%"]),
        ("q=a%25l", vec![]),
    ] {
        assert_eq!(names(&olga, &market(&world, &format!("?{query}"))).await, expected, "{query}");
    }
    olga.get(market(&world, "?entity=model")).await.invalid("entity");
    let page = olga.get(market(&world, "?limit=1")).await.expect(200);
    let next = page["next_cursor"].as_str().unwrap();
    assert_eq!(names(&olga, &market(&world, &format!("?limit=1&cursor={next}"))).await, ["Scout"]);
}

#[on_both]
async fn reactions_are_created_once_and_removed_once(world: World) {
    let one = listing(&world, "Mail box", json!({})).await;
    let mats = world.person("auth0|mats-acme");
    let path = |kind: &str| market(&world, &format!("/{one}/{kind}"));
    let (installation, rating) = (path("installation"), path("rating"));
    mats.delete(&installation).await.refused(404, "not_found");
    mats.delete(&rating).await.refused(404, "not_found");
    let first = mats.put(&installation, json!({})).await.expect(201);
    assert_eq!(mats.put(&installation, json!({})).await.expect(200), first);
    let first = mats.put(&rating, json!({"stars": 1})).await.expect(201);
    let again = mats.put(&rating, json!({"stars": 5})).await.expect(200);
    assert_eq!((&again["id"], &again["stars"]), (&first["id"], &json!(5)));
    let olga = world.person("auth0|olga-acme");
    olga.put(&rating, json!({"stars": 4})).await.expect(201);
    let third = member(&world, "acme", "third").await;
    world.put(&rating, json!({"stars": 4, "user": third})).await.expect(201);
    let average: Value = serde_json::from_str("4.33").unwrap();
    assert_eq!(counted(&world, &one).await, (json!(1), json!({"average": average, "count": 3})));
    mats.delete(&installation).await.expect(204);
    mats.delete(&installation).await.refused(404, "not_found");
    mats.delete(&rating).await.expect(204);
    mats.delete(&rating).await.refused(404, "not_found");
    assert_eq!(counted(&world, &one).await, (json!(0), json!({"average": 4, "count": 2})));
    for stars in [json!(0), json!(6), json!(1.5), json!("5"), Value::Null] {
        mats.put(&rating, json!({"stars": stars})).await.invalid("stars");
    }
    mats.put(&rating, json!({})).await.invalid("stars");
    // No caller writes a counter.
    let own = format!("/resources/{one}");
    for body in [json!({"installations": 7}), json!({"rating": {"average": 5}})] {
        assert_eq!(world.patch(&own, body).await.status, 422);
    }
    mats.put(&installation, json!({"guardrails": []})).await.invalid("guardrails");
}

#[on_both]
async fn machines_name_the_person_and_people_only_themselves(world: World) {
    let one = listing(&world, "Mail box", json!({})).await;
    let path = market(&world, &format!("/{one}/installation"));
    let rating = market(&world, &format!("/{one}/rating"));
    let machine = world.with_only(&["effective:read", "bindings:read"]).await;
    machine.put(&path, json!({})).await.invalid("user");
    machine.put(&rating, json!({"stars": 3})).await.invalid("user");
    machine.delete(&path).await.invalid("user");
    let named = machine.put(&path, json!({"user": world.acme.user})).await.expect(201);
    assert_eq!(named["user_id"], json!(world.acme.user));
    machine.put(&rating, json!({"user": world.acme.user, "stars": 3})).await.expect(201);
    for missing in [UNKNOWN_ID, &world.globex.user, &world.acme.stranger] {
        let problem = machine.put(&path, json!({"user": missing})).await.refused(404, "not_found");
        assert_eq!(problem["field"], "user", "{missing}");
        machine.delete(format!("{path}?user={missing}")).await.refused(404, "not_found");
    }
    let weak = world.with_only(&["effective:read"]).await;
    let answer = weak.put(&path, json!({"user": world.acme.owner})).await;
    assert_eq!(answer.refused(403, "forbidden")["field"], "user");
    let answer = weak.delete(format!("{path}?user={}", world.acme.user)).await;
    assert_eq!(answer.refused(403, "forbidden")["field"], "user");
    // An owner reads the answers of others, and reacts for no other person.
    let olga = world.person("auth0|olga-acme");
    let other = json!({"user": world.acme.user, "stars": 1});
    assert_eq!(olga.put(&rating, other).await.refused(403, "forbidden")["field"], "user");
    let other = json!({"user": world.acme.user});
    assert_eq!(olga.put(&path, other).await.refused(403, "forbidden")["field"], "user");
    olga.put(&path, json!({"user": world.acme.owner})).await.expect(201);
    assert_eq!(counted(&world, &one).await.0, 2);
    machine.delete(format!("{path}?user={}", world.acme.user)).await.expect(204);
    assert_eq!(counted(&world, &one).await.0, 1);
}

#[on_both]
async fn unseen_listing_is_not_found(world: World) {
    let sven = viewer(&world).await;
    let denied = listing(&world, "Denied", json!({})).await;
    bind(&world, &denied, &format!("user:{}", world.acme.stranger), "deny").await;
    let granted = listing(&world, "Granted", json!({})).await;
    bind(&world, &granted, &format!("group:{}", world.acme.group), "allow").await;
    let disabled = listing(&world, "Disabled", json!({"status": "disabled"})).await;
    let draft = listing(&world, "Draft", json!({"spec": {"published": false}})).await;
    let entity = world.get(format!("/resources/{draft}")).await.expect(200)["parent_id"].clone();
    let entity = entity.as_str().unwrap();
    let private = &world.globex.others["marketplace"];
    let same = sven.with("x-request-id", "same");
    let of = |one: &str, kind: &str| market(&world, &format!("/{one}/{kind}"));
    let missing = same.put(of(UNKNOWN_ID, "installation"), json!({})).await;
    for one in [&*denied, &granted, &disabled, &draft, entity, private, UNKNOWN_ID] {
        for (kind, body) in [("installation", json!({})), ("rating", json!({"stars": 5}))] {
            let answer = same.put(of(one, kind), body).await;
            assert_eq!((answer.status, &answer.body), (404, &missing.body), "{kind} of {one}");
            same.delete(of(one, kind)).await.refused(404, "not_found");
        }
    }
    // Malformed IDs are missing ones.
    same.put(of("x", "installation"), json!({})).await.refused(404, "not_found");
    // A person removes what was installed before the listing was hidden.
    let olga = world.person("auth0|olga-acme");
    olga.put(of(&denied, "installation"), json!({})).await.expect(201);
    bind(&world, &denied, "organization", "deny").await;
    olga.put(of(&denied, "installation"), json!({})).await.refused(404, "not_found");
    olga.delete(of(&denied, "installation")).await.expect(204);
}

#[on_both]
async fn listing_for_all_products_is_seen_with_the_groups_of_a_product(world: World) {
    let one = listing(&world, "Mail box", json!({})).await;
    let body = json!({"name": "Pilots", "product": "copilot"});
    let group = id(&world.post(world.org("/groups"), body).await.expect(201));
    world.put(format!("/groups/{group}/members/{}", world.acme.user), json!({})).await.expect(201);
    bind(&world, &one, &format!("group:{group}"), "allow").await;
    let mats = world.person("auth0|mats-acme");
    assert_eq!(names(&mats, &market(&world, "")).await, [""; 0]);
    assert_eq!(names(&mats, &market(&world, "?product=copilot")).await, ["Mail box"]);
    for (kind, body) in [("installation", json!({})), ("rating", json!({"stars": 5}))] {
        let path = market(&world, &format!("/{one}/{kind}"));
        mats.put(&path, body.clone()).await.refused(404, "not_found");
        let with = |product: &str| {
            let mut body = body.clone();
            body["product"] = json!(product);
            body
        };
        mats.put(&path, with("console")).await.refused(404, "not_found");
        mats.put(&path, with("copilot")).await.expect(201);
        mats.delete(&path).await.expect(204);
    }
    let studio = market(&world, &format!("/{}/rating", world.acme.others["marketplace"]));
    let other = json!({"stars": 5, "product": "copilot"});
    mats.put(&studio, other).await.refused(404, "not_found");
}
