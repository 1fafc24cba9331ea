//! What pages by hand say: the fix of a failing check, numbers, people, and the last use.

use chrono::TimeDelta;
use serde_json::json;

use super::{Browser, hidden, platform, sound};
use crate::world::{World, on_both};

#[on_both]
async fn failing_check_leads_to_its_fix(world: World) {
    let browser = platform(&world);
    let path = format!("/licenses/{}", world.acme.license);
    let bundle = world.post(format!("{path}/bundles"), json!({})).await.expect(201);
    let reason = json!({"reason": "late"});
    world.post(format!("{path}/suspend"), reason.clone()).await.expect(200);
    let checks = |page: &str| -> String {
        page.split("<ul class=\"checks\">")
            .nth(1)
            .unwrap()
            .split("</ul>")
            .next()
            .unwrap()
            .to_owned()
    };
    let page = checks(&sound(&browser.get(&path).await, 200));
    let fix = format!("href=\"/console{path}/reinstate\">Reinstate the license.</a>");
    assert!(page.contains(&fix), "{page}");
    let viewer = Browser::new(world.with_only(&["licenses:read"]).await);
    let page = checks(&sound(&viewer.get(&path).await, 200));
    assert!(page.contains("Reinstate the license.") && !page.contains("/reinstate"), "{page}");
    // The inspection of its token leads to the license.
    let entries = [("token", bundle["token"].as_str().unwrap())];
    let page = sound(&browser.post("/inspect", &entries).await, 200);
    assert!(checks(&page).contains(&format!("href=\"/console{path}\"")), "{page}");
    world.post(format!("{path}/reinstate"), reason).await.expect(200);
    let other = [entries[0], ("audience", "another")];
    let page = sound(&browser.post("/inspect", &other).await, 200);
    assert!(checks(&page).contains(&format!("href=\"/console{path}/bundles?new\"")), "{page}");
    world.patch(world.org(""), json!({"status": "suspended"})).await.expect(200);
    let page = checks(&sound(&browser.get(&path).await, 200));
    let fix = format!("href=\"/console/organizations/{}/reactivate\"", world.acme.org);
    assert!(page.contains(&fix), "{page}");
}

#[on_both]
async fn every_limit_has_a_link_and_a_deletion(world: World) {
    let browser = platform(&world);
    for n in 0..12 {
        let limit =
            json!({"metric": format!("metric-{n}"), "quantity": 18_204, "window": "calendar"});
        world.put(world.org("/limits"), limit).await.expect(201);
    }
    let path = format!("/organizations/{}/limits", world.acme.org);
    let page = sound(&browser.get(&path).await, 200);
    let limits = world.get(world.org("/limits?limit=50")).await.expect(200);
    for limit in limits["items"].as_array().unwrap() {
        let thing = format!("href=\"/console/limits/{}\"", limit["id"].as_str().unwrap());
        assert!(page.contains(&thing), "{limit}: {page}");
    }
    assert!(page.contains("18,204"), "{page}");
    let delete = page.split("href=\"/console").map(|rest| rest.split('"').next().unwrap());
    let delete = delete.filter(|to| to.contains("limits?delete=&amp;metric=metric-0&"));
    let delete = delete.map(|to| to.replace("&amp;", "&")).next().unwrap();
    let form = sound(&browser.get(&delete).await, 200);
    assert!(form.contains("value=\"metric-0\""), "{form}");
    let mut form = super::form::Form::of(&form);
    form.fill(&json!({}));
    let done = browser.post(form.action(), &form.pairs()).await;
    assert_eq!(done.status, 303, "{}", done.text());
    let left = world.get(world.org("/limits?metric=metric-0")).await.expect(200);
    assert_eq!(left["items"], json!([]));
}

#[on_both]
async fn numbers_of_the_days_have_groups(world: World) {
    let browser = platform(&world);
    let usage = json!({"metric": "runs", "quantity": 18_204});
    world.post(world.org("/usage"), usage).await.expect(201);
    let page = sound(&browser.get(&format!("/organizations/{}/limits", world.acme.org)).await, 200);
    assert!(page.contains("<td class=\"r\">18,204</td>"), "{page}");
}

#[on_both]
async fn change_with_a_dry_run_has_its_button_after_the_preview(world: World) {
    let browser = platform(&world);
    world.patch("/plans/internal", json!({"features": {"sso": true}})).await.expect(200);
    let budget = format!("/organizations/{}/budgets/studio/distribute", world.acme.org);
    let group = format!("group:{}", world.acme.group);
    for (path, entries, button) in [
        ("/plans/internal/migrate", vec![], "Move "),
        (&*budget, vec![("scopes", &*group), ("total", "300")], "Distribute"),
    ] {
        let form = sound(&browser.get(path).await, 200);
        let buttons = |page: &str| page.matches("<button class=\"btn primary\"").count();
        let form = form.split("<form class=\"form\"").nth(1).unwrap().to_owned();
        assert!(form.contains("<button class=\"btn primary\" name=\"_dry\""), "{form}");
        assert_eq!(buttons(&form), 1, "{form}");
        assert!(!form.contains("<button class=\"btn primary\">"), "{form}");
        // The key Enter sends the first button.
        assert!(form.contains("aria-hidden=\"true\" name=\"_dry\""), "{form}");
        let mut sent = entries.clone();
        sent.push(("_dry", "1"));
        let page = sound(&browser.post(path, &sent).await, 200);
        let form = page.split("<form class=\"form\"").nth(1).unwrap();
        assert!(form.contains(&format!("<button class=\"btn primary\">{button}")), "{page}");
    }
}

#[on_both]
async fn service_tokens_are_listed_by_last_use(world: World) {
    let browser = platform(&world);
    let path = format!("/organizations/{}/service-tokens", world.acme.org);
    let new = json!({"name": "used", "permissions": ["licenses:read"], "expires_at": "2026-03-01T00:00:00Z"});
    let used = world.post(world.org("/service-tokens"), new).await.expect(201);
    for n in 0..3 {
        let new = json!({"name": format!("idle-{n}"), "permissions": ["licenses:read"]});
        world.post(world.org("/service-tokens"), new).await.expect(201);
    }
    world.pass(TimeDelta::hours(2));
    world.by(used["token"].as_str().unwrap()).get(world.org("/licenses")).await.expect(200);
    // A task of its own records the use.
    let is_noted = async || {
        let tokens = world.get(world.org("/service-tokens?limit=50")).await.expect(200);
        let mut tokens = tokens["items"].as_array().unwrap().iter();
        tokens.any(|token| token["name"] == "used" && token["last_used_at"].is_string())
    };
    while !is_noted().await {
        tokio::task::yield_now().await;
    }
    let page = sound(&browser.get(&path).await, 200);
    for title in [">Last used<", ">Ends<", ">State<", ">Permits<"] {
        assert!(page.contains(title), "{title}: {page}");
    }
    assert!(page.contains("never") && page.contains("no end") && page.contains("1 Mar"), "{page}");
    let at =
        |name: &str| page.find(&format!(">{name}<")).unwrap_or_else(|| panic!("{name}: {page}"));
    assert!(at("used") < at("idle-0") && at("used") < at("idle-2"), "{page}");
}

#[on_both]
async fn effective_answer_finds_a_person_by_address(world: World) {
    let browser = platform(&world);
    let path = format!("/organizations/{}/effective", world.acme.org);
    let page = sound(&browser.get(&path).await, 200);
    assert!(page.contains("list=\"f-user-l\"") && page.contains("mats@acme.example"), "{page}");
    let page =
        sound(&browser.get(&format!("{path}?user=MATS@acme.example&subject=example")).await, 200);
    assert!(
        page.contains("value=\"mats@acme.example\"") && page.contains("<strong>example</strong>")
    );
    let by_id = format!("{path}?user={}&subject=example", world.acme.user);
    assert!(sound(&browser.get(&by_id).await, 200).contains("value=\"mats@acme.example\""));
    let none = sound(&browser.get(&format!("{path}?user=nobody@acme.example")).await, 200);
    assert!(none.contains("role=\"alert\"") && none.contains("nobody@acme.example"), "{none}");
}

#[on_both]
async fn tokens_of_today_lead_to_the_events_of_today(world: World) {
    let page = sound(&platform(&world).get("").await, 200);
    assert!(
        page.contains("/audit?action=bundles.issue&amp;since=2026-01-02T00%3A00%3A00Z"),
        "{page}"
    );
}

#[on_both]
async fn keys_state_how_many_customers_they_concern(world: World) {
    let browser = platform(&world);
    let page = sound(&browser.get("/signing/keys").await, 200);
    assert!(page.contains("2 valid tokens of 2 customers, 2 licenses"), "{page}");
    assert!(page.contains("/signing/keys?new#f-pem") && page.contains("Import…"), "{page}");
    let form = sound(&browser.get("/signing/keys?new").await, 200);
    assert!(form.contains("id=\"f-pem\""), "{form}");
    let form = sound(&browser.get("/signing/rotate").await, 200);
    assert!(form.contains("What an emergency affects"), "{form}");
    assert!(form.contains("2 valid tokens of 2 customers"), "{form}");
    let keys = world.get("/signing/keys").await.expect(200);
    let active = keys["items"].as_array().unwrap().iter().find(|key| key["state"] == "active");
    let active = active.unwrap()["kid"].as_str().unwrap();
    let form = sound(&browser.get(&format!("/signing/keys/{active}/compromise")).await, 200);
    assert!(form.contains("2 valid tokens of 2 customers"), "{form}");
}

#[on_both]
async fn invited_person_accepts_on_a_page(world: World) {
    let browser = platform(&world);
    let path = format!("/organizations/{}/invitations?new", world.acme.org);
    let entries = [("email", "new@acme.example"), ("role", "member")];
    let page = sound(&browser.post(&path, &entries).await, 200);
    let link = page.split("https://cp.example/console").nth(1).unwrap();
    let link = link.split('<').next().unwrap().to_owned();
    assert!(link.starts_with("/invitations/accept?token=cpin_"), "{page}");
    let anyone = Browser::new(world.anyone());
    let before = world.count_events().await;
    let answer = anyone.get(&link).await;
    let page = sound(&answer, 200);
    assert!(page.contains("Accept the invitation"), "{page}");
    assert_eq!(answer.header("referrer-policy"), "strict-origin");
    assert_eq!(world.count_events().await, before);
    let token = hidden(&page, "token");
    let done = anyone.post("/invitations/accept", &[("token", &token)]).await;
    assert!(sound(&done, 200).contains("The invitation is accepted"));
    let seats = world.get(world.org("/memberships?limit=50")).await.expect(200);
    let seats = seats["items"].as_array().unwrap();
    let own = seats.iter().find(|seat| seat["email"] == "new@acme.example").unwrap();
    assert_eq!(own["status"], "active");
    let again = anyone.post("/invitations/accept", &[("token", &token)]).await;
    assert!(again.status >= 400 && again.status < 500, "{}", again.text());
    assert!(again.text().contains("This invitation cannot be accepted"), "{}", again.text());
    sound(&anyone.get("/invitations/accept").await, 200);
    let other =
        anyone.send("/invitations/accept", &[("token", "cpin_x")], "https://evil.example").await;
    assert!(other.status >= 400, "{}", other.text());
}

#[on_both]
async fn organization_shows_seats_beside_quotas(world: World) {
    let page =
        sound(&platform(&world).get(&format!("/organizations/{}", world.acme.org)).await, 200);
    let seats = page.split("id=\"h-seats\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(seats.contains("<meter") && seats.contains("1 of 20"), "{seats}");
}

#[on_both]
async fn long_texts_are_compared_by_word(world: World) {
    let browser = platform(&world);
    let about = |word: &str| json!({"description": format!("The plan of teams that grow {word} every single year.")});
    world.patch("/plans/internal", about("slowly")).await.expect(200);
    world.patch("/plans/internal", about("quickly")).await.expect(200);
    let page = sound(&browser.get("/audit").await, 200);
    assert!(page.contains("<del>slowly</del>") && page.contains("<ins>quickly</ins>"), "{page}");
    assert!(!page.contains("<del>The plan"), "{page}");
}

#[on_both]
async fn access_of_a_member_is_explained(world: World) {
    let browser = platform(&world);
    let org = format!("/organizations/{}", world.acme.org);
    let page = sound(&browser.get(&format!("{org}/memberships")).await, 200);
    let link = format!("{org}/memberships/access?user={}", world.acme.user);
    assert!(page.contains(&link), "{page}");
    let page = sound(&browser.get(&link).await, 200);
    for part in
        ["Access of mats@acme.example", "Production", "The role in the organization.", "Admin"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
    let unknown = format!("{org}/memberships/access?user={}", world.acme.stranger);
    sound(&browser.get(&unknown).await, 404);
    let foreign = Browser::new(world.by(&world.globex.token));
    sound(&foreign.get(&link).await, 404);
}

#[on_both]
async fn lists_say_state_and_since(world: World) {
    let browser = platform(&world);
    let page = sound(&browser.get("/organizations").await, 200);
    for title in [">State<", ">Since<", "<th class=\"r\" scope=\"col\">Licenses<"] {
        assert!(page.contains(title), "{title}: {page}");
    }
    let list =
        sound(&browser.get(&format!("/organizations/{}/workspaces", world.acme.org)).await, 200);
    assert!(list.contains("<th scope=\"col\">State</th>"), "{list}");
}

#[on_both]
async fn change_of_several_shows_its_progress_from_the_start(world: World) {
    let entries = [("act", "reinstate"), ("_do", "1"), ("id", world.acme.license.as_str())];
    let page = sound(&platform(&world).post("/licenses/selected", &entries).await, 200);
    let begin = page.split("<ul class=\"rows\">").next().unwrap();
    assert!(begin.contains("<progress max=\"1\" value=\"0\""), "{page}");
}
