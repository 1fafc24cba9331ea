//! The pages by hand: what they show, and what they lead to.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Browser, hidden, platform, sound};
use crate::world::{World, on_both};

#[on_both]
async fn token_is_inspected_step_by_step(world: World) {
    let browser = platform(&world);
    let path = format!("/licenses/{}/bundles", world.acme.license);
    let issued = world.post(&path, json!({})).await.expect(201);
    let token = issued["token"].as_str().unwrap();
    sound(&browser.get("/inspect").await, 200);
    let page = sound(&browser.post("/inspect", &[("token", token)]).await, 200);
    for part in ["A data plane accepts this token now", "Signature", "Acme", "All claims"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let file = world.post(&path, json!({"form": "file"})).await.expect(201);
    let file = file["file"].as_str().unwrap();
    let page = sound(&browser.post("/inspect", &[("token", file)]).await, 200);
    assert!(page.contains("A data plane accepts this token now"), "{page}");
    let other = [("token", token), ("audience", "another")];
    let page = sound(&browser.post("/inspect", &other).await, 200);
    assert!(page.contains("refuses this token: audience wrong") && page.contains("What to do"));
    let page = sound(&browser.post("/inspect", &[("token", "nonsense")]).await, 200);
    assert!(page.contains("A data plane refuses this token"), "{page}");
    let empty = sound(&browser.post("/inspect", &[("token", " ")]).await, 200);
    assert!(empty.contains("A data plane refuses this token"), "{empty}");
    let found = sound(&browser.get("/search?q=eyJhbGciOi").await, 200);
    assert!(found.contains("This looks like a token"), "{found}");
}

#[on_both]
async fn customer_is_set_up_in_five_steps(world: World) {
    let browser = platform(&world);
    let mut path = "/setup".to_owned();
    let steps: [(&str, &[(&str, &str)]); 4] = [
        ("organization", &[("name", "Fabrikam")]),
        ("subscription", &[("plan_code", "team")]),
        ("deployment", &[("name", "Production"), ("type", "cloud")]),
        ("license", &[("name", "First")]),
    ];
    for (n, (noun, entries)) in steps.into_iter().enumerate() {
        let page = sound(&browser.get(&path).await, 200);
        assert!(page.contains(&format!("Step {} of 5", n + 1)), "{noun}: {page}");
        let key = hidden(&page, "_key");
        let mut all = vec![("_key", &*key)];
        all.extend(entries);
        let done = browser.post(&path, &all).await;
        assert_eq!(done.status, 303, "{noun}: {}", done.text());
        path = done.header("location").strip_prefix("/console").unwrap().to_owned();
        assert!(path.contains(&format!("{noun}=")), "{path}");
    }
    let page = sound(&browser.get(&path).await, 200);
    assert!(page.contains("Step 5 of 5"), "{page}");
    let page = sound(&browser.post(&path, &[("ttl_seconds", "86400")]).await, 200);
    assert!(page.contains("LICENSE_TOKEN=eyJ"), "{page}");
    // What is refused stays at its field, and nothing is lost.
    let refused = browser.post("/setup", &[("name", ""), ("slug", "fabrikam-2")]).await;
    assert!(sound(&refused, 422).contains("value=\"fabrikam-2\""));
}

#[on_both]
async fn organization_is_suspended_with_a_reason_and_reactivated(world: World) {
    let browser = platform(&world);
    let path = format!("/organizations/{}", world.acme.org);
    let page = sound(&browser.get(&format!("{path}/suspend")).await, 200);
    assert!(page.contains("This affects 1 token and 2 data planes"), "{page}");
    assert!(!page.contains("_confirm"), "{page}");
    let refused = browser.post(&format!("{path}/suspend"), &[("reason", "")]).await;
    assert!(sound(&refused, 422).contains("Give a reason"));
    let entries = [("reason", "The invoice is open.")];
    let done = browser.post(&format!("{path}/suspend"), &entries).await;
    assert_eq!((done.status, done.header("location")), (303, &*format!("/console{path}")));
    assert_eq!(world.get(world.org("")).await.expect(200)["status"], "suspended");
    let event = world.get("/audit?limit=1").await.expect(200)["items"][0].clone();
    assert_eq!(event["reason"], "The invoice is open.");
    let overview = sound(&browser.get("").await, 200);
    assert!(overview.contains("Acme is suspended") && overview.contains("Reactivate"));
    let done = browser.post(&format!("{path}/reactivate"), &[]).await;
    assert_eq!(done.status, 303, "{}", done.text());
    // From ten data planes on, the name is asked for.
    for n in 0..10 {
        let new = json!({"name": format!("plane {n}")});
        world.post(world.org("/deployments"), new).await.expect(201);
    }
    let page = sound(&browser.get(&format!("{path}/suspend")).await, 200);
    assert!(page.contains("12 data planes") && page.contains("name=\"_confirm\""), "{page}");
    assert_eq!(browser.post(&format!("{path}/suspend"), &entries).await.status, 422);
    let typed = [entries[0], ("_confirm", "Acme")];
    assert_eq!(browser.post(&format!("{path}/suspend"), &typed).await.status, 303);
}

#[on_both]
async fn usage_has_pictures_and_forecasts(world: World) {
    let browser = platform(&world);
    let limit = json!({"metric": "runs", "quantity": 100, "window": "calendar"});
    world.put(world.org("/limits"), limit).await.expect(201);
    let usage = json!({"metric": "runs", "quantity": 40});
    world.post(world.org("/usage"), usage).await.expect(201);
    let path = format!("/organizations/{}/limits", world.acme.org);
    let page = sound(&browser.get(&path).await, 200);
    for part in ["runs by the day", "polyline", "40 of 100", "The same as a table"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    sound(&browser.get(&format!("{path}?days=90")).await, 200);
    sound(&browser.get(&format!("{path}?new")).await, 200);
}

#[on_both]
async fn seats_have_holders_and_an_end(world: World) {
    let browser = platform(&world);
    let path = format!("/licenses/{}/leases", world.acme.license);
    let page = sound(&browser.get(&path).await, 200);
    assert!(page.contains("Assign a seat") && page.contains("End lease"), "{page}");
    assert!(page.contains("Pools") && page.contains(" of 20"), "{page}");
}

#[on_both]
async fn effective_answer_names_the_deciding_level(world: World) {
    let browser = platform(&world);
    let path = format!("/organizations/{}/effective", world.acme.org);
    let page = sound(&browser.get(&path).await, 200);
    assert!(page.contains("The organization itself") || page.contains("the organization itself"));
    assert!(page.contains("Decided by"), "{page}");
    let one = sound(&browser.get(&format!("{path}?subject=example")).await, 200);
    assert!(one.contains(" may use ") || one.contains(" may not use "), "{one}");
    let wrong = sound(&browser.get(&format!("{path}?project=x")).await, 200);
    assert!(wrong.contains("role=\"alert\""), "{wrong}");
}

#[on_both]
async fn budget_webhook_plan_and_people_have_their_pages(world: World) {
    let browser = platform(&world);
    let org = format!("/organizations/{}", world.acme.org);
    let budgets = world.get(world.org("/budgets")).await.expect(200);
    let product = budgets["items"][0]["product"].as_str().unwrap();
    let page = sound(&browser.get(&format!("{org}/budgets/{product}")).await, 200);
    assert!(page.contains("Allocations") && page.contains("Distribute"), "{page}");
    let webhooks = world.get(world.org("/webhooks")).await.expect(200);
    let webhook = webhooks["items"][0]["id"].as_str().unwrap();
    let page = sound(&browser.get(&format!("/webhooks/{webhook}")).await, 200);
    assert!(page.contains("Deliveries") && page.contains("Send a test"), "{page}");
    let deliveries = world.get(format!("/webhooks/{webhook}/deliveries")).await.expect(200);
    let delivery = deliveries["items"][0]["id"].as_str().unwrap();
    let page = sound(&browser.get(&format!("/webhook-deliveries/{delivery}")).await, 200);
    assert!(page.contains("Attempts"), "{page}");
    let page = sound(&browser.get("/plans/internal").await, 200);
    assert!(page.contains("Version 1"), "{page}");
    let page = sound(&browser.get(&format!("{org}/memberships")).await, 200);
    assert!(page.contains("owner") && page.contains("Sign-in links"), "{page}");
    assert!(!page.contains("Sign-in link…"), "{page}");
    let done = browser.post(&format!("{org}/memberships/links"), &[("on", "true")]).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let page = sound(&browser.get(&format!("{org}/memberships")).await, 200);
    assert!(page.contains("Sign-in link…") && page.contains("Switch off"), "{page}");
    let form = sound(&browser.get(&format!("{org}/console-links")).await, 200);
    assert!(form.contains("New sign-in link"), "{form}");
    let page = sound(&browser.get(&format!("{org}/roles")).await, 200);
    assert!(page.contains("ORGANIZATION_ADMIN"), "{page}");
    let page = sound(&browser.get(&format!("{org}/service-tokens?new")).await, 200);
    for part in ["Start from a role", "value=\"licenses:read\"", "name=\"expires_at\""] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let entries = [
        ("name", "reader"),
        ("permissions", "licenses:read"),
        ("permissions", "org:read"),
        ("expires_at", "2026-03-01 00:00"),
    ];
    let page = sound(&browser.post(&format!("{org}/service-tokens?new"), &entries).await, 200);
    assert!(page.contains("It is shown this once"), "{page}");
    let tokens = world.get(world.org("/service-tokens")).await.expect(200);
    assert_eq!(tokens["items"][0]["permissions"], json!(["licenses:read", "org:read"]));
}

#[on_both]
async fn dry_run_comes_before_the_change(world: World) {
    let browser = platform(&world);
    world.patch("/plans/internal", json!({"features": {"sso": true}})).await.expect(200);
    let path = "/plans/internal/migrate";
    let form = sound(&browser.get(path).await, 200);
    assert!(form.contains("Show what would change"), "{form}");
    let before = world.count_events().await;
    let page = sound(&browser.post(path, &[("_dry", "1"), ("_key", "k")]).await, 200);
    assert!(page.contains("What would change") && page.contains("Move "), "{page}");
    assert_eq!(world.count_events().await, before);
    let done = browser.post(path, &[("_key", "k")]).await;
    assert_eq!(done.status, 303, "{}", done.text());
    assert_eq!(world.count_events().await, before + 1);
}

#[on_both]
async fn tokens_of_a_day_are_counted(world: World) {
    let path = format!("/licenses/{}/bundles", world.acme.license);
    let count = async || -> Vec<Value> {
        let daily = world.get("/issuance/daily").await.expect(200);
        let days = daily["days"].as_array().unwrap().clone();
        assert_eq!(days.len(), 90);
        days
    };
    let before = count().await[89]["issued"].as_i64().unwrap();
    world.post(&path, json!({})).await.expect(201);
    assert_eq!(count().await[89]["issued"], json!(before + 1));
    world.pass(chrono::TimeDelta::days(2));
    world.post(&path, json!({})).await.expect(201);
    let live = count().await;
    cp_server::licensing::issuance_days::close(&world.app).await.unwrap();
    cp_server::licensing::issuance_days::close(&world.app).await.unwrap();
    let closed = count().await;
    assert_eq!(live, closed);
    let last: Vec<i64> = closed[87..].iter().map(|day| day["issued"].as_i64().unwrap()).collect();
    assert_eq!(last, [before + 1, 0, 1]);
    assert!(closed.iter().all(|day| day["more"] == false));
}

/// The forms and actions that the pages of a person offer are permitted to the person.
#[on_both]
async fn pages_offer_what_the_caller_may_do(world: World) {
    // An empty organization has pages of its own: each offers the first thing.
    let fresh = world.post("/organizations", json!({"name": "Fresh"})).await.expect(201);
    let fresh = format!("/organizations/{}", fresh["id"].as_str().unwrap());
    for role in ["viewer", "admin"] {
        let email = format!("{role}@fresh.example");
        let user = world.post("/users", json!({"email": email})).await.expect(201);
        let user = user["id"].as_str().unwrap();
        let link = json!({"provider": "auth0", "subject": email});
        world.post(format!("/users/{user}/auth-accounts"), link).await.expect(201);
        let seat = json!({"user_id": user, "role": role});
        world.post(format!("{fresh}/memberships"), seat).await.expect(201);
        let browser = Browser::new(world.person(&email));
        let offers = offers(&browser, std::slice::from_ref(&fresh)).await;
        assert_eq!(offers.iter().any(|offer| offer.ends_with("?new")), role == "admin");
        assert_permitted(&browser, &offers, role).await;
    }
    for role in ["viewer", "admin"] {
        let browser = Browser::new(world.member(role).await);
        let org = format!("/organizations/{}", world.acme.org);
        let pages = [
            org.clone(),
            format!("/licenses/{}", world.acme.license),
            format!("/licenses/{}/leases", world.acme.license),
            format!("/deployments/{}", world.acme.deployment),
            format!("{org}/memberships"),
            format!("{org}/roles"),
            format!("{org}/limits"),
            format!("{org}/service-tokens"),
            format!("{org}/webhooks"),
            format!("{org}/licenses"),
            format!("{org}/subscriptions"),
            format!("{org}/effective"),
            format!("/subscriptions/{}", world.acme.subscription),
        ];
        let offers = offers(&browser, &pages).await;
        assert_permitted(&browser, &offers, role).await;
        if role == "admin" {
            assert!(offers.len() > 5, "{offers:?}");
        }
    }
}

/// The forms and actions to which pages lead.
async fn offers(browser: &Browser, pages: &[String]) -> BTreeSet<String> {
    let mut offers = BTreeSet::new();
    for path in pages {
        let answer = browser.get(path).await;
        if answer.status != 200 {
            assert!([403, 404].contains(&answer.status), "{path}: {}", answer.text());
            continue;
        }
        let page = sound(&answer, 200);
        let hrefs = page.split("href=\"/console").skip(1).filter_map(|rest| rest.split('"').next());
        let forms = [
            "?new",
            "?edit",
            "?delete",
            "/suspend",
            "/revoke",
            "/rotate",
            "/token",
            "/renew",
            "/transfer",
            "form=file",
        ];
        let is_form = |href: &&str| forms.iter().any(|form| href.ends_with(form));
        offers.extend(hrefs.filter(is_form).map(|href| href.replace("&amp;", "&")));
    }
    offers
}

async fn assert_permitted(browser: &Browser, offers: &BTreeSet<String>, role: &str) {
    for offer in offers {
        let answer = browser.post(offer, &[("_confirm", "no")]).await;
        // The values of a row decide whether a caller may grant them.
        let lacks = answer.text().contains("does not hold the permission");
        assert!(!lacks, "{role} is offered {offer}: {}", answer.text());
    }
}

/// The menu of a license has what its own operations permit.
#[on_both]
async fn menu_of_a_license_offers_each_action_by_its_permission(world: World) {
    let path = format!("/licenses/{}", world.acme.license);
    for (permission, offered, missing) in [
        ("licenses:write", "Transfer…", "License file"),
        ("licenses:issue", "License file", "Transfer…"),
    ] {
        let client = world.with_only(&["licenses:read", permission]).await;
        let browser = Browser::new(client);
        let page = sound(&browser.get(&path).await, 200);
        assert!(page.contains(offered) && !page.contains(missing), "{permission}: {page}");
        let offers = offers(&browser, std::slice::from_ref(&path)).await;
        assert_permitted(&browser, &offers, permission).await;
    }
}

#[on_both]
async fn license_shows_the_seats_of_its_plan(world: World) {
    let path = format!("/licenses/{}", world.acme.license);
    world.patch(&path, json!({"seat_cap": 7})).await.expect(200);
    let page = sound(&platform(&world).get(&path).await, 200);
    let seats = page.split("<code>seats</code>").nth(1).unwrap().split("</tr>").next().unwrap();
    assert!(seats.contains("class=\"lost\" data-l=\"plan\"><span>20</span>"), "{seats}");
    assert!(seats.contains("class=\"win\" data-l=\"license\"><span>7</span>"), "{seats}");
}

#[on_both]
async fn several_licenses_are_changed_at_once(world: World) {
    let browser = platform(&world);
    let list =
        sound(&browser.get(&format!("/organizations/{}/licenses", world.acme.org)).await, 200);
    assert!(list.contains("name=\"id\"") && list.contains("value=\"suspend\""), "{list}");
    let viewer = Browser::new(world.with_only(&["licenses:read"]).await);
    let own = viewer.get(&format!("/organizations/{}/licenses", world.acme.org)).await;
    assert!(!sound(&own, 200).contains("name=\"act\""), "a viewer is offered nothing");
    let ids = [world.acme.license.as_str(), world.globex.license.as_str()];
    let entries = |more: &[(&'static str, &'static str)]| -> Vec<(String, String)> {
        let ids = ids.iter().map(|id| ("id".to_owned(), (*id).to_owned()));
        let own = more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        ids.chain(own).collect()
    };
    let post = async |entries: Vec<(String, String)>| {
        let entries: Vec<(&str, &str)> =
            entries.iter().map(|(name, value)| (&**name, &**value)).collect();
        browser.post("/licenses/selected", &entries).await
    };
    let page = sound(&post(entries(&[("act", "suspend")])).await, 200);
    assert!(page.contains("Suspend 2 licenses") && page.contains("name=\"reason\""), "{page}");
    assert!(page.contains("This affects 2 tokens and 2 data planes"), "{page}");
    let page = post(entries(&[("act", "suspend"), ("_do", "1")])).await;
    let page = sound(&page, 422);
    assert!(page.contains("Give a reason") && page.contains("aria-describedby=\"f-reason-"));
    let done = entries(&[("act", "suspend"), ("_do", "1"), ("reason", "Unpaid."), ("_key", "k")]);
    let page = sound(&post(done.clone()).await, 200);
    assert!(page.contains("2 done"), "{page}");
    // Sent again, nothing is done twice.
    let before = world.count_events().await;
    assert!(sound(&post(done).await, 200).contains("2 done"));
    assert_eq!(world.count_events().await, before);
    let page =
        sound(&post(entries(&[("act", "revoke"), ("_do", "1"), ("reason", "x")])).await, 422);
    assert!(page.contains("The confirmation must be “2”"), "{page}");
    let page = sound(&post(entries(&[("act", "issue"), ("_do", "1")])).await, 200);
    assert!(page.contains("2 failed") && page.contains("Retry the failed ones"), "{page}");
    let page = sound(&post(entries(&[("act", "reinstate"), ("_do", "1")])).await, 200);
    assert!(page.contains("2 done"), "{page}");
    let page = sound(&post(entries(&[("act", "issue"), ("_do", "1")])).await, 200);
    assert_eq!(page.matches("<output id=\"t-").count(), 2, "{page}");
}

#[on_both]
async fn suspension_of_many_licenses_asks_for_their_number(world: World) {
    let browser = platform(&world);
    let mut ids = Vec::new();
    for n in 0..10 {
        let new = json!({"name": format!("plane {n}")});
        let deployment = world.post(world.org("/deployments"), new).await.expect(201);
        let path = format!("/deployments/{}/licenses", deployment["id"].as_str().unwrap());
        let license = world.post(path, json!({})).await.expect(201);
        ids.push(license["id"].as_str().unwrap().to_owned());
    }
    let suspend = async |ids: &[String], more: &[(&str, &str)]| {
        let own = [("act", "suspend"), ("_do", "1"), ("reason", "Unpaid.")];
        let mut entries: Vec<(&str, &str)> = ids.iter().map(|id| ("id", &**id)).collect();
        entries.extend(own.iter().chain(more));
        browser.post("/licenses/selected", &entries).await
    };
    let page = sound(&suspend(&ids, &[]).await, 422);
    assert!(page.contains("The confirmation must be “10”"), "{page}");
    let license = world.get(format!("/licenses/{}", ids[0])).await.expect(200);
    assert_eq!(license["status"], "active");
    // Nine are few.
    assert!(sound(&suspend(&ids[..9], &[]).await, 200).contains("9 done"));
    let page = sound(&suspend(&ids, &[("_confirm", "10")]).await, 200);
    assert!(page.contains("done"), "{page}");
}
