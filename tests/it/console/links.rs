//! Links to the console, and the sessions that they begin.

use axum::http::Method;
use chrono::TimeDelta;
use cp_server::identity::console_links;
use cp_server::identity::settings::ConsoleSettings;
use serde_json::{Value, json};

use super::{Browser, sound};
use crate::world::{Client, World, on_both};

const SESSION: &str = "__Host-cp_session";

async fn code(world: &World) -> String {
    let link = console_links::create(&world.app, None).await.unwrap();
    let url = link.url.expose().to_owned();
    url.strip_prefix("https://cp.example/console/enter?code=").unwrap().to_owned()
}

/// Signs a browser in with the code.
async fn sign_in(world: &World, code: &str) -> Client {
    let browser = Browser::new(world.anyone());
    let answer = browser.post("/enter", &[("code", code)]).await;
    assert_eq!((answer.status, answer.header("location")), (303, "/console"), "{}", answer.text());
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with(SESSION), "{cookie}");
    world.anyone().with("cookie", cookie)
}

#[on_both]
async fn link_signs_the_operator_in_once(world: World) {
    let code = code(&world).await;
    let browser = Browser::new(world.anyone());
    for _ in 0..2 {
        // Looking does not use the link.
        let page = browser.get(&format!("/enter?code={code}")).await;
        assert!(sound(&page, 200).contains("operator@localhost"));
        assert_eq!(page.header("referrer-policy"), "strict-origin");
    }
    let signed_in = sign_in(&world, &code).await;
    let me = signed_in.get("/me").await.expect(200);
    assert_eq!((&me["kind"], &me["provider"]), (&json!("person"), &json!("link")));
    assert_eq!(me["name"], "operator@localhost");
    let console = Browser::new(signed_in.clone());
    assert!(sound(&console.get("").await, 200).contains("Overview"));
    let again = browser.post("/enter", &[("code", &code)]).await;
    assert!(sound(&again, 401).contains("This link does not work"));
    sound(&browser.get(&format!("/enter?code={code}")).await, 401);
    let events = world.get("/audit?limit=2").await.expect(200);
    let actions: Vec<&Value> =
        events["items"].as_array().unwrap().iter().map(|event| &event["action"]).collect();
    assert_eq!(actions, [&json!("console_links.use"), &json!("console_links.create")]);
    assert_eq!(events["items"][0]["actor_name"], "operator@localhost");
    assert!(!events.to_string().contains(&code), "no event has the code");
}

#[on_both]
async fn link_ends_after_its_time(world: World) {
    let code = code(&world).await;
    world.pass(TimeDelta::minutes(15));
    let answer = Browser::new(world.anyone()).post("/enter", &[("code", &code)]).await;
    sound(&answer, 401);
    assert_eq!(console_links::forget(&world.app).await.unwrap(), 1);
}

#[on_both]
async fn two_browsers_with_one_link_begin_one_session(world: World) {
    let code = code(&world).await;
    let (one, two) = (Browser::new(world.anyone()), Browser::new(world.anyone()));
    let entries = [("code", &*code)];
    let (one, two) = tokio::join!(one.post("/enter", &entries), two.post("/enter", &entries));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 401]);
    assert_eq!(
        world.value::<i64>("SELECT COUNT(*) FROM sessions WHERE provider <> 'world'").await,
        1
    );
}

#[on_both]
async fn form_of_another_site_signs_no_browser_in(world: World) {
    let code = code(&world).await;
    let browser = Browser::new(world.anyone());
    for origin in ["https://evil.example", "null"] {
        let answer = browser.send("/enter", &[("code", &code)], origin).await;
        let page = sound(&answer, 403);
        assert!(page.contains("must be https://cp.example (got"), "{page}");
    }
    sign_in(&world, &code).await;
}

#[on_both]
async fn session_ends_with_its_user_and_with_a_sign_out(world: World) {
    let first = sign_in(&world, &code(&world).await).await;
    let second = sign_in(&world, &code(&world).await).await;
    let own = Browser::new(first.clone());
    sound(&own.post("/sign-out", &[]).await, 200);
    first.get("/me").await.refused(401, "unauthenticated");
    let me = second.get("/me").await.expect(200);
    let user = format!("/users/{}", me["user_id"].as_str().unwrap());
    // Another superadmin remains.
    let other = format!("/users/{}", world.acme.user);
    world.patch(&other, json!({"is_superadmin": true})).await.expect(200);
    world.patch(&user, json!({"is_active": false})).await.expect(200);
    world.pass(TimeDelta::seconds(3));
    second.get("/me").await.refused(403, "forbidden");
    let refused = console_links::create(&world.app, None).await;
    assert!(refused.is_err_and(|error| error.detail().contains("not active")));
}

#[on_both]
async fn change_with_a_cookie_needs_a_page_of_this_server(world: World) {
    let browser = Browser::new(sign_in(&world, &code(&world).await).await);
    let path = format!("/organizations/{}/workspaces?new", world.acme.org);
    for origin in ["https://evil.example", "null"] {
        let answer = browser.send(&path, &[("name", "first")], origin).await;
        sound(&answer, 403);
    }
    assert_eq!(browser.post(&path, &[("name", "first")]).await.status, 303);
}

#[on_both]
async fn page_without_a_session_leads_to_the_login_and_a_form_keeps_its_entries(world: World) {
    let browser = Browser::new(world.anyone());
    let answer = browser.get("/organizations?status=active").await;
    let location = "/console/sign-in?return_to=%2Fconsole%2Forganizations%3Fstatus%3Dactive";
    assert_eq!((answer.status, answer.header("location")), (303, location));
    sound(&browser.get("/sign-in?return_to=%2Fconsole").await, 200);
    let org = format!("/organizations/{}", world.acme.org);
    // What is kept depends on the fields of the form, and not on the words in a name.
    for (path, entries) in [
        (
            format!("{org}/subscriptions?new"),
            [("plan_code", "team"), ("token_ttl_seconds", "3600")],
        ),
        (
            format!("{org}/identity-providers/okta?edit"),
            [("issuer", "https://x.example"), ("client_secret", "s3cret-x")],
        ),
        (
            format!("{org}/identity-providers?new"),
            [("key", "okta"), ("management/secret", "s3cret-x")],
        ),
        (format!("{org}/webhooks?new"), [("name", "Hook"), ("headers/0/value", "s3cret-x")]),
        ("/signing/keys?new".to_owned(), [("passphrase", "s3cret-y"), ("pem", "s3cret-x")]),
        (
            format!("/licenses/{}/keys?new", world.acme.license),
            [("name", "key"), ("key", "s3cret-x")],
        ),
        (
            format!("/licenses/{}/leases?new", world.acme.license),
            [("pool", "seats"), ("token", "true")],
        ),
        ("/setup".to_owned(), [("slug", "fabrikam"), ("_key", "key of the form")]),
        ("/inspect".to_owned(), [("audience", "api"), ("token", "s3cret-x")]),
    ] {
        let page = sound(&browser.post(&path, &entries).await, 401);
        assert!(page.contains("Your session has ended"), "{page}");
        for (name, value) in entries {
            let kept = page.contains(&format!("name=\"{name}\" value=\"{value}\""));
            assert_eq!(kept, !value.starts_with("s3cret"), "{path} {name}: {page}");
            assert_eq!(page.contains(value), kept, "{path} {name}: {page}");
        }
    }
}

#[on_both]
async fn all_sessions_end_after_the_name_was_typed(world: World) {
    let first = sign_in(&world, &code(&world).await).await;
    let second = Browser::new(sign_in(&world, &code(&world).await).await);
    let page = sound(&second.get("/me").await, 200);
    assert!(page.contains("href=\"/console/me/end-sessions\""), "{page}");
    let page = sound(&second.get("/me/end-sessions").await, 200);
    assert!(page.contains("2 sessions end") && page.contains("name=\"_key\""), "{page}");
    let wrong = [("_confirm", "no")];
    let page = sound(&second.post("/me/end-sessions", &wrong).await, 422);
    assert!(page.contains("The confirmation must be"), "{page}");
    first.get("/me").await.expect(200);
    let me = second.client.get("/me").await.expect(200);
    let typed = [("_confirm", me["name"].as_str().unwrap())];
    let done = second.post("/me/end-sessions", &typed).await;
    let page = sound(&done, 200);
    assert!(page.contains("2 sessions ended"), "{page}");
    assert!(done.header("set-cookie").contains("Max-Age=0"), "{}", done.header("set-cookie"));
    first.get("/me").await.refused(401, "unauthenticated");
    second.client.get("/me").await.refused(401, "unauthenticated");
}

#[on_both]
async fn disabled_console_has_no_pages(world: World) {
    let off = |settings: &mut cp_server::Settings| {
        settings.console = ConsoleSettings { is_enabled: false };
    };
    let (app, client) = world.server(off);
    for path in ["/", "/console", "/console/sign-in"] {
        let client = client.clone().with("accept", "text/html");
        client.call(Method::GET, path, None).await.refused(404, "not_found");
    }
    assert!(console_links::create(&app, None).await.is_err());
    let start = world.anyone().with("accept", "text/html").call(Method::GET, "/", None).await;
    assert_eq!((start.status, start.header("location")), (303, "/console"));
    world.anyone().call(Method::GET, "/", None).await.refused(404, "not_found");
}
