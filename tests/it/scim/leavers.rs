//! Who leaves loses access at once, and comes back as the same user.

use cp_server::identity::login_caller::Login;
use serde_json::{Value, json};

use super::{IdentityProvider, error, id, user};
use crate::world::{Client, World, on_both};

/// A login at acme's own provider, with a verified address.
fn login(world: &World, email: &str) -> Client {
    let mut login: Login = world.login(email);
    login.organization = Some(world.acme.org.parse().unwrap());
    login.provider = "corp".into();
    login.email = Some(email.to_owned());
    world.anyone().person(&world.app, login)
}

fn whoami(email: &str) -> String {
    format!("/users/whoami?provider=corp&subject={email}&email={email}")
}

/// The person's seats in the organization, with their status and role.
async fn seats(world: &World, user: &str) -> Vec<String> {
    let seats = world.get(world.org(&format!("/memberships?user_id={user}"))).await.expect(200);
    let seat = |seat: &Value| {
        let (status, role) = (seat["status"].as_str(), seat["role"]["code"].as_str());
        format!("{} {}", status.unwrap(), role.unwrap())
    };
    seats["items"].as_array().unwrap().iter().map(seat).collect()
}

/// The people in a group.
async fn members(world: &World, group: &str) -> Vec<String> {
    let members = world.get(format!("/groups/{group}/members")).await.expect(200);
    let members = members["items"].as_array().unwrap().iter();
    members.map(|seat| seat["user_id"].as_str().unwrap().to_owned()).collect()
}

/// The organization is closed to the person.
async fn refuses(person: &Client, world: &World) {
    let answer = person.get(world.org("")).await;
    assert!([403, 404].contains(&answer.status), "{}", answer.text());
}

async fn group(provider: &IdentityProvider, name: &str, member: &str) -> String {
    let body = json!({"displayName": name, "members": [{"value": member}]});
    id(&provider.post("/Groups", body).await.expect(201))
}

#[on_both]
async fn leaver_loses_access_at_once_and_comes_back_as_the_same_user(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let email = "anna@new.example";
    let anna = provider.user(email).await;
    let team = group(&provider, "Engineering", &anna).await;
    // The first login takes the offered seats.
    let data_plane = world.by(&world.acme.deployment_token);
    data_plane.get(whoami(email)).await.expect(200);
    assert_eq!(seats(&world, &anna).await, ["active ORGANIZATION_VIEWER"]);
    assert_eq!(members(&world, &team).await, [&*anna]);
    let person = login(&world, email);
    person.get(world.org("")).await.expect(200);
    let limit = json!({"metric": "calls", "quantity": 5, "scope": format!("user:{anna}")});
    world.put(world.org("/limits"), limit).await.expect(201);

    let left = provider.set_active(&anna, false).await.expect(200);
    assert_eq!((&left["active"], &left["id"]), (&json!(false), &json!(anna)));
    // The cached answers of this replica ended with the request.
    data_plane.get(whoami(email)).await.refused(404, "identity_unknown");
    refuses(&person, &world).await;
    person.get("/me").await.refused(403, "forbidden");
    assert_eq!(seats(&world, &anna).await, [""; 0]);
    let limits = world.get(world.org("/limits")).await.expect(200);
    assert!(!limits.to_string().contains(&anna), "{limits}");
    let event = world.get("/audit?action=scim.update_user").await.expect(200)["items"][0].clone();
    assert_eq!(
        (&event["action"], &event["target_id"]),
        (&json!("scim.update_user"), &json!(format!("{}/{anna}", world.acme.org)))
    );
    assert_eq!(
        (&event["before"]["active"], &event["after"]["active"]),
        (&json!(true), &json!(false))
    );
    let left_behind = json!({"service_tokens": [], "invitations": []});
    assert_eq!(event["after"]["left_behind"], left_behind);

    // The provider still finds the user, and the user in the group.
    assert_eq!(provider.find(&format!("userName eq \"{email}\"")).await["active"], false);
    let shown = provider.get(&format!("/Groups/{team}")).await.expect(200);
    assert_eq!(shown["members"][0]["value"], json!(anna));
    // A repetition changes nothing.
    assert_eq!(provider.set_active(&anna, false).await.expect(200), left);

    let back = provider.set_active(&anna, true).await.expect(200);
    assert_eq!((&back["active"], &back["id"]), (&json!(true), &json!(anna)));
    assert_eq!(seats(&world, &anna).await, ["active ORGANIZATION_VIEWER"]);
    assert_eq!(members(&world, &team).await, [&*anna]);
    data_plane.get(whoami(email)).await.expect(200);
    person.get(world.org("")).await.expect(200);
}

#[on_both]
async fn other_replica_refuses_the_leaver(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let mats = world.person("auth0|mats-acme");
    let (app, other) = world.replica().await;
    let there = other.person(&app, world.login("auth0|mats-acme"));
    mats.get(world.org("")).await.expect(200);
    there.get(world.org("")).await.expect(200);
    provider.delete(&format!("/Users/{}", world.acme.user)).await.expect(204);
    refuses(&mats, &world).await;
    refuses(&there, &world).await;
}

#[on_both]
async fn admin_leaves_although_the_token_holds_less(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let mats = world.person("auth0|mats-acme");
    let token = json!({"name": "ci", "permissions": ["org:read"]});
    let token = mats.post(world.org("/service-tokens"), token).await.expect(201);
    let mut body = user("mats@acme.example");
    body["active"] = json!("False");
    let path = format!("/Users/{}", world.acme.user);
    assert_eq!(provider.put(&path, body).await.expect(200)["active"], false);
    refuses(&mats, &world).await;
    let event = world.get("/audit?action=scim.replace_user").await.expect(200)["items"][0].clone();
    assert_eq!(event["after"]["left_behind"]["service_tokens"], json!([token["id"]]));
    // Back, with the role of a viewer: the token does not hold more.
    let operations = json!([{"op": "Replace", "path": "active", "value": "True"}]);
    let refused = provider.patch(&path, operations.clone()).await;
    // The groups of an admin grant more than the token holds.
    assert_eq!(refused.expect(403)["status"], "403");
    let all = IdentityProvider::with(&world, &crate::world::everything()).await;
    all.patch(&path, operations).await.expect(200);
    let me = mats.get("/me").await.expect(200);
    assert!(me["roles"].as_array().unwrap().contains(&json!("ORGANIZATION_VIEWER")), "{me}");
    assert!(!me["roles"].as_array().unwrap().contains(&json!("ORGANIZATION_ADMIN")), "{me}");
}

#[on_both]
async fn owner_stays(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let path = format!("/Users/{}", world.acme.owner);
    let events = world.count_events().await;
    let detail = "Cannot remove owner. Transfer the ownership to another member first.";
    let expected = error(409, None, detail);
    assert_eq!(provider.set_active(&world.acme.owner, false).await.expect(409), expected);
    assert_eq!(provider.delete(&path).await.expect(409), expected);
    let body = json!({"userName": "olga@acme.example", "active": false});
    assert_eq!(provider.put(&path, body.clone()).await.expect(409), expected);
    assert_eq!(provider.post("/Users", body).await.expect(409), expected);
    assert_eq!(world.count_events().await, events);
    world.person("auth0|olga-acme").get(world.org("")).await.expect(200);
}

#[on_both]
async fn deleted_user_is_gone_and_may_be_created_again(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let anna = provider.user("anna@new.example").await;
    let team = group(&provider, "Engineering", &anna).await;
    let path = format!("/Users/{anna}");
    provider.delete(&path).await.expect(204);
    assert_eq!(provider.get(&path).await.expect(404), error(404, None, "user not found"));
    provider.delete(&path).await.expect(404);
    provider.set_active(&anna, true).await.expect(404);
    let shown = provider.get(&format!("/Groups/{team}")).await.expect(200);
    assert_eq!(shown.get("members"), None);
    // The person has the same ID, and no group.
    assert_eq!(provider.user("anna@new.example").await, anna);
    let shown = provider.get(&format!("/Groups/{team}")).await.expect(200);
    assert_eq!(shown.get("members"), None);
}

#[on_both]
async fn user_who_is_not_active_waits_for_the_return(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let mut body = user("anna@new.example");
    body["active"] = json!(false);
    let made = provider.post("/Users", body).await.expect(201);
    let anna = id(&made);
    assert_eq!(made["active"], false);
    let seats = world.get(world.org(&format!("/memberships?user_id={anna}"))).await.expect(200);
    assert_eq!(seats["items"], json!([]));
    let (first, second) =
        (group(&provider, "First", &anna).await, group(&provider, "Second", &anna).await);
    let operations = json!([{"op": "remove", "path": format!("members[value eq \"{anna}\"]")}]);
    provider.patch(&format!("/Groups/{first}"), operations).await.expect(204);
    let seats = world.get(world.org(&format!("/memberships?user_id={anna}"))).await.expect(200);
    assert_eq!(seats["items"], json!([]), "a group gives no seat of the organization");
    provider.set_active(&anna, true).await.expect(200);
    let seated = async |group: &str| {
        let members = world.get(format!("/groups/{group}/members")).await.expect(200);
        members["items"].as_array().unwrap().len()
    };
    assert_eq!((seated(&first).await, seated(&second).await), (0, 1));
    assert!(provider.is_active(&anna).await);
}

#[on_both]
async fn member_who_leaves_by_other_means_is_not_active(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let anna = provider.user("anna@new.example").await;
    login(&world, "anna@new.example").get("/me").await.expect(200);
    let seats = world.get(world.org(&format!("/memberships?user_id={anna}"))).await.expect(200);
    let seat = format!("/memberships/{}", id(&seats["items"][0]));
    login(&world, "anna@new.example").delete(&seat).await.expect(204);
    assert!(!provider.is_active(&anna).await);
    // The person left, so a return is an offer.
    provider.set_active(&anna, true).await.expect(200);
    let seats = world.get(world.org(&format!("/memberships?user_id={anna}"))).await.expect(200);
    assert_eq!(seats["items"][0]["status"], "invited");
}

#[on_both]
async fn erasure_of_a_person_removes_what_the_provider_said(world: World) {
    let provider = IdentityProvider::of_acme(&world).await;
    let mut body = user("anna@new.example");
    body["name"] = json!({"givenName": "Anna", "familyName": "Schmidt"});
    let anna = id(&provider.post("/Users", body).await.expect(201));
    world.post("/audit/erasures", json!({"user": anna})).await.expect(201);
    assert_eq!(world.value::<i64>("SELECT COUNT(*) FROM scim_users").await, 0);
}
