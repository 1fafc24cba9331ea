//! People at the console: the way to the provider and back.

use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::browser::{Browser, LOGIN, console, follow_again};
use super::mats;
use crate::world::issuer::{Alg, CLIENT, CLIENT_SECRET, Fault, Issuer};
use crate::world::{Answer, World, on_both};

/// The reason of a login that failed.
#[track_caller]
fn failed(answer: Answer, why: &str) {
    let problem = answer.refused(401, "unauthenticated");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(why), "{detail}");
}

#[on_both]
async fn clients_show_who_they_are_as_the_provider_wants_it(world: World) {
    let issuer = Issuer::start().await;
    issuer.authenticates_clients_by("client_secret_post");
    let mut browser = console(&world, &issuer).await;
    assert_eq!(browser.log_in("").await.header("location"), "/");
    issuer.authenticates_clients_by("none");
    let provider = issuer.on_platform("auth0", json!({"client_id": CLIENT}));
    let (_, client) = world.server(|settings| settings.identity.providers = vec![provider]);
    let mut browser = Browser::new(&client);
    assert_eq!(browser.log_in("").await.status, 303);
    let wrong = json!({"client_id": CLIENT, "client_secret": "canary"});
    issuer.authenticates_clients_by("client_secret_basic");
    let provider = issuer.on_platform("auth0", wrong);
    let (_, client) = world.server(|settings| settings.identity.providers = vec![provider]);
    failed(Browser::new(&client).log_in("").await, "refused the code: \"invalid_client\"");
}

#[on_both]
async fn a_login_is_finished_once_and_by_the_browser_that_began_it(world: World) {
    let issuer = Issuer::start().await;
    let mut browser = console(&world, &issuer).await;
    let back = browser.return_from_provider("").await;
    let cookies = browser.cookies.clone();
    // Another person's browser, which was sent the link.
    failed(Browser::new(&browser.client).go(&back).await, "another browser");
    let mut other = Browser::new(&browser.client);
    other.go("/api/v1/login").await;
    failed(other.go(&back).await, "another browser");
    // The state, or what the cookie says, was changed.
    failed(browser.go(&back.replace("state=", "state=A")).await, "another browser");
    failed(browser.go("/api/v1/login/callback?code=code-1").await, "another browser");
    let mut bent = browser.cookies[LOGIN].clone();
    let middle = bent.len() / 2;
    let byte = if bent.as_bytes()[middle] == b'A' { "B" } else { "A" };
    bent.replace_range(middle..=middle, byte);
    other.cookies.insert(LOGIN.into(), bent);
    failed(other.go(&back).await, "another browser");

    assert_eq!(browser.go(&back).await.status, 303);
    assert!(!browser.cookies.contains_key(LOGIN), "it is used up");
    // With its cookie kept, and even with a new code of the provider's.
    browser.cookies = cookies;
    failed(browser.go(&back).await, "refused the code: \"invalid_grant\"");
    let again = follow_again(&issuer, &back).await;
    failed(browser.go(&again).await, "invalid_grant");

    // The time limit of the login has passed.
    let back = browser.return_from_provider("").await;
    world.pass(TimeDelta::minutes(10));
    failed(browser.go(&back).await, "took too long");
}

#[on_both]
async fn a_provider_that_says_no_or_something_else_begins_no_session(world: World) {
    let issuer = Issuer::start().await;
    let mut browser = console(&world, &issuer).await;
    let back = browser.return_from_provider("").await;
    let (path, query) = back.split_once('?').unwrap();
    let without = |name: &str| {
        let pairs = query.split('&').filter(|pair| !pair.starts_with(&format!("{name}=")));
        format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
    };
    failed(browser.go(&without("iss")).await, "(iss)");
    failed(browser.go(&(without("iss") + "&iss=https://evil.example")).await, "(iss)");
    failed(browser.go(&without("code")).await, "has no code");
    let denied = without("code") + "&error=access_denied";
    failed(browser.go(&denied).await, "the identity provider answered \"access_denied\"");
    for (claims, why) in [
        (json!({"nonce": "other"}), "its nonce is not that of this login"),
        (json!({"aud": "another"}), "its audience is not the client"),
        (json!({"aud": [CLIENT, "another"]}), "issued to another client (azp)"),
        (json!({"aud": [CLIENT, "another"], "azp": "another"}), "issued to another client"),
        (json!({"azp": "another"}), "issued to another client"),
        (json!({"iss": "https://evil.example"}), "it is from another issuer"),
        (json!({"exp": 1}), "it has expired"),
        (json!({"events": {}}), "it is a logout token"),
        (json!({"sub": ""}), "it has no subject"),
    ] {
        issuer.log_in_as(mats(claims.clone()));
        failed(browser.log_in("").await, why);
    }
    issuer.log_in_as(mats(json!({"aud": [CLIENT, "another"], "azp": CLIENT})));
    assert_eq!(browser.log_in("").await.status, 303);
    issuer.log_in_as(json!({"sub": "auth0|unlinked"}));
    let problem = Browser::new(&browser.client).log_in("").await.refused(403, "forbidden");
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("No user is linked") && detail.contains("accept_url"), "{detail}");
    let kept: i64 = world.value("SELECT COUNT(*) FROM sessions WHERE provider <> 'world'").await;
    assert_eq!(kept, 1);
    issuer.fault(Fault::WrongIssuer);
    let other = console(&world, &issuer).await;
    other.client.get("/login").await.refused(503, "unavailable");
}

#[on_both]
async fn login_does_not_redirect_to_another_site(world: World) {
    let issuer = Issuer::start().await;
    let browser = console(&world, &issuer).await;
    for bad in [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "javascript:alert(1)",
        "",
        "console",
        "/\t/evil.example",
        "/a\nb",
        "/%2e%2e//evil.example",
        "/.//evil.example",
        "/ä",
    ] {
        let query: String = url::form_urlencoded::byte_serialize(bad.as_bytes()).collect();
        browser.client.get(format!("/login?return_to={query}")).await.invalid("return_to");
    }
    browser.client.get("/login?return=/x").await.invalid("return");
    browser.client.get("/login?provider=other").await.refused(404, "not_found");
    browser.client.get("/login?organization=unknown").await.refused(404, "not_found");
    world.anyone().get("/login").await.refused(404, "not_found");
}

#[on_both]
async fn login_ends_below_the_path_of_the_base_url(world: World) {
    let issuer = Issuer::start().await;
    issuer.log_in_as(mats(json!({"name": "Mats"})));
    for (query, page) in [
        ("", "/licensing/"),
        ("?return_to=/console", "/licensing/console"),
        ("?return_to=/licensing/console", "/licensing/console"),
        ("?return_to=/licensing", "/licensing"),
        ("?return_to=/licensing-other", "/licensing/licensing-other"),
    ] {
        let client = json!({"client_id": CLIENT, "client_secret": CLIENT_SECRET});
        let provider = issuer.on_platform("auth0", client);
        let (_, client) = world.server(|settings| {
            settings.shared.base_url = "https://cp.example/licensing".into();
            settings.identity.providers = vec![provider];
        });
        let mut browser = Browser::new(&client);
        let back = browser.return_from_provider(query).await;
        // The proxy strips the path.
        let answer = browser.go(back.strip_prefix("/licensing").unwrap()).await;
        assert_eq!((answer.status, answer.header("location")), (303, page), "{query}");
    }
}

#[on_both]
async fn a_login_that_began_on_one_replica_ends_on_another(world: World) {
    let issuer = Issuer::start().await;
    let mut browser = console(&world, &issuer).await;
    let mut other = console(&world, &issuer).await;
    let back = browser.return_from_provider("").await;
    other.cookies = browser.cookies.clone();
    issuer.rotate(Alg::Es384);
    assert_eq!(other.go(&back).await.status, 303);
    browser.cookies = other.cookies.clone();
    browser.me().await.expect(200);
    other.me().await.expect(200);
    assert_eq!(other.post("/logout").await.expect(200)["ended"], 1);
    world.pass(TimeDelta::seconds(3));
    browser.me().await.refused(401, "unauthenticated");
}

#[on_both]
async fn an_organizations_people_log_in_at_its_own_provider(world: World) {
    let issuer = Issuer::start().await;
    let body = issuer.body(json!({"client_id": CLIENT, "client_secret": CLIENT_SECRET}));
    world.put(world.org("/identity-providers/auth0"), body.clone()).await.expect(201);
    issuer.log_in_as(mats(json!({"is_super_admin": true})));
    for name in [&world.acme.org, "acme"] {
        let mut browser = Browser::new(&world.anyone());
        assert_eq!(browser.log_in(&format!("?organization={name}")).await.status, 303);
        let me = browser.me().await.expect(200);
        assert_eq!(me["organization_id"], json!(world.acme.org));
        browser.with_cookies().get("/organizations/globex").await.refused(404, "not_found");
    }
    // A person of another organization is unknown at this one's provider.
    issuer.log_in_as(json!({"sub": "auth0|mats-globex"}));
    let mut foreign = Browser::new(&world.anyone());
    foreign.log_in("?organization=acme").await.refused(403, "forbidden");

    // Without the provider there is no session of its.
    issuer.log_in_as(mats(json!({})));
    let mut browser = Browser::new(&world.anyone());
    browser.log_in("?organization=acme&provider=auth0").await;
    browser.me().await.expect(200);
    let mut moved: Value = body;
    moved["issuer"] = json!("https://elsewhere.example");
    world.put(world.org("/identity-providers/auth0"), moved).await.expect(200);
    browser.me().await.refused(401, "unauthenticated");
    world.anyone().get("/login?organization=globex").await.refused(404, "not_found");
}

#[on_both]
async fn a_slow_provider_is_not_asked_by_everybody_who_begins_a_login(world: World) {
    let issuer = Issuer::start().await;
    issuer.fault(Fault::Slow);
    let provider = issuer.on_platform("auth0", json!({"client_id": CLIENT}));
    let (_, client) = world.server(|settings| {
        settings.identity.providers = vec![provider];
        settings.identity.fetch.timeout = Duration::from_millis(500);
    });
    let began = Instant::now();
    for answer in join_all((0..100).map(|_| client.get("/login"))).await {
        answer.refused(503, "unavailable");
    }
    assert!(began.elapsed() < Duration::from_secs(25), "all waited for one request");
    issuer.fault(Fault::None);
    client.get("/login").await.refused(503, "unavailable");
    world.pass(TimeDelta::seconds(5));
    assert_eq!(client.get("/login").await.status, 303);
}

#[on_both]
async fn plain_http_is_for_the_own_machine_only(world: World) {
    let issuer = Issuer::start().await;
    for (base, status) in [("http://127.0.0.1:8801", 303), ("http://cp.example", 409)] {
        let provider = issuer.on_platform("auth0", json!({"client_id": CLIENT}));
        let (_, client) = world.server(|settings| {
            settings.shared.base_url = base.into();
            settings.identity.providers = vec![provider];
        });
        let answer = client.get("/login").await;
        assert_eq!(answer.status, status, "{}", answer.text());
        if status == 303 {
            let cookie = answer.header("set-cookie");
            assert!(cookie.starts_with("cp_login=") && !cookie.contains("Secure"), "{cookie}");
        }
    }
}
