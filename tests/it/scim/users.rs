use chrono::SecondsFormat;
use serde_json::{Value, json};

use super::{IdentityProvider, encoded, error, id, only, user};
use crate::world::{World, on_both};

/// The user without the version, which the entity tag repeats.
fn without_version(mut user: Value) -> Value {
    let version = user["meta"].as_object_mut().unwrap().remove("version").unwrap();
    assert!(version.as_str().unwrap().starts_with('"'), "{version}");
    user
}

#[on_both]
async fn user_is_created_read_and_found(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let events = world.count_events().await;
    let answer = provider.post("/Users", user("Anna@new.example")).await;
    let (location, tag) = (answer.header("location").to_owned(), answer.header("etag").to_owned());
    let made = answer.expect(201);
    assert_eq!(world.count_events().await, events + 1);
    assert_eq!(made["meta"]["version"], json!(tag));
    let now = world.clock.now().to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let anna = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "id": made["id"], "externalId": "id-of-Anna@new.example", "userName": "Anna@new.example",
        "active": true,
        "name": {"formatted": "Anna Berg", "familyName": "Berg", "givenName": "Anna"},
        "emails": [{"primary": true, "type": "work", "value": "Anna@new.example"}],
        "meta": {
            "resourceType": "User", "created": now, "lastModified": now,
            "location": format!("https://cp.example{}/Users/{}", provider.base, id(&made)),
        },
    });
    assert_eq!(json!(location), anna["meta"]["location"]);
    assert_eq!(without_version(made.clone()), anna);
    let path = format!("/Users/{}", id(&made));
    let read = provider.get(&path).await;
    assert_eq!(read.header("etag"), tag);
    assert_eq!(read.expect(200), made);
    let known = provider.with_header("if-none-match", &tag).get(&path).await;
    assert_eq!((known.status, known.text().as_str()), (304, ""));
    let provider = IdentityProvider::of_acme(&world).await;
    for filter in [
        "userName eq \"anna@NEW.example\"".to_owned(),
        "externalId eq \"id-of-Anna@new.example\"".to_owned(),
        "emails.value eq \"anna@new.example\"".to_owned(),
        "emails[type eq \"work\" and value eq \"anna@new.example\"] and active eq true".to_owned(),
        format!("id eq \"{}\"", id(&made)),
    ] {
        let list = provider.get(&format!("/Users?filter={}", encoded(&filter))).await.expect(200);
        let expected = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
            "totalResults": 1, "startIndex": 1, "itemsPerPage": 1, "Resources": [made],
        });
        assert_eq!(list, expected, "{filter}");
    }
    for filter in ["userName eq \"x\"", "externalId eq \"ID-OF-anna@new.example\"", "id eq \"x\""] {
        let list = provider.get(&format!("/Users?filter={}", encoded(filter))).await.expect(200);
        assert_eq!(list["totalResults"], 0, "{filter}");
    }
    // The seat is one of a viewer, and the person accepts it.
    let seats = world.get(world.org(&format!("/memberships?user_id={}", id(&made)))).await;
    let seat = &seats.expect(200)["items"][0];
    assert_eq!(
        (&seat["role"]["code"], &seat["status"]),
        (&json!("ORGANIZATION_VIEWER"), &json!("invited"))
    );
    let person = world.get(format!("/users/{}", id(&made))).await.expect(200);
    assert_eq!(person["display_name"], "Anna Berg");
}

#[on_both]
async fn members_who_were_there_before_are_users(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let list = provider.get("/Users").await.expect(200);
    assert_eq!(list["totalResults"], 2, "{list}");
    let mats = provider.find("userName eq \"mats@acme.example\"").await;
    assert_eq!(mats["id"], json!(world.acme.user));
    assert_eq!(
        mats["emails"],
        json!([{"value": "mats@acme.example", "type": "work", "primary": true}])
    );
    // A provider that creates the person describes them; the seat stays as it was.
    let mut body = user("mats@acme.example");
    body["userName"] = json!("mats");
    let made = provider.post("/Users", body.clone()).await.expect(201);
    assert_eq!((&made["id"], &made["userName"]), (&mats["id"], &json!("mats")));
    let seat = world.get(format!("/memberships/{}", world.acme.membership)).await.expect(200);
    assert_eq!(seat["role"]["code"], "ORGANIZATION_ADMIN");
    let again = provider.post("/Users", body).await;
    let detail = "The organization has a user for this person already.";
    assert_eq!(again.expect(409), error(409, Some("uniqueness"), detail));
    let person = world.get(format!("/users/{}", world.acme.user)).await.expect(200);
    assert_eq!(person["display_name"], "mats", "the name of a person who has one stays");
}

#[on_both]
async fn names_of_users_are_unique_in_the_organization(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let anna = provider.user("anna@new.example").await;
    let mut other = user("other@new.example");
    other["userName"] = json!("ANNA@new.example");
    let taken = "`userName` is already used by another user of the organization.";
    let refused = provider.post("/Users", other.clone()).await.expect(409);
    assert_eq!(refused, error(409, Some("uniqueness"), taken));
    other["userName"] = json!("mats@acme.example");
    let refused = provider.post("/Users", other.clone()).await.expect(409);
    assert_eq!(refused, error(409, Some("uniqueness"), taken));
    other["userName"] = json!("other@new.example");
    other["externalId"] = json!("id-of-anna@new.example");
    let refused = provider.post("/Users", other).await.expect(409);
    let taken = "`externalId` is already used by another user of the organization.";
    assert_eq!(refused, error(409, Some("uniqueness"), taken));
    let operation = json!([{"op": "replace", "path": "userName", "value": "mats@acme.example"}]);
    provider.patch(&format!("/Users/{anna}"), operation).await.expect(409);
    // Another organization has its own.
    IdentityProvider::of_globex(&world).user("anna@new.example").await;
}

#[on_both]
async fn invalid_users_are_refused(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let events = world.count_events().await;
    for (body, scim_type, detail) in [
        (json!({}), "invalidValue", "`userName` is required."),
        (
            json!({"userName": "anna"}),
            "invalidValue",
            "`emails` is required, because `userName` is not an e-mail address.",
        ),
        (
            json!({"userName": "a", "emails": [{"value": "x"}]}),
            "invalidValue",
            "`emails.value` must be an e-mail address such as anna@example.com.",
        ),
        (
            json!({"userName": "a@b.example", "active": "maybe"}),
            "invalidValue",
            "`active` must be true or false.",
        ),
        (
            json!({"userName": "a@b.example", "name": "Anna"}),
            "invalidValue",
            "`name` must be an object.",
        ),
        (
            json!({"userName": "x".repeat(256)}),
            "invalidValue",
            "`userName` must have 1 to 255 characters (got 256).",
        ),
    ] {
        let refused = provider.post("/Users", body.clone()).await.expect(400);
        assert_eq!(refused, error(400, Some(scim_type), detail), "{body}");
    }
    let many: Vec<Value> = (0..21).map(|n| json!({"value": format!("a{n}@b.example")})).collect();
    let refused = provider.post("/Users", json!({"userName": "a@b.example", "emails": many})).await;
    let detail = "`emails` must have at most 20 items (got 21).";
    assert_eq!(refused.expect(400), error(400, Some("invalidValue"), detail));
    let large = json!({"userName": "a@b.example", "title": "x".repeat(300_000)});
    let refused = provider.post("/Users", large).await.expect(413);
    assert_eq!(refused, error(413, None, "The body must have at most 262144 bytes."));
    let refused = provider.get("/Users?filter=userName%20co%20%22a%22").await.expect(400);
    let detail = "`filter` must be comparisons with `eq` that `and` joins, such as userName eq \
                  \"anna@example.com\".";
    assert_eq!(refused, error(400, Some("invalidFilter"), detail));
    let refused = provider.get("/Users?filter=title%20eq%20%22a%22").await.expect(400);
    let detail = "`filter` can compare only these attributes: id, userName, externalId, \
                  emails.value, active.";
    assert_eq!(refused, error(400, Some("invalidFilter"), detail));
    let refused = provider.get("/Users?attributes=id&excludedAttributes=name").await.expect(400);
    assert_eq!(refused["scimType"], "invalidValue");
    let refused = provider.get("/Users?count=many").await.expect(400);
    assert_eq!(refused["scimType"], "invalidValue");
    assert_eq!(world.count_events().await, events);
}

#[on_both]
async fn lists_are_cut_into_pages(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    for n in 0..5 {
        provider.user(&format!("person{n}@new.example")).await;
    }
    let all = provider.get("/Users").await.expect(200);
    assert_eq!((&all["totalResults"], &all["itemsPerPage"]), (&json!(7), &json!(7)));
    let mut seen = Vec::new();
    for start in [1, 4, 7] {
        let page = provider.get(&format!("/Users?startIndex={start}&count=3")).await.expect(200);
        assert_eq!((&page["totalResults"], &page["startIndex"]), (&json!(7), &json!(start)));
        seen.extend(page["Resources"].as_array().unwrap().clone());
    }
    assert_eq!(json!(seen), all["Resources"]);
    for (query, size) in
        [("startIndex=0&count=1000", 7), ("count=0", 0), ("count=-1", 0), ("startIndex=8", 0)]
    {
        let page = provider.get(&format!("/Users?{query}")).await.expect(200);
        assert_eq!(page["totalResults"], 7, "{query}");
        assert_eq!(page["itemsPerPage"], size, "{query}");
    }
}

#[on_both]
async fn response_has_the_attributes_that_are_asked_for(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let made =
        provider.post("/Users?attributes=userName", user("anna@new.example")).await.expect(201);
    let schemas = json!(["urn:ietf:params:scim:schemas:core:2.0:User"]);
    let least = json!({"schemas": schemas, "id": made["id"], "userName": "anna@new.example"});
    assert_eq!(made, least);
    let path = format!("/Users/{}", id(&made));
    assert_eq!(provider.get(&format!("{path}?attributes=USERNAME")).await.expect(200), least);
    let urn = "urn:ietf:params:scim:schemas:core:2.0:User:name.givenName";
    let part = provider.get(&format!("{path}?attributes={urn}")).await.expect(200);
    let expected = json!({"schemas": schemas, "id": made["id"], "name": {"givenName": "Anna"}});
    assert_eq!(part, expected);
    let query = "excludedAttributes=meta,emails.primary,name,id";
    let filter = encoded("userName eq \"anna@new.example\"");
    let listed = only(provider.get(&format!("/Users?{query}&filter={filter}")).await);
    let expected = json!({
        "schemas": schemas, "id": made["id"], "userName": "anna@new.example", "active": true,
        "externalId": "id-of-anna@new.example",
        "emails": [{"type": "work", "value": "anna@new.example"}],
    });
    assert_eq!(listed, expected);
}

#[on_both]
async fn user_is_replaced_and_patched(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let anna = provider.user("anna@new.example").await;
    let path = format!("/Users/{anna}");
    let before = provider.get(&path).await.expect(200);
    // The same again changes nothing.
    world.pass(chrono::TimeDelta::seconds(5));
    assert_eq!(provider.put(&path, user("anna@new.example")).await.expect(200), before);
    let operations = json!([
        {"op": "Replace", "path": "emails[type eq \"work\"].value", "value": "berg@new.example"},
        {"op": "Add", "path": "displayName", "value": "Dr. Berg"},
        {"op": "Remove", "path": "name.givenName"},
        {"op": "Add", "path": "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department",
         "value": "Sales"},
    ]);
    let patched = provider.patch(&path, operations).await.expect(200);
    let now = world.clock.now().to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let mut expected = before.clone();
    expected["displayName"] = json!("Dr. Berg");
    expected["emails"][0]["value"] = json!("berg@new.example");
    expected["name"] = json!({"formatted": "Anna Berg", "familyName": "Berg"});
    expected["meta"]["lastModified"] = json!(now);
    assert_eq!(without_version(patched.clone()), without_version(expected));
    // The record of the platform stays.
    let person = world.get(format!("/users/{anna}")).await.expect(200);
    assert_eq!(person["email"], "anna@new.example");
    assert_eq!(provider.find("emails.value eq \"berg@new.example\"").await, patched);
    // What a PUT lacks is removed, but not the person.
    let body = json!({"userName": "berg"});
    let replaced = provider.put(&path, body).await.expect(200);
    let expected = json!({
        "schemas": before["schemas"], "id": anna, "userName": "berg", "active": true,
        "emails": [{"value": "anna@new.example", "type": "work", "primary": true}],
        "meta": {
            "resourceType": "User", "created": before["meta"]["created"], "lastModified": now,
            "location": before["meta"]["location"],
        },
    });
    assert_eq!(without_version(replaced), expected);
    provider.put("/Users/01900000-0000-7000-8000-000000000000", json!({})).await.expect(404);
}

#[on_both]
async fn change_of_an_outdated_user_is_refused(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let path = format!("/Users/{}", provider.user("anna@new.example").await);
    let answer = provider.get(&path).await;
    let tag = answer.header("etag").to_owned();
    let provider = provider.with_header("if-match", &tag);
    let operation = |name| json!([{"op": "replace", "path": "displayName", "value": name}]);
    provider.patch(&path, operation("A")).await.expect(200);
    let refused = provider.patch(&path, operation("B")).await.expect(412);
    let detail = "The object has changed since `If-Match` was read; read it again and retry.";
    assert_eq!(refused, error(412, None, detail));
}

#[on_both]
async fn repeated_request_with_a_key_creates_one_user(world: World) {
    let provider = IdentityProvider::of_acme(&world).await.with_header("idempotency-key", "k");
    let made = provider.post("/Users", user("anna@new.example")).await.expect(201);
    assert_eq!(provider.post("/Users", user("anna@new.example")).await.expect(201), made);
}
