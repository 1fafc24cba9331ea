//! People at the console: the session that a login begins.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::browser::{Browser, SESSION, console};
use super::mats;
use crate::world::issuer::Issuer;
use crate::world::{World, on_both};

#[on_both]
async fn a_person_logs_in_and_out_again(world: World) {
    let issuer = Issuer::start().await;
    let mut browser = console(&world, &issuer).await;
    browser.me().await.refused(401, "unauthenticated");
    let answer = browser.log_in("?return_to=/console%3Ftab=1%23top").await;
    assert_eq!((answer.status, answer.header("location")), (303, "/console?tab=1#top"));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), [SESSION]);
    assert_eq!(browser.cookies[SESSION].len(), 43, "256 bits in base64url");
    let me = browser.me().await.expect(200);
    assert_eq!((&me["kind"], &me["name"]), (&json!("person"), &json!("Mats")));
    assert_eq!(me["user_id"], json!(world.acme.user));
    browser.with_cookies().get(world.org("")).await.expect(200);

    let event = world.get("/audit?limit=1").await.expect(200)["items"][0].clone();
    assert_eq!(
        (&event["action"], &event["actor_id"], &event["after"]),
        (
            &json!("sessions.login"),
            &json!(world.acme.user),
            &json!({"provider": "auth0", "subject": "auth0|mats-acme"}),
        )
    );
    let kept: i64 = world.value("SELECT COUNT(*) FROM sessions WHERE provider <> 'world'").await;
    assert_eq!(kept, 1);
    let secret = browser.cookies[SESSION].clone();
    let goodbye = browser.post("/logout").await.expect(200);
    assert_eq!(
        goodbye,
        json!({
            "ended": 1,
            "logout_url": format!(
                "{}/logout?client_id=console&post_logout_redirect_uri=https%3A%2F%2Fcp.example%2F",
                issuer.url
            ),
        })
    );
    assert!(browser.cookies.is_empty());
    browser.cookies.insert(SESSION.into(), secret);
    browser.me().await.refused(401, "unauthenticated");
    let again = browser.post("/logout").await.expect(200);
    assert_eq!(again, json!({"ended": 0, "logout_url": null}));
}

#[on_both]
async fn session_ends_after_its_time_and_when_idle(world: World) {
    let issuer = Issuer::start().await;
    let mut browser = console(&world, &issuer).await;
    browser.log_in("").await;
    world.pass(TimeDelta::minutes(59));
    browser.me().await.expect(200);
    world.pass(TimeDelta::minutes(59));
    browser.me().await.expect(200);
    world.pass(TimeDelta::minutes(60));
    browser.me().await.refused(401, "unauthenticated");
    issuer.log_in_as(mats(json!({
        "iat": (crate::world::now() + TimeDelta::hours(2)).timestamp(),
        "exp": (crate::world::now() + TimeDelta::hours(4)).timestamp(),
    })));
    browser.log_in("").await;
    for _ in 0..23 {
        world.pass(TimeDelta::minutes(30));
        browser.me().await.expect(200);
    }
    world.pass(TimeDelta::minutes(30));
    browser.me().await.refused(401, "unauthenticated");
    let gone = cp_server::identity::sessions::forget(&world.app).await.unwrap();
    assert_eq!(gone, 2);
}

#[on_both]
async fn a_new_login_ends_the_session_before(world: World) {
    let issuer = Issuer::start().await;
    let mut browser = console(&world, &issuer).await;
    browser.log_in("").await;
    let before = browser.cookies.clone();
    browser.log_in("").await;
    assert_ne!(browser.cookies[SESSION], before[SESSION]);
    browser.me().await.expect(200);
    let old = Browser { client: browser.client.clone(), cookies: before };
    old.me().await.refused(401, "unauthenticated");
}

#[on_both]
async fn a_change_with_a_cookie_comes_from_our_own_page(world: World) {
    let issuer = Issuer::start().await;
    let mut browser = console(&world, &issuer).await;
    world
        .patch(format!("/users/{}", world.acme.user), json!({"is_superadmin": true}))
        .await
        .expect(200);
    browser.log_in("").await;
    let client = browser.with_cookies();
    let path = world.org("");
    for (headers, status) in [
        (vec![], 403),
        (vec![("origin", "https://evil.example")], 403),
        (vec![("origin", "null")], 403),
        (vec![("origin", "https://cp.example.evil.example")], 403),
        (vec![("origin", "http://cp.example")], 403),
        (vec![("sec-fetch-site", "cross-site")], 403),
        (vec![("sec-fetch-site", "same-site")], 403),
        (vec![("sec-fetch-site", "none")], 403),
        (vec![("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")], 403),
        (vec![("sec-fetch-site", "cross-site"), ("origin", "https://cp.example")], 403),
        (vec![("origin", "https://cp.example")], 200),
        (vec![("sec-fetch-site", "same-origin")], 200),
        (vec![("sec-fetch-site", "same-origin"), ("origin", "https://cp.example")], 200),
    ] {
        let with = headers.iter().fold(client.clone(), |c, (name, value)| c.with(name, *value));
        let answer = with.patch(&path, json!({"name": "Renamed"})).await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text());
        if status == 403 {
            with.post("/logout", json!({})).await.refused(403, "forbidden");
            with.post("/logout/everywhere", json!({})).await.refused(403, "forbidden");
        }
        // A read changes nothing, whichever page asks for it.
        with.get(&path).await.expect(200);
    }
    // Never two credentials at once.
    let both = client.clone().token(&world.acme.token);
    both.get("/me").await.refused(400, "bad_request");
    both.with("sec-fetch-site", "same-origin")
        .patch(&path, json!({"name": "x"}))
        .await
        .refused(400, "bad_request");
    let twice = format!("{SESSION}=a; {SESSION}=b");
    client.clone().with("cookie", twice).get("/me").await.refused(400, "bad_request");
    let lookalike = format!("cp_session={}", browser.cookies[SESSION]);
    client.with("cookie", lookalike).get("/me").await.refused(401, "unauthenticated");
}

#[on_both]
async fn all_sessions_of_a_person_end_at_once(world: World) {
    let issuer = Issuer::start().await;
    let mut one = console(&world, &issuer).await;
    let (mut two, mut three) = (Browser::new(&one.client), Browser::new(&one.client));
    one.log_in("").await;
    two.log_in("").await;
    issuer.log_in_as(json!({"sub": "auth0|olga-acme"}));
    three.log_in("").await;
    two.me().await.expect(200);
    world.pass(TimeDelta::milliseconds(1));
    assert_eq!(one.post("/logout/everywhere").await.expect(200)["ended"], 2);
    two.me().await.refused(401, "unauthenticated");
    three.me().await.expect(200);
    let event = world.get("/audit?limit=1").await.expect(200)["items"][0].clone();
    assert_eq!(event["action"], "sessions.logout_everywhere");
    assert_eq!(event["actor_id"], json!(world.acme.user));
}

#[on_both]
async fn a_session_ends_with_the_person_and_with_what_they_may_do(world: World) {
    let issuer = Issuer::start().await;
    let mut browser = console(&world, &issuer).await;
    browser.log_in("").await;
    let path = world.org("");
    browser.with_cookies().get(&path).await.expect(200);
    for id in [&world.acme.workspace_membership, &world.acme.membership] {
        world.delete(format!("/memberships/{id}")).await.expect(204);
    }
    // A change by another replica is visible when the cached copy expires.
    world.pass(TimeDelta::seconds(3));
    browser.with_cookies().get(&path).await.refused(404, "not_found");
    let user = format!("/users/{}", world.acme.user);
    world.patch(&user, json!({"is_active": false})).await.expect(200);
    world.pass(TimeDelta::seconds(3));
    browser.me().await.refused(403, "forbidden");
    // It does not come back with the person.
    world.patch(&user, json!({"is_active": true})).await.expect(200);
    world.pass(TimeDelta::seconds(3));
    browser.me().await.refused(401, "unauthenticated");
    browser.log_in("").await;
    browser.me().await.expect(200);
    world.delete(&user).await.expect(204);
    world.pass(TimeDelta::seconds(3));
    browser.me().await.refused(401, "unauthenticated");
}

#[on_both]
async fn session_does_not_accept_the_invitation_of_another_person(world: World) {
    let issuer = Issuer::start().await;
    let mut browser = console(&world, &issuer).await;
    browser.log_in("").await;
    let body = json!({"email": "nina@new.example", "role": "viewer"});
    let invited = world.post(world.org("/invitations"), body).await.expect(201);
    let accept = async || {
        let page = browser.with_cookies().with("sec-fetch-site", "same-origin");
        page.post("/invitations/accept", json!({"token": invited["token"]})).await
    };
    accept().await.refused(403, "forbidden");
    // An expired session is ignored.
    world.pass(TimeDelta::hours(2));
    assert_eq!(accept().await.expect(201)["email"], "nina@new.example");
}

#[on_both]
async fn login_with_the_link_of_an_invitation_accepts_it(world: World) {
    let issuer = Issuer::start().await;
    let mut browser = console(&world, &issuer).await;
    let admin = browser.client.clone().token(crate::world::ROOT);
    let invite = async |email: &str, organization: &str| {
        let body = json!({"email": email, "role": "viewer"});
        let path = format!("/organizations/{organization}/invitations");
        let invited = admin.post(path, body).await.expect(201);
        let url = invited["accept_url"].as_str().unwrap().to_owned();
        assert!(url.contains(invited["token"].as_str().unwrap()), "{url}");
        url.strip_prefix("https://cp.example/api/v1/login").unwrap().to_owned()
    };
    // Mats has a login and seats elsewhere: only the link accepts the offer.
    let mine = invite("mats@acme.example", "globex").await;
    assert_eq!(browser.log_in(&mine).await.status, 303);
    let me = browser.me().await.expect(200);
    let slugs: Vec<&Value> =
        me["organizations"].as_array().unwrap().iter().map(|one| &one["slug"]).collect();
    assert_eq!(slugs, ["acme", "globex"]);
    let own = browser.with_cookies().get("/organizations").await.expect(200);
    let own: Vec<&Value> =
        own["items"].as_array().unwrap().iter().map(|one| &one["slug"]).collect();
    assert_eq!(own, ["globex", "acme"], "a member lists their own organizations");
    let event = world.get("/audit?action=invitations.accept&limit=1").await.expect(200);
    assert_eq!(event["items"][0]["target_type"], "membership");
    // The link of another person's invitation begins no session.
    let theirs = invite("nina@new.example", "globex").await;
    let mut other = Browser::new(&browser.client);
    other.log_in(&theirs).await.refused(403, "forbidden");
    other.me().await.refused(401, "unauthenticated");
}
