//! Invitation links: people of an organization without an identity provider.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{Browser, sound};
use crate::world::{Client, World, on_both};

/// Switches the links on.
async fn switch(world: &World, on: bool) {
    world.patch(world.org(""), json!({"settings": {"console_links": on}})).await.expect(200);
}

/// Invites a person with nothing but an address. Returns the person.
async fn invited(world: &World, email: &str, role: &str) -> String {
    let new = json!({"email": email, "role": role});
    let seat = world.post(world.org("/memberships"), new).await.expect(201);
    assert_eq!(seat["status"], "invited");
    seat["user_id"].as_str().unwrap().to_owned()
}

/// Returns the code of a new link.
async fn code(client: &Client, world: &World, user: &str) -> String {
    let path = world.org("/console-links");
    let link = client.post(path, json!({"user_id": user})).await.expect(201);
    let url = link["url"].as_str().unwrap();
    url.strip_prefix("https://cp.example/console/enter?code=").unwrap().to_owned()
}

/// Signs a browser in with the code.
async fn sign_in(world: &World, code: &str) -> Client {
    let answer = Browser::new(world.anyone()).post("/enter", &[("code", code)]).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/console"), "{}", answer.text());
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    world.anyone().with("cookie", cookie)
}

#[on_both]
async fn invited_admin_reaches_the_license_in_three_clicks_and_downloads_it(world: World) {
    switch(&world, true).await;
    let user = invited(&world, "kim@acme.example", "admin").await;
    let code = code(&world.root(), &world, &user).await;
    let stranger = Browser::new(world.anyone());
    let page = sound(&stranger.get(&format!("/enter?code={code}")).await, 200);
    assert!(page.contains("kim@acme.example") && page.contains("Acme"), "{page}");
    // Looking took no seat.
    let seats = world.get(world.org("/memberships?status=invited")).await.expect(200);
    assert!(seats.to_string().contains("kim@acme.example"), "{seats}");
    // The first click signs in, and leads to the organization.
    let signed_in = sign_in(&world, &code).await;
    let browser = Browser::new(signed_in.clone());
    let start = browser.get("").await;
    let own = format!("/organizations/{}", world.acme.org);
    assert_eq!(start.header("location"), format!("/console{own}"));
    let page = sound(&browser.get(&own).await, 200);
    // The second one leads to the license.
    let license = format!("/licenses/{}", world.acme.license);
    assert!(page.contains(&format!("/console{license}\"")), "{page}");
    let page = sound(&browser.get(&license).await, 200);
    assert!(page.contains("Download the license") && !page.contains("Issue a token"), "{page}");
    // The third one shows the token, with its download.
    let key = super::hidden(&page, "_key");
    let issued = sound(&browser.post(&format!("{license}/token"), &[("_key", &key)]).await, 200);
    assert!(issued.contains("LICENSE_TOKEN=eyJ") && issued.contains("download=\"acme.license\""));
    // The session is restricted to the organization, and the audit log names the person.
    let me = signed_in.get("/me").await.expect(200);
    assert_eq!((&me["name"], &me["provider"]), (&json!("kim@acme.example"), &json!("link")));
    assert_eq!(me["vouched_by"], json!(world.acme.org));
    signed_in.get(format!("/organizations/{}", world.globex.org)).await.refused(404, "not_found");
    let events = world.get("/audit?action=console_links.use").await.expect(200);
    assert_eq!(events["items"][0]["actor_name"], "kim@acme.example");
    let events = world.get("/audit?action=console_links.create").await.expect(200);
    assert_eq!(events["items"][0]["target_id"], json!(user));
    assert!(!events.to_string().contains(&code), "no event has the code");
    let seat = world.get(world.org(&format!("/memberships?user_id={user}"))).await.expect(200);
    assert_eq!(seat["items"][0]["status"], "active");
}

#[on_both]
async fn session_of_a_link_ends_after_an_hour_and_with_the_setting(world: World) {
    switch(&world, true).await;
    let user = invited(&world, "kim@acme.example", "admin").await;
    let first = sign_in(&world, &code(&world.root(), &world, &user).await).await;
    world.pass(TimeDelta::minutes(30));
    first.get("/me").await.expect(200);
    world.pass(TimeDelta::minutes(30));
    first.get("/me").await.refused(401, "unauthenticated");
    let second = sign_in(&world, &code(&world.root(), &world, &user).await).await;
    second.get("/me").await.expect(200);
    switch(&world, false).await;
    second.get("/me").await.refused(401, "unauthenticated");
    switch(&world, true).await;
    let third = sign_in(&world, &code(&world.root(), &world, &user).await).await;
    let seat = world.get(world.org(&format!("/memberships?user_id={user}"))).await.expect(200);
    let seat = seat["items"][0]["id"].as_str().unwrap().to_owned();
    world.delete(format!("/memberships/{seat}")).await.expect(204);
    third.get("/me").await.refused(403, "forbidden");
}

#[on_both]
async fn new_link_replaces_the_earlier_one_and_each_works_once(world: World) {
    switch(&world, true).await;
    let user = invited(&world, "kim@acme.example", "viewer").await;
    let old = code(&world.root(), &world, &user).await;
    let new = code(&world.root(), &world, &user).await;
    let browser = Browser::new(world.anyone());
    sound(&browser.post("/enter", &[("code", &old)]).await, 401);
    let entries = [("code", &*new)];
    let (one, two) =
        tokio::join!(browser.post("/enter", &entries), browser.post("/enter", &entries));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 401]);
    let late = code(&world.root(), &world, &user).await;
    world.pass(TimeDelta::minutes(15));
    sound(&browser.post("/enter", &[("code", &late)]).await, 401);
}

#[on_both]
async fn use_of_a_link_checks_its_rules_again(world: World) {
    switch(&world, true).await;
    let user = invited(&world, "kim@acme.example", "viewer").await;
    let browser = Browser::new(world.anyone());
    let before = code(&world.root(), &world, &user).await;
    switch(&world, false).await;
    let page = sound(&browser.post("/enter", &[("code", &before)]).await, 409);
    assert!(page.contains("console_links"), "{page}");
    switch(&world, true).await;
    // The refusal did not use the link up; now the person has an identity of their own.
    let link = json!({"provider": "auth0", "subject": "kim"});
    world.post(format!("/users/{user}/auth-accounts"), link).await.expect(201);
    sound(&browser.post("/enter", &[("code", &before)]).await, 409);
    // The creator holds no longer what the person holds.
    let other = invited(&world, "lee@acme.example", "viewer").await;
    let creator = world.person("auth0|mats-acme");
    let code = code(&creator, &world, &other).await;
    let seats = world.get(world.org(&format!("/memberships?user_id={}", world.acme.user))).await;
    let seat = seats.expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
    world.patch(format!("/memberships/{seat}"), json!({"role": "viewer"})).await.expect(200);
    world.delete(format!("/memberships/{seat}")).await.expect(204);
    let page = sound(&browser.post("/enter", &[("code", &code)]).await, 403);
    assert!(page.contains("This link does not work"), "{page}");
}

#[on_both]
async fn links_are_refused(world: World) {
    let path = world.org("/console-links");
    let user = invited(&world, "kim@acme.example", "viewer").await;
    let body = |user: &str| json!({"user_id": user});
    let off = world.post(&path, body(&user)).await.refused(409, "conflict");
    assert_eq!(off["detail"], "`settings.console_links` must be true (got false).");
    assert_eq!(off["field"], "settings.console_links");
    switch(&world, true).await;
    // An organization's own token, and a session of a link, create none.
    world.by(&world.acme.token).post(&path, body(&user)).await.refused(403, "forbidden");
    let admin = invited(&world, "max@acme.example", "admin").await;
    let by_link = sign_in(&world, &code(&world.root(), &world, &admin).await).await;
    let by_link = by_link.with("origin", "https://cp.example");
    by_link.post(&path, body(&user)).await.refused(403, "forbidden");
    // A person with an identity, the platform's staff, strangers and foreign organizations.
    let linked = world.post(&path, body(&world.acme.user)).await.refused(409, "conflict");
    assert_eq!(
        linked["detail"],
        "`user_id` must be a person without a linked identity (has one at `auth0`)."
    );
    let staff = world.post("/users", json!({"email": "s@v.example", "is_superadmin": true})).await;
    let staff = staff.expect(201)["id"].as_str().unwrap().to_owned();
    let seat = json!({"user_id": staff, "role": "viewer"});
    world.post(world.org("/memberships"), seat).await.expect(201);
    world.post(&path, body(&staff)).await.refused(409, "conflict");
    world.post(&path, body(&world.acme.stranger)).await.refused(404, "not_found");
    world.by(&world.globex.token).post(&path, body(&user)).await.refused(404, "not_found");
    // An admin of the organization is below its owner.
    let jane = world.person("auth0|mats-acme");
    jane.post(&path, body(&world.acme.owner)).await.refused(403, "forbidden");
    jane.post(&path, body(&user)).await.expect(201);
    let unknown = json!({"user_id": user, "email": "x"});
    world.post(&path, unknown).await.invalid("email");
}

#[on_both]
async fn person_sees_and_ends_their_own_sessions(world: World) {
    switch(&world, true).await;
    let user = invited(&world, "kim@acme.example", "viewer").await;
    let first = sign_in(&world, &code(&world.root(), &world, &user).await).await;
    world.pass(TimeDelta::minutes(1));
    let second = sign_in(&world, &code(&world.root(), &world, &user).await).await;
    let sessions = second.get("/me/sessions").await.expect(200);
    let all: Vec<(&Value, &Value)> = sessions["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one["provider"], &one["is_current"]))
        .collect();
    assert_eq!(all, [(&json!("link"), &json!(true)), (&json!("link"), &json!(false))]);
    let older = sessions["items"][1]["id"].as_str().unwrap();
    let path = format!("/me/sessions/{older}");
    // Another caller does not find it.
    world.delete(&path).await.refused(404, "not_found");
    world.person("auth0|mats-acme").delete(&path).await.refused(404, "not_found");
    let own = Browser::new(second.clone());
    let page = sound(&own.get("/me").await, 200);
    assert!(page.contains(older) && page.contains("current"), "{page}");
    let done = own.post("/me/end-session", &[("id", older)]).await;
    assert_eq!(done.status, 303, "{}", done.text());
    first.get("/me").await.refused(401, "unauthenticated");
    second.get("/me").await.expect(200);
    let none = world.get("/me/sessions").await.expect(200);
    assert_eq!(none, json!({"items": [], "next_cursor": null}));
}
