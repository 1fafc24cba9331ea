//! Public listings of another organization, and the copies that their installations create.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{agent, guardrail, id, resource};
use crate::world::{World, on_both, statements_of};

/// A public listing of acme's agent, with the agent.
async fn public_agent(world: &World) -> (String, String) {
    let preset = guardrail(world, "acme-rules").await;
    let body = json!({
        "kind": "agent", "name": "Scout", "product": "copilot", "description": "It looks around.",
        "guardrails": [preset], "spec": {"definition": {"steps": [1]}},
    });
    let agent = id(&resource(world, body).await);
    let body = json!({
        "kind": "listing", "name": "Scout", "product": "copilot", "parent_id": agent,
        "is_public": true,
    });
    (id(&resource(world, body).await), agent)
}

/// A public listing of acme's connection with a secret.
async fn public_connection(world: &World, spec: Value, secret: Value) -> String {
    let body = json!({"kind": "connection", "name": "Mail box", "spec": spec, "secret": secret});
    let connection = id(&resource(world, body).await);
    let body = json!({
        "kind": "listing", "name": "Mail box", "parent_id": connection, "is_public": true,
    });
    id(&resource(world, body).await)
}

fn at(listing: &str, kind: &str) -> String {
    format!("/organizations/globex/marketplace/{listing}/{kind}")
}

/// Creates a guardrail of globex.
async fn own_guardrail(world: &World, key: &str) -> String {
    let body = json!({"kind": "guardrail", "name": key, "key": key});
    id(&world.post("/organizations/globex/resources", body).await.expect(201))
}

#[on_both]
async fn installation_of_a_foreign_agent_creates_a_guarded_copy(world: World) {
    let (listing, agent) = public_agent(&world).await;
    let own = own_guardrail(&world, "own").await;
    let path = at(&listing, "installation");
    let owner = world.person("auth0|olga-globex");
    owner.put(&path, json!({})).await.invalid("guardrails");
    owner.put(&path, json!({"guardrails": []})).await.invalid("guardrails");
    let rules = world.get(format!("/resources/{agent}")).await.expect(200)["guardrails"].clone();
    let problem = owner.put(&path, json!({"guardrails": rules})).await.refused(404, "not_found");
    assert_eq!(
        problem["field"], "guardrails",
        "the publisher's guardrails are not the installer's"
    );
    owner
        .put(&path, json!({"guardrails": [own], "user": world.globex.owner}))
        .await
        .invalid("user");
    let new = json!({"guardrails": [own]});
    let made = owner.put(&path, new.clone()).await.expect(201);
    let copy = made["copy"].clone();
    assert_eq!(
        copy,
        json!({
            "id": copy["id"], "organization_id": world.globex.org, "kind": "agent", "key": "scout",
            "name": "Scout", "product": "copilot", "description": "It looks around.",
            "status": "active", "is_public": false, "parent_id": null, "source_id": listing,
            "spec": {"definition": {"steps": [1]}}, "secret": null, "guardrails": [own],
            "created_at": "2026-01-02T00:00:00Z", "updated_at": "2026-01-02T00:00:00Z",
        })
    );
    assert_eq!((&made["user_id"], &made["listing_id"]), (&Value::Null, &json!(listing)));
    let id = copy["id"].as_str().unwrap();
    assert_eq!(owner.get(format!("/resources/{id}")).await.expect(200), copy);
    // Once for the organization: a repetition returns the same copy.
    assert_eq!(owner.put(&path, new.clone()).await.expect(200), made);
    let agents = world.get("/organizations/globex/resources?kind=agent").await.expect(200);
    assert_eq!(agents["items"].as_array().unwrap().len(), 1);
    // The removal keeps the copy, and another installation creates a second one.
    owner.delete(&path).await.expect(204);
    owner.delete(&path).await.refused(404, "not_found");
    assert_eq!(owner.get(format!("/resources/{id}")).await.expect(200), copy);
    let second = owner.put(&path, new.clone()).await.expect(201)["copy"].clone();
    assert_eq!(second["key"], "scout-1");
    world.delete(format!("/resources/{}", super::id(&second))).await.expect(204);
    world.delete(format!("/resources/{id}")).await.expect(204);
    assert_eq!(owner.put(&path, new).await.expect(200)["copy"], Value::Null);
}

#[on_both]
async fn copy_of_a_connection_has_no_secret_of_the_publisher(world: World) {
    let sealed = public_connection(
        &world,
        json!({"type": "mcp", "config": {"url": "https://x.example"}}),
        json!({"api_key": "canary-0123456789"}),
    );
    let sealed = sealed.await;
    let spec = json!({"type": "mcp", "secret_ref": "app/token"});
    let named = public_connection(&world, spec, Value::Null).await;
    let owner = world.person("auth0|olga-globex");
    for listing in [&sealed, &named] {
        let path = at(listing, "installation");
        owner.put(&path, json!({"guardrails": []})).await.invalid("guardrails");
        let answer = owner.put(&path, json!({})).await;
        assert!(!answer.text().contains("canary") && !answer.text().contains("app/token"));
        let copy = answer.expect(201)["copy"].clone();
        assert_eq!((&copy["secret"], &copy["spec"]["secret_ref"]), (&Value::Null, &Value::Null));
        assert_eq!((&copy["status"], &copy["source_id"]), (&json!("active"), &json!(listing)));
    }
    let list = world.get("/organizations/globex/resources?q=mail%20box").await.expect(200);
    let keys: Vec<_> = list["items"].as_array().unwrap().iter().map(|one| &one["key"]).collect();
    assert_eq!(keys, ["mail-box-1", "mail-box"]);
}

/// A copy has no key yet: it can be renamed or disabled, and gets its own.
#[on_both]
async fn copy_of_a_composio_connection_gets_its_own_key(world: World) {
    let spec = json!({
        "type": "composio", "auth_mode": "api_key", "config": {"toolkit": "mail"},
        "credential_visibility": "self_managed", "allow_user_self_manage": true,
    });
    let secret = json!({"api_key": "canary-0123456789"});
    let sealed = public_connection(&world, spec.clone(), secret).await;
    let mut named = spec.clone();
    named["secret_ref"] = json!("app/token");
    let named = public_connection(&world, named, Value::Null).await;
    let owner = world.person("auth0|olga-globex");
    for listing in [&sealed, &named] {
        let copy = owner.put(at(listing, "installation"), json!({})).await.expect(201);
        let (copy, path) = (&copy["copy"], format!("/resources/{}", id(&copy["copy"])));
        let mut expected = spec.clone();
        expected["secret_ref"] = Value::Null;
        assert_eq!((&copy["spec"], &copy["secret"]), (&expected, &Value::Null));
        assert_eq!(copy["source_id"], json!(listing));
        let changed = json!({"name": "Own box", "status": "disabled", "spec": {"config": {}}});
        let changed = owner.patch(&path, changed).await.expect(200);
        assert_eq!((&changed["name"], &changed["status"]), (&json!("Own box"), &json!("disabled")));
        owner.patch(&path, json!({"secret": {"other": "x"}})).await.invalid("secret");
        owner.patch(&path, json!({"secret": {"api_key": "own"}})).await.expect(200);
        // From then on it is a connection as any other.
        owner.patch(&path, json!({"secret": null})).await.invalid("secret");
        owner.patch(&path, json!({"spec": {"auth_mode": null}})).await.invalid("spec.auth_mode");
        let sealed: Vec<u8> = world
            .app
            .db
            .read()
            .q("SELECT secret FROM resources WHERE id = $1")
            .bind(id(copy).parse::<uuid::Uuid>().unwrap())
            .value()
            .await
            .unwrap()
            .unwrap();
        let purpose = format!("resource {} {} secret v1", world.globex.org, id(copy));
        let plain = world.app.kek.open(&purpose, &sealed).unwrap();
        assert_eq!(plain.as_slice(), br#"{"api_key":"own"}"#);
    }
    for path in ["export", "resources?limit=500", "audit?limit=500"] {
        let text = world.get(format!("/organizations/globex/{path}")).await.text();
        assert!(!text.contains("canary"), "{path}: {text}");
    }
}

#[on_both]
async fn public_listings_show_nothing_else_of_their_publisher(world: World) {
    let (listing, agent) = public_agent(&world).await;
    let viewer = json!({"user_id": world.globex.stranger, "role": "viewer"});
    world.post("/organizations/globex/memberships", viewer).await.expect(201);
    let sven = world.person("auth0|sven-globex");
    let path = "/organizations/globex/marketplace?product=copilot";
    let list = sven.get(path).await;
    assert!(!list.text().contains("steps") && !list.text().contains("acme-rules"));
    let list = list.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let item = &list["items"][0];
    let entity = json!({"kind": "agent", "id": agent, "key": "scout", "name": "Scout"});
    assert_eq!((&item["id"], &item["entity"]), (&json!(listing), &entity));
    assert_eq!(item["publisher"], json!({"organization_id": world.acme.org, "name": "Acme"}));
    assert_eq!(item["visibility"], json!({"mode": "public", "matched": null}));
    assert_eq!((&item["installed"], &item["own_rating"]), (&json!(false), &Value::Null));
    // Another product is another list.
    let other = sven.get("/organizations/globex/marketplace").await.expect(200);
    assert_eq!(other["items"], json!([]));
    // Ratings are for all who see it; the installation requires the right to write resources.
    let refused = sven.put(at(&listing, "installation"), json!({})).await.refused(403, "forbidden");
    assert_eq!(refused["permission"], "resources:write");
    sven.delete(at(&listing, "installation")).await.refused(403, "forbidden");
    sven.put(at(&listing, "rating"), json!({"stars": 2})).await.expect(201);
    let item = sven.get(path).await.expect(200)["items"][0].clone();
    assert_eq!((&item["own_rating"], &item["rating"]["count"]), (&json!(2), &json!(1)));
    // The publisher sees counts, and no reaction of the other organization.
    let export = world.get(world.org("/export")).await;
    assert!(!export.text().contains(&world.globex.stranger));
    let own = world.get(format!("/resources/{listing}")).await.expect(200);
    assert_eq!(own["rating"], json!({"average": 2, "count": 1}));
    for id in [&listing, &agent] {
        sven.get(format!("/resources/{id}")).await.refused(404, "not_found");
    }
    let export = world.get("/organizations/globex/export").await.expect(200);
    let reactions = export["reactions"].as_array().unwrap().iter();
    let raters: Vec<_> = reactions.filter(|one| one["listing_id"] == json!(listing)).collect();
    assert_eq!((raters.len(), &raters[0]["user_id"]), (1, &json!(world.globex.stranger)));
}

#[on_both]
async fn withdrawn_listing_is_not_found_and_can_be_uninstalled(world: World) {
    let spec = json!({"type": "mcp"});
    let listing = public_connection(&world, spec, Value::Null).await;
    let owner = world.person("auth0|olga-globex");
    let (installation, rating) = (at(&listing, "installation"), at(&listing, "rating"));
    let path = format!("/resources/{listing}");
    for (hidden, shown) in [
        (json!({"is_public": false}), json!({"is_public": true})),
        (json!({"status": "disabled"}), json!({"status": "active"})),
        (json!({"spec": {"published": false}}), json!({"spec": {"published": true}})),
    ] {
        owner.put(&installation, json!({})).await.expect(201);
        world.patch(&path, hidden).await.expect(200);
        owner.put(&installation, json!({})).await.refused(404, "not_found");
        owner.put(&rating, json!({"stars": 5})).await.refused(404, "not_found");
        let list = owner.get("/organizations/globex/marketplace").await.expect(200);
        assert_eq!(list["items"], json!([]));
        owner.delete(&installation).await.expect(204);
        owner.delete(&installation).await.refused(404, "not_found");
        world.patch(&path, shown).await.expect(200);
    }
}

#[on_both]
async fn purge_of_the_publisher_leaves_the_copies(world: World) {
    let (listing, _) = public_agent(&world).await;
    let own = own_guardrail(&world, "own").await;
    let owner = world.person("auth0|olga-globex");
    let made = owner.put(at(&listing, "installation"), json!({"guardrails": [own]})).await;
    let copy = made.expect(201)["copy"].clone();
    owner.put(at(&listing, "rating"), json!({"stars": 5})).await.expect(201);
    let before = world.get("/organizations/globex/export").await.expect(200)["reactions"].clone();
    assert_eq!(before.as_array().unwrap().len(), 4, "two of them are the world's");
    world.delete(world.org("?mode=purge&confirm=Acme&force=true")).await.expect(204);
    let after = world.get("/organizations/globex/export").await.expect(200)["reactions"].clone();
    assert_eq!(after.as_array().unwrap().len(), 2);
    assert_eq!(world.value::<i64>("SELECT COUNT(*) FROM reactions").await, 2);
    let kept = owner.get(format!("/resources/{}", id(&copy))).await.expect(200);
    assert_eq!(kept, copy);
    owner
        .put(at(&listing, "installation"), json!({"guardrails": [own]}))
        .await
        .refused(404, "not_found");
}

#[on_both]
async fn purge_of_an_installer_lowers_the_counts(world: World) {
    let listing = public_connection(&world, json!({"type": "mcp"}), Value::Null).await;
    let owner = world.person("auth0|olga-globex");
    owner.put(at(&listing, "installation"), json!({})).await.expect(201);
    owner.put(at(&listing, "rating"), json!({"stars": 1})).await.expect(201);
    let path = format!("/resources/{listing}");
    assert_eq!(world.get(&path).await.expect(200)["installations"], 1);
    world.delete("/organizations/globex?mode=purge&confirm=Globex&force=true").await.expect(204);
    let left = world.get(&path).await.expect(200);
    assert_eq!(
        (&left["installations"], &left["rating"]),
        (&json!(0), &json!({"average": null, "count": 0}))
    );
}

#[on_both]
async fn a_person_of_two_organizations_counts_once(world: World) {
    let listing = public_connection(&world, json!({"type": "mcp"}), Value::Null).await;
    let seat = json!({"user_id": world.acme.owner, "role": "viewer"});
    world.post("/organizations/globex/memberships", seat).await.expect(201);
    let own = world.org(&format!("/marketplace/{listing}/rating"));
    let stars = |stars: i64| json!({"stars": stars, "user": world.acme.owner});
    world.put(&own, stars(5)).await.expect(201);
    world.pass(chrono::TimeDelta::seconds(1));
    world.put(at(&listing, "rating"), stars(2)).await.expect(201);
    let rating =
        async || world.get(format!("/resources/{listing}")).await.expect(200)["rating"].clone();
    assert_eq!(rating().await, json!({"average": 2, "count": 1}));
    // The other organization's row is its own: its removal restores the former stars.
    let path = format!("{}?user={}", at(&listing, "rating"), world.acme.owner);
    world.delete(path).await.expect(204);
    assert_eq!(rating().await, json!({"average": 5, "count": 1}));
}

#[on_both]
async fn people_who_leave_take_their_reactions_along(world: World) {
    let listing = &world.acme.others["marketplace"];
    let path = format!("/resources/{listing}");
    let before = world.get(&path).await.expect(200);
    assert_eq!(
        (&before["installations"], &before["rating"]),
        (&json!(1), &json!({"average": 5, "count": 1}))
    );
    world.delete(format!("/memberships/{}", world.acme.membership)).await.expect(204);
    let after = world.get(&path).await.expect(200);
    assert_eq!(
        (&after["installations"], &after["rating"]),
        (&json!(0), &json!({"average": null, "count": 0}))
    );
}

#[on_both]
async fn suspended_organizations_change_no_reaction(world: World) {
    let listing = public_connection(&world, json!({"type": "mcp"}), Value::Null).await;
    let own = world.by(&world.globex.token);
    let suspended = json!({"status": "suspended"});
    world.patch("/organizations/globex", suspended).await.expect(200);
    let user = &world.globex.user;
    let own_listing = &world.globex.others["marketplace"];
    for one in [&listing, own_listing] {
        let (installation, rating) = (at(one, "installation"), at(one, "rating"));
        let code = "organization_suspended";
        own.put(&installation, json!({"user": user})).await.refused(409, code);
        own.put(&rating, json!({"user": user, "stars": 1})).await.refused(409, code);
        own.delete(format!("{installation}?user={user}")).await.refused(409, code);
        own.delete(format!("{rating}?user={user}")).await.refused(409, code);
    }
    own.get("/organizations/globex/marketplace").await.expect(200);
}

#[on_both]
async fn restricted_logins_react_to_their_products(world: World) {
    let (listing, _) = public_agent(&world).await;
    let login = |product: &str| {
        let mut login = world.login("auth0|olga-globex");
        login.products = vec![product.into()];
        world.anyone().person(&world.app, login)
    };
    let own = own_guardrail(&world, "own").await;
    let new = json!({"guardrails": [own]});
    let console = login("console");
    for answer in [
        console.get("/organizations/globex/marketplace?product=copilot").await,
        console.put(at(&listing, "installation"), new.clone()).await,
        console.put(at(&listing, "rating"), json!({"stars": 5})).await,
    ] {
        assert_eq!(answer.refused(403, "forbidden")["field"], "product");
    }
    login("copilot").put(at(&listing, "installation"), new).await.expect(201);
    // A copy of product '' is a row for all products.
    let of_all = public_connection(&world, json!({"type": "mcp"}), Value::Null).await;
    let refused = login("copilot").put(at(&of_all, "installation"), json!({})).await;
    assert_eq!(refused.refused(403, "forbidden")["field"], "product");
}

#[on_both]
async fn concurrent_installations_count_exactly(world: World) {
    let preset = guardrail(&world, "pii").await;
    let scout = agent(&world, "Scout", &[&preset]).await;
    let body = json!({"kind": "listing", "name": "Scout", "parent_id": scout, "is_public": true});
    let listing = id(&resource(&world, body).await);
    let mut people = Vec::new();
    for n in 0..8 {
        let body = json!({"email": format!("p{n}@x.example")});
        let made = world.post(world.org("/users"), body).await.expect(201);
        people.push(made["user"]["id"].as_str().unwrap().to_owned());
    }
    let path = world.org(&format!("/marketplace/{listing}/installation"));
    // Each person twice.
    let requests = (0..16).map(|n| world.put(&path, json!({"user": people[n % 8]})));
    let requests: Vec<_> = requests.map(Box::pin).collect();
    let mut statuses: Vec<u16> = join_all(requests).await.iter().map(|one| one.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 8], [201; 8]].concat());
    // An organization 16 times at once: one copy.
    let own = own_guardrail(&world, "own").await;
    let path = at(&listing, "installation");
    let requests = (0..16).map(|_| Box::pin(world.put(&path, json!({"guardrails": [own]}))));
    let answers = join_all(requests.collect::<Vec<_>>()).await;
    let mut statuses: Vec<u16> = answers.iter().map(|one| one.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [vec![200; 15], vec![201]].concat());
    let copies: std::collections::BTreeSet<String> =
        answers.iter().map(|one| id(&one.json()["copy"])).collect();
    assert_eq!(copies.len(), 1);
    let found = world.get(format!("/resources/{listing}")).await.expect(200);
    assert_eq!(found["installations"], 9);
}

/// The fold's facts are one statement, and the page another one.
#[on_both]
async fn page_costs_two_statements(world: World) {
    for n in 0..50 {
        let body = json!({"kind": "connection", "name": format!("C{n}"), "spec": {"type": "mcp"}});
        let connection = id(&resource(&world, body).await);
        let body = json!({"kind": "listing", "name": format!("C{n}"), "parent_id": connection});
        resource(&world, body).await;
    }
    // A list of one statement is the measure.
    let one = statements_of(&world, "/memberships").await;
    let page = format!("/marketplace?user={}&limit=50", world.acme.user);
    assert_eq!(statements_of(&world, &page).await, one + 1);
}
