//! The provider of one organization learns nothing about the people of another one, and changes none.

use serde_json::{Value, json};

use super::{IdentityProvider, encoded, error, user};
use crate::sweep::examples::UNKNOWN_ID;
use crate::world::{World, on_both};

#[on_both]
async fn person_of_another_organization_is_offered_a_seat_and_stays_the_same(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let globex = &world.globex;
    let person = async || world.get(format!("/users/{}", globex.user)).await.expect(200);
    let before = person().await;
    // The answer is that for a new person.
    let blank = |email: &str, body: &Value| body.to_string().replace(email, "EMAIL");
    let known = provider.post("/Users", user("mats@globex.example")).await.expect(201);
    let new = provider.post("/Users", user("none@globex.example")).await.expect(201);
    let shape = |email: &str, body: &Value| {
        let mut body = body.clone();
        let id = body["id"].as_str().unwrap().to_owned();
        body["meta"].as_object_mut().unwrap().remove("version");
        blank(email, &body).replace(&id, "ID")
    };
    assert_eq!(shape("mats@globex.example", &known), shape("none@globex.example", &new));
    // The person decides about the seat.
    let mats = world.person("auth0|mats-globex");
    mats.get(world.org("")).await.refused(404, "not_found");
    let path = format!("/Users/{}", globex.user);
    let operations = json!([
        {"op": "replace", "path": "userName", "value": "taken@acme.example"},
        {"op": "replace", "path": "displayName", "value": "Taken"},
        {"op": "replace", "path": "emails", "value": [{"value": "taken@acme.example"}]},
        {"op": "replace", "path": "active", "value": false},
    ]);
    provider.patch(&path, operations).await.expect(200);
    assert_eq!(person().await, before);
    mats.get(format!("/organizations/{}", globex.org)).await.expect(200);
    let there = IdentityProvider::of_globex(&world);
    let shown = there.get(&path).await.expect(200);
    assert_eq!(
        (&shown["userName"], &shown["active"]),
        (&json!("mats@globex.example"), &json!(true))
    );
    provider.delete(&path).await.expect(204);
    mats.get(format!("/organizations/{}", globex.org)).await.expect(200);
}

#[on_both]
async fn resources_of_another_organization_are_missing(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let there = IdentityProvider::of_globex(&world);
    let anna = there.user("anna@globex.example").await;
    let users = [&world.globex.user, &world.globex.owner, &world.acme.stranger, &anna];
    let missing = error(404, None, "user not found");
    for user in users.into_iter().map(String::as_str).chain([UNKNOWN_ID]) {
        let path = format!("/Users/{user}");
        assert_eq!(provider.get(&path).await.expect(404), missing);
        assert_eq!(provider.put(&path, json!({"userName": "a"})).await.expect(404), missing);
        assert_eq!(provider.set_active(user, false).await.expect(404), missing);
        assert_eq!(provider.delete(&path).await.expect(404), missing);
    }
    let missing = error(404, None, "group not found");
    for group in [&*world.globex.group, UNKNOWN_ID] {
        let path = format!("/Groups/{group}");
        assert_eq!(provider.get(&path).await.expect(404), missing);
        assert_eq!(provider.put(&path, json!({"displayName": "a"})).await.expect(404), missing);
        let operation = json!([{"op": "replace", "path": "displayName", "value": "a"}]);
        assert_eq!(provider.patch(&path, operation).await.expect(404), missing);
        assert_eq!(provider.delete(&path).await.expect(404), missing);
    }
    for filter in [
        format!("/Users?filter={}", encoded("userName eq \"mats@globex.example\"")),
        format!("/Users?filter={}", encoded(&format!("id eq \"{anna}\""))),
        format!("/Groups?filter={}", encoded(&format!("members eq \"{anna}\""))),
        format!("/Groups?filter={}", encoded(&format!("id eq \"{}\"", world.globex.group))),
    ] {
        assert_eq!(provider.get(&filter).await.expect(200)["totalResults"], 0, "{filter}");
    }
    for user in [&world.globex.user, &world.acme.stranger] {
        let operation = json!([{"op": "add", "path": "members", "value": [{"value": user}]}]);
        let path = format!("/Groups/{}", world.acme.spare_group);
        provider.patch(&path, operation).await.expect(400);
    }
}

#[on_both]
async fn user_needs_a_token_that_holds_what_a_viewer_holds(world: World) {
    let least = IdentityProvider::with(&world, &["members:provision"]).await;
    let refused = least.post("/Users", user("anna@new.example")).await.expect(403);
    assert_eq!(refused["status"], "403");
    let provider = IdentityProvider::of_acme(&world).await;
    let anna = provider.user("anna@new.example").await;
    // Who may give nothing may still take: leavers must not stay.
    least.set_active(&anna, false).await.expect(200);
    least.set_active(&anna, true).await.expect(403);
    assert!(!provider.is_active(&anna).await);
    let reader = IdentityProvider::with(&world, &["members:write", "members:delete"]).await;
    reader.get("/Users").await.expect(403);
}

#[on_both]
async fn users_count_against_the_quota(world: World) {
    let set = world.put(world.org("/quotas/members"), json!({"quantity": 3})).await;
    assert!([200, 201].contains(&set.status), "{}", set.text());
    let provider = IdentityProvider::of_acme(&world).await;
    let anna = provider.user("anna@new.example").await;
    let refused = provider.post("/Users", user("bert@new.example")).await.expect(429);
    assert_eq!(refused["status"], "429");
    provider.set_active(&anna, false).await.expect(200);
    provider.user("bert@new.example").await;
    provider.set_active(&anna, true).await.expect(429);
}
