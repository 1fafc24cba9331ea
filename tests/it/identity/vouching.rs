//! Who vouches for whom: each authority for its own, and none for another's.

use cp_server::identity::login_caller::Login;
use serde_json::{Value, json};

use crate::world::{Client, World, on_both};

/// A login at a provider of the platform, with a verified address.
fn verified(world: &World, subject: &str, email: &str) -> Client {
    person(world, subject, |login| login.email = Some(email.into()))
}

/// A login at the organization's own provider `corp`.
fn of_organization(
    world: &World,
    organization: &str,
    subject: &str,
    email: Option<&str>,
) -> Client {
    person(world, subject, |login| {
        login.organization = Some(organization.parse().unwrap());
        login.provider = "corp".into();
        login.email = email.map(str::to_owned);
    })
}

fn person(world: &World, subject: &str, change: impl FnOnce(&mut Login)) -> Client {
    let mut login = world.login(subject);
    change(&mut login);
    world.anyone().person(&world.app, login)
}

fn whoami(provider: &str, subject: &str, email: &str) -> String {
    format!("/users/whoami?provider={provider}&subject={subject}&email={email}")
}

async fn seat(organization: &str, by: &Client, body: Value) -> Value {
    by.post(format!("/organizations/{organization}/memberships"), body).await.expect(201)
}

async fn last_event(world: &World, action: &str) -> Value {
    let events = world.get(format!("/audit?limit=1&action={action}")).await.expect(200);
    events["items"][0].clone()
}

fn olga(world: &World) -> Client {
    world.person("auth0|olga-acme")
}

#[on_both]
async fn a_link_of_an_organization_counts_in_that_organization_only(world: World) {
    let (acme, globex) = (&world.acme.org, &world.globex.org);
    let victim = json!({"email": "victim@new.example", "role": "viewer"});
    seat(acme, &olga(&world), victim.clone()).await;
    let data_plane = world.by(&world.acme.deployment_token);
    let known = data_plane.get(whoami("auth0", "evil", "victim@new.example")).await.expect(200);
    assert_eq!(known["memberships"], json!([]), "{known}");
    // Another organization, and the platform, do not hear of it.
    let other = world.person("auth0|olga-globex");
    seat(globex, &other, json!({"email": "victim@new.example", "role": "admin"})).await;
    for token in [&world.globex.deployment_token, &world.globex.token] {
        let found = world.by(token).get("/users/whoami?provider=auth0&subject=evil").await;
        found.refused(404, "identity_unknown");
    }
    world.get("/users/whoami?provider=auth0&subject=evil").await.refused(404, "identity_unknown");
    let evil = world.person("evil");
    evil.get(format!("/organizations/{globex}")).await.refused(403, "forbidden");
    let boss = json!({"email": "victim@new.example", "is_superadmin": true});
    world.post("/users", boss).await.expect(200);
    evil.get("/signing/keys").await.refused(403, "forbidden");
    // It vouches for no superadmin, not even at home.
    data_plane
        .get("/users/whoami?provider=auth0&subject=evil")
        .await
        .refused(404, "identity_unknown");
}

#[on_both]
async fn a_link_of_an_organization_blocks_neither_the_platform_nor_another_one(world: World) {
    let mule = |name: &str| json!({"email": format!("{name}@new.example"), "role": "viewer"});
    seat(&world.acme.org, &olga(&world), mule("mule")).await;
    seat(&world.globex.org, &world.person("auth0|olga-globex"), mule("other")).await;
    let link = whoami("auth0", "ceo", "mule@new.example");
    world.by(&world.acme.deployment_token).get(link).await.expect(200);
    let link = whoami("auth0", "ceo", "other@new.example");
    world.by(&world.globex.deployment_token).get(link).await.expect(200);
    let real = json!({"provider": "auth0", "subject": "ceo"});
    let user = format!("/users/{}/auth-accounts", world.acme.stranger);
    let linked = world.post(&user, real.clone()).await.expect(201);
    assert_eq!(linked["vouched_by"], Value::Null);
    world.post(&user, real).await.refused(409, "auth_account_taken");
    let me = world.person("ceo").get("/me").await.expect(200);
    assert_eq!(me["user_id"], json!(world.acme.stranger));
    // In each organization its own word still counts for its own grants.
    let known = world
        .by(&world.acme.deployment_token)
        .get("/users/whoami?provider=auth0&subject=ceo")
        .await
        .expect(200);
    assert_eq!(known["user"]["email"], "mule@new.example");
}

#[on_both]
async fn the_platform_may_link_for_one_organization(world: World) {
    let link = json!({
        "provider": "corp", "subject": "mats", "vouched_by": world.acme.org,
    });
    let accounts = format!("/users/{}/auth-accounts", world.acme.user);
    let linked = world.post(&accounts, link).await.expect(201);
    assert_eq!(linked["vouched_by"], json!(world.acme.org));
    let mats = of_organization(&world, &world.acme.org, "mats", None);
    let me = mats.get("/me").await.expect(200);
    assert_eq!(me["vouched_by"], json!(world.acme.org));
    assert_eq!(me["user_id"], json!(world.acme.user));
    assert_ne!(me["id"], json!(world.acme.user), "the principal is the user and the authority");
    of_organization(&world, &world.globex.org, "mats", None)
        .get("/me")
        .await
        .refused(403, "forbidden");
    let unknown = json!({"provider": "corp", "subject": "x", "vouched_by": world.acme.user});
    let problem = world.post(&accounts, unknown).await.refused(404, "not_found");
    assert_eq!(problem["field"], "vouched_by");
}

#[on_both]
async fn an_invited_person_is_linked_at_the_first_login(world: World) {
    let invitation = json!({"email": "New@new.example", "role": "member"});
    olga(&world).post(world.org("/invitations"), invitation).await.expect(201);
    // An address that is not verified is worth nothing.
    world.person("auth0|new").get("/me").await.refused(403, "forbidden");
    let events = world.count_events().await;
    let new = verified(&world, "auth0|new", "new@NEW.example");
    let me = new.get("/me").await.expect(200);
    assert_eq!(me["roles"], json!(["ORGANIZATION_MEMBER"]));
    assert_eq!(world.count_events().await, events + 1);
    let event = last_event(&world, "users.first_login").await;
    assert_eq!(event["target_id"], me["user_id"]);
    let vouched_by = json!({
        "provider": "auth0", "issuer": "https://login.example", "organization_id": null,
    });
    assert_eq!(event["vouched_by"], vouched_by);
    // Once: from now on it is the identity that counts, not the address.
    world.person("auth0|new").get(world.org("")).await.expect(200);
    verified(&world, "auth0|other", "new@new.example").get("/me").await.refused(403, "forbidden");
    let seats = world.get(world.org("/memberships")).await.expect(200);
    let taken = seats["items"].as_array().unwrap().iter().find(|m| m["user_id"] == me["user_id"]);
    assert_eq!(taken.unwrap()["status"], "active");
}

#[on_both]
async fn an_invitation_is_accepted_with_the_login_that_it_links(world: World) {
    let invitation = json!({"email": "new@new.example", "role": "member"});
    let token = olga(&world).post(world.org("/invitations"), invitation).await.expect(201);
    let token = json!({"token": token["token"]});
    let accept = async |who: &Client| who.post("/invitations/accept", token.clone()).await;
    for stranger in [
        world.person("auth0|new"),
        verified(&world, "auth0|new", "else@new.example"),
        of_organization(&world, &world.globex.org, "new", Some("new@new.example")),
    ] {
        accept(&stranger).await.refused(403, "forbidden");
    }
    let new = verified(&world, "auth0|new", "new@new.example");
    let seat = accept(&new).await.expect(201);
    assert_eq!(
        (&seat["status"], &seat["role"]["code"]),
        (&json!("active"), &json!("ORGANIZATION_MEMBER"))
    );
    assert_eq!(accept(&new).await.expect(201)["id"], seat["id"], "a second click changes nothing");
    assert_eq!(new.get("/me").await.expect(200)["user_id"], seat["user_id"]);
    accept(&world.anyone()).await.refused(409, "invitation_closed");
}

#[on_both]
async fn an_organizations_provider_links_its_own_people_only(world: World) {
    let invitation = |email: &str| json!({"email": email, "role": "member"});
    let acme = &world.acme.org;
    olga(&world).post(world.org("/invitations"), invitation("new@new.example")).await.expect(201);
    let new = of_organization(&world, acme, "new", Some("new@new.example"));
    let me = new.get("/me").await.expect(200);
    assert_eq!(me["vouched_by"], json!(acme));
    new.get(world.org("")).await.expect(200);
    // Globex did not invite the person; a link of acme's is none of the platform.
    of_organization(&world, &world.globex.org, "new", Some("new@new.example"))
        .get("/me")
        .await
        .refused(403, "forbidden");
    // Acme seats a person of globex: its provider does not accept for that person.
    let mats = json!({"email": "mats@globex.example", "role": "viewer"});
    let offer = seat(acme, &olga(&world), mats).await;
    assert_eq!(offer["status"], "invited");
    let forged = of_organization(&world, acme, "mats", Some("mats@globex.example"));
    forged.get("/me").await.refused(403, "forbidden");
    let link = whoami("corp", "mats", "mats@globex.example");
    world.by(&world.acme.deployment_token).get(link).await.refused(404, "identity_unknown");
    // The person accepts, and then acme may link its own login for its own grants.
    let mats = world.person("auth0|mats-globex");
    let path = format!("/memberships/{}/accept", offer["id"].as_str().unwrap());
    forged.post(&path, json!({})).await.refused(403, "forbidden");
    assert_eq!(mats.post(&path, json!({})).await.expect(200)["status"], "active");
    let own = forged.get("/me").await.expect(200);
    assert_eq!(own["user_id"], mats.get("/me").await.expect(200)["user_id"]);
    forged.get("/organizations/globex").await.refused(404, "not_found");
}

#[on_both]
async fn a_seat_is_offered_until_the_person_accepts(world: World) {
    let (acme, by) = (&world.acme.org, olga(&world));
    let known = json!({"email": "mats@globex.example", "role": "viewer"});
    let known = seat(acme, &by, known).await;
    let unknown = json!({"email": "unknown@new.example", "role": "viewer"});
    let unknown = seat(acme, &by, unknown).await;
    let shape = |seat: &Value| {
        let members = ["status", "accepted_at", "role", "permissions", "effective_permissions"];
        members.map(|name| seat[name].clone())
    };
    assert_eq!(shape(&known), shape(&unknown), "the answer does not reveal who has a login");
    assert_eq!(known["status"], "invited");
    let active = json!({"email": "x@new.example", "role": "viewer", "status": "active"});
    by.post(world.org("/memberships"), active).await.invalid("status");
    let path = format!("/memberships/{}", known["id"].as_str().unwrap());
    let active = json!({"status": "active"});
    by.patch(&path, active).await.refused(409, "status_change_refused");
    by.post(format!("{path}/accept"), json!({})).await.refused(404, "not_found");
    // The name of a person appears when the person has accepted.
    let data_plane = world.by(&world.acme.deployment_token);
    let ask = "/users/whoami?provider=auth0&subject=auth0%7Cmats-globex";
    data_plane.get(ask).await.refused(404, "identity_unknown");
    let mats = world.person("auth0|mats-globex");
    mats.get(world.org("")).await.refused(404, "not_found");
    let own = mats.get("/me/memberships").await.expect(200);
    let offer = own["items"].as_array().unwrap().iter().find(|m| m["id"] == known["id"]).unwrap();
    assert_eq!(offer["organization"], json!({"id": acme, "slug": "acme", "name": "Acme"}));
    assert_eq!(offer["status"], "invited");
    mats.post(format!("{path}/accept"), json!({})).await.expect(200);
    assert_eq!(data_plane.get(ask).await.expect(200)["user"]["display_name"], "mats");
    mats.get(world.org("")).await.expect(200);
    // And leaves.
    mats.delete(&path).await.expect(204);
    mats.get(world.org("")).await.refused(404, "not_found");
    data_plane.get(ask).await.refused(404, "identity_unknown");
    // An invited person declines.
    let again = json!({"email": "mats@globex.example", "role": "viewer"});
    let again = seat(acme, &by, again).await;
    mats.delete(format!("/memberships/{}", again["id"].as_str().unwrap())).await.expect(204);
}

#[on_both]
async fn an_invitations_token_alone_shows_nothing_of_a_person_with_a_login(world: World) {
    let invitation = json!({"email": "mats@globex.example", "role": "viewer"});
    let made = olga(&world).post(world.org("/invitations"), invitation).await.expect(201);
    let token = json!({"token": made["token"]});
    world.anyone().post("/invitations/accept", token).await.expect(201);
    let data_plane = world.by(&world.acme.deployment_token);
    let ask = "/users/whoami?provider=auth0&subject=auth0%7Cmats-globex";
    assert_eq!(data_plane.get(ask).await.expect(200)["user"]["display_name"], Value::Null);
}

#[on_both]
async fn an_owner_leaves_by_a_transfer_and_a_suspended_member_not_at_all(world: World) {
    let seats = world.get(world.org("/memberships")).await.expect(200);
    let of = |user: &str| {
        let seats = seats["items"].as_array().unwrap();
        let seat = seats.iter().find(|seat| seat["user_id"] == user).unwrap();
        format!("/memberships/{}", seat["id"].as_str().unwrap())
    };
    let (owner, mats) = (of(&world.acme.owner), of(&world.acme.user));
    olga(&world).delete(&owner).await.refused(409, "owner_protected");
    let person = world.person("auth0|mats-acme");
    world.patch(&mats, json!({"status": "suspended"})).await.expect(200);
    person.delete(&mats).await.refused(404, "not_found");
    person.post(format!("{mats}/accept"), json!({})).await.refused(404, "not_found");
}

#[on_both]
async fn removed_member_tokens_and_invitations_are_listed(world: World) {
    let mats = world.person("auth0|mats-acme");
    let token = json!({"name": "ci", "permissions": ["members:read"]});
    let token = mats.post(world.org("/service-tokens"), token).await.expect(201);
    assert_eq!(token["created_by"], json!(world.acme.user));
    let invitation = json!({"email": "n@new.example", "role": "viewer"});
    let invitation = mats.post(world.org("/invitations"), invitation).await.expect(201);
    let offer = json!({"token": invitation["token"]});
    let own = format!("/service-tokens?created_by={}", world.acme.user);
    let list = world.get(world.org(&own)).await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    let seats = world.get(world.org(&format!("/memberships?user_id={}", world.acme.user))).await;
    let seat = seats.expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
    olga(&world).delete(format!("/memberships/{seat}")).await.expect(204);
    let event = last_event(&world, "memberships.delete").await;
    let left_behind = json!({
        "service_tokens": [token["id"]], "invitations": [invitation["id"]],
    });
    assert_eq!(event["after"], json!({"left_behind": left_behind}));
    // An offer ends with the member who made it.
    world.anyone().post("/invitations/accept", offer).await.refused(403, "forbidden");
}

#[on_both]
async fn logins_are_kept_apart_by_who_vouches_for_them(world: World) {
    let link = json!({"provider": "corp", "subject": "mats", "vouched_by": world.acme.org});
    world.post(format!("/users/{}/auth-accounts", world.acme.user), link).await.expect(201);
    let here = of_organization(&world, &world.acme.org, "mats", None);
    let there = world.person("auth0|mats-acme");
    let body = json!({"name": "A", "slug": "a"});
    let key = |client: &Client| client.clone().with("idempotency-key", "k");
    let path = world.org("/workspaces");
    let one = key(&here).post(&path, body.clone()).await.expect(201);
    key(&there).post(&path, body).await.refused(409, "slug_taken");
    let event = last_event(&world, "workspaces.create").await;
    assert_eq!((&event["target_id"], &event["actor_id"]), (&one["id"], &json!(world.acme.user)));
    let vouched_by = json!({
        "provider": "corp", "issuer": "https://login.example",
        "organization_id": world.acme.org,
    });
    assert_eq!(event["vouched_by"], vouched_by);
}

#[on_both]
async fn no_organization_takes_the_key_or_the_issuer_of_another_authority(world: World) {
    let provider = |issuer: &str| {
        json!({
            "type": "oidc", "issuer": issuer, "audience": "api", "client_id": "c",
        })
    };
    let at = |org: &str, key: &str| format!("/organizations/{org}/identity-providers/{key}");
    let (_, server) = world.server(|settings| {
        let own = json!({"type": "oidc", "issuer": "https://id.example", "audience": "api"});
        let own = cp_server::identity::oidc::provider::Provider::of_platform(
            "platform",
            serde_json::from_value(own).unwrap(),
        );
        settings.identity.providers = vec![own.unwrap()];
    });
    let [acme, globex] =
        [&world.acme.token, &world.globex.token].map(|token| server.clone().token(token));
    let path = at(&world.acme.org, "platform");
    let problem = acme.put(path, provider("https://a.example")).await.refused(409, "conflict");
    assert_eq!(problem["field"], "key");
    let path = at(&world.acme.org, "own");
    let problem = acme.put(&path, provider("https://id.example")).await.refused(409, "conflict");
    assert_eq!(problem["field"], "issuer");
    acme.put(&path, provider("https://a.example")).await.expect(201);
    acme.put(&path, provider("https://a.example")).await.expect(200);
    for status in ["active", "disabled"] {
        let mut body = provider("https://a.example");
        body["status"] = status.into();
        let answer = globex.put(at(&world.globex.org, "x"), body).await;
        match status {
            "active" => drop(answer.refused(409, "conflict")),
            _ => drop(answer.expect(201)),
        }
    }
    globex
        .put(at(&world.globex.org, "x"), provider("https://a.example"))
        .await
        .refused(409, "conflict");
    // The platform may allow it.
    let root = server.clone().token(crate::world::ROOT);
    let shared = root.put(at(&world.globex.org, "x"), provider("https://a.example")).await;
    assert_eq!(shared.expect(200)["shares_issuer"], true);
    globex.put(at(&world.globex.org, "x"), provider("https://a.example")).await.expect(200);
    // A registered claim names no organization.
    for claim in ["sub", "iss", "aud", "azp", "jti", "/sub", "/aud/0"] {
        let mut body = provider("https://b.example");
        body["claim_map"] = json!({"organization": ["org", claim]});
        globex.put(at(&world.globex.org, "y"), body).await.invalid("claim_map.organization");
    }
}
