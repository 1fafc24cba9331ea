use chrono::{SecondsFormat, TimeDelta};
use serde_json::{Value, json};

use super::{IdentityProvider, encoded, error, id, only};
use crate::world::{World, on_both};

fn group(name: &str, members: &[&str]) -> Value {
    let members: Vec<Value> = members.iter().map(|id| json!({"value": id})).collect();
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "displayName": name, "externalId": format!("id-of-{name}"), "members": members,
    })
}

/// The names of a group's members.
async fn members(provider: &IdentityProvider, path: &str) -> Vec<String> {
    let group = provider.get(path).await.expect(200);
    let members = group["members"].as_array().cloned().unwrap_or_default();
    let names = members.iter().map(|member| member["display"].as_str().unwrap().to_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[on_both]
async fn group_is_created_with_members_and_found(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let anna = provider.user("anna@new.example").await;
    let answer = provider.post("/Groups", group("Engineering", &[&anna])).await;
    let (location, tag) = (answer.header("location").to_owned(), answer.header("etag").to_owned());
    let made = answer.expect(201);
    let now = world.clock.now().to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let base = format!("https://cp.example{}", provider.base);
    let expected = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "id": made["id"], "displayName": "Engineering", "externalId": "id-of-Engineering",
        "members": [{
            "value": anna, "type": "User", "display": "anna@new.example",
            "$ref": format!("{base}/Users/{anna}"),
        }],
        "meta": {
            "resourceType": "Group", "created": now, "lastModified": now, "version": tag,
            "location": format!("{base}/Groups/{}", id(&made)),
        },
    });
    assert_eq!(made, expected);
    assert_eq!(json!(location), made["meta"]["location"]);
    let path = format!("/Groups/{}", id(&made));
    assert_eq!(provider.get(&path).await.expect(200), made);
    // It is a group of the product.
    let known = world.get(format!("/groups/{}", id(&made))).await.expect(200);
    assert_eq!((&known["slug"], &known["parent_id"]), (&json!("engineering"), &Value::Null));
    let mut least = made.clone();
    least.as_object_mut().unwrap().remove("members");
    least["meta"].as_object_mut().unwrap().remove("version");
    for filter in [
        "displayName eq \"ENGINEERING\"".to_owned(),
        "externalId eq \"id-of-Engineering\"".to_owned(),
        format!("id eq \"{}\" and members[value eq \"{anna}\"]", id(&made)),
        format!("members eq \"{anna}\""),
    ] {
        let query = format!("/Groups?filter={}", encoded(&filter));
        assert_eq!(only(provider.get(&query).await), made, "{filter}");
        let query = format!("{query}&excludedAttributes=members");
        assert_eq!(only(provider.get(&query).await), least, "{filter}");
    }
    let path = format!("{path}?excludedAttributes=members");
    assert_eq!(provider.get(&path).await.expect(200), least);
    assert_eq!(provider.get("/Groups").await.expect(200)["totalResults"], 3);
    let refused = provider.get("/Groups?filter=slug%20eq%20%22a%22").await.expect(400);
    let detail = "`filter` can compare only these attributes: id, displayName, externalId, \
                  members.value.";
    assert_eq!(refused, error(400, Some("invalidFilter"), detail));
}

#[on_both]
async fn members_are_added_and_removed(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let anna = provider.user("anna@new.example").await;
    let bert = provider.user("bert@new.example").await;
    let made = provider.post("/Groups", group("Engineering", &[])).await.expect(201);
    let path = format!("/Groups/{}", id(&made));
    for (operation, expected) in [
        (
            json!({"op": "Add", "path": "members", "value": [{"value": anna}, {"value": bert}]}),
            &["anna@new.example", "bert@new.example"][..],
        ),
        (
            json!({"op": "add", "path": "members", "value": [{"value": anna}]}),
            &["anna@new.example", "bert@new.example"],
        ),
        (
            json!({"op": "remove", "path": format!("members[value eq \"{anna}\"]")}),
            &["bert@new.example"],
        ),
        (json!({"op": "Remove", "path": "members", "value": [{"value": bert}]}), &[]),
        (
            json!({"op": "replace", "value": {"id": id(&made), "displayName": "Builders",
                   "members": [{"value": anna}]}}),
            &["anna@new.example"],
        ),
    ] {
        let events = world.count_events().await;
        let answer = provider.patch(&path, json!([operation])).await;
        assert_eq!((answer.status, answer.text().as_str()), (204, ""), "{operation}");
        assert_eq!(world.count_events().await, events + 1);
        assert_eq!(members(&provider, &path).await, expected, "{operation}");
    }
    assert_eq!(provider.get(&path).await.expect(200)["displayName"], "Builders");
    let replaced = provider.put(&path, group("Builders", &[&bert])).await.expect(200);
    assert_eq!(replaced["members"][0]["value"], json!(bert));
    // A PUT without members is not about them; one with an empty list is.
    let body = json!({"displayName": "Crew"});
    assert_eq!(provider.put(&path, body).await.expect(200)["members"], replaced["members"]);
    world.pass(TimeDelta::milliseconds(1));
    let emptied = provider.put(&path, group("Crew", &[])).await.expect(200);
    assert_eq!(emptied.get("members"), None);
    let event = world.get("/audit?limit=1").await.expect(200)["items"][0].clone();
    assert_eq!(event["action"], "scim.replace_group");
    assert_eq!(event["before"]["members"][0]["value"], json!(bert));
    provider.delete(&path).await.expect(204);
    provider.get(&path).await.expect(404);
    world.get(format!("/groups/{}", id(&made))).await.refused(404, "not_found");
}

#[on_both]
async fn invalid_groups_are_refused(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let anna = provider.user("anna@new.example").await;
    provider.post("/Groups", group("Engineering", &[])).await.expect(201);
    let stranger = world.acme.stranger.as_str();
    let unknown = |id: &str| {
        format!("`members.value` must be the ID of a user of the organization (got \"{id}\").")
    };
    for (body, status, scim_type, detail) in [
        (json!({}), 400, "invalidValue", "`displayName` is required.".to_owned()),
        (
            json!({"displayName": "Engineering"}),
            409,
            "uniqueness",
            "`displayName` is already used by another group of the organization.".to_owned(),
        ),
        (
            json!({"displayName": "A", "members": [{"value": stranger}]}),
            400,
            "invalidValue",
            unknown(stranger),
        ),
        (
            json!({"displayName": "A", "members": [{"value": "7"}]}),
            400,
            "invalidValue",
            unknown("7"),
        ),
        (
            json!({"displayName": "A", "members": [{"value": anna, "type": "Group"}]}),
            400,
            "invalidValue",
            "`members.type` must be User: a group has no groups as members.".to_owned(),
        ),
    ] {
        let refused = provider.post("/Groups", body.clone()).await.expect(status);
        assert_eq!(refused, error(status, Some(scim_type), &detail), "{body}");
    }
    let mut same = group("Other", &[]);
    same["externalId"] = json!("id-of-Engineering");
    let taken = "`externalId` is already used by another group of the organization.";
    let taken = error(409, Some("uniqueness"), taken);
    assert_eq!(provider.post("/Groups", same).await.expect(409), taken);
    let other = id(&provider.post("/Groups", json!({"displayName": "Other"})).await.expect(201));
    let operation = json!([{"op": "add", "path": "externalId", "value": "id-of-Engineering"}]);
    let refused = provider.patch(&format!("/Groups/{other}"), operation).await;
    assert_eq!(refused.expect(409), taken);
    // A name that differs only by its punctuation has another slug.
    let made = provider.post("/Groups", json!({"displayName": "Engineering!"})).await.expect(201);
    let known = world.get(format!("/groups/{}", id(&made))).await.expect(200);
    assert_eq!(known["slug"], "engineering-2");
    let made = provider.post("/Groups", json!({"displayName": "!!!"})).await.expect(201);
    let known = world.get(format!("/groups/{}", id(&made))).await.expect(200);
    assert!(known["slug"].as_str().unwrap().starts_with("group-"), "{known}");
    let many: Vec<Value> = (0..1001).map(|_| json!({"value": anna})).collect();
    let refused = provider.post("/Groups", json!({"displayName": "A", "members": many})).await;
    assert_eq!(refused.expect(400)["scimType"], "invalidSyntax");
    // A group with groups below it stays.
    let parent = json!({"name": "Child", "parent_id": world.acme.group});
    world.post(world.org("/groups"), parent).await.expect(201);
    let refused = provider.delete(&format!("/Groups/{}", world.acme.group)).await.expect(409);
    let detail = "Other objects refer to this object; delete or move them first.";
    assert_eq!(refused, error(409, None, detail));
}

#[on_both]
async fn member_gets_what_the_group_grants_only_from_a_token_that_holds_it(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let anna = provider.user("anna@new.example").await;
    let path = format!("/Groups/{}", world.acme.group);
    let operation = json!([{"op": "add", "path": "members", "value": [{"value": anna}]}]);
    // The group is a member of a project.
    let refused = provider.patch(&path, operation.clone()).await.expect(403);
    assert_eq!(refused["status"], "403");
    assert!(refused["detail"].as_str().unwrap().contains("runs:write"), "{refused}");
    let all = IdentityProvider::with(&world, &crate::world::everything()).await;
    all.patch(&path, operation).await.expect(204);
    assert_eq!(members(&provider, &path).await, ["anna@new.example", "mats@acme.example"]);
}
