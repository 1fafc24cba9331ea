//! The pages by hand, the frame, and refusals.

use axum::http::Method;

use super::{Browser, platform, sound};
use crate::world::{World, on_both};

#[on_both]
async fn person_of_one_organization_starts_there(world: World) {
    let token = Browser::new(world.by(&world.acme.token));
    let start = token.get("").await;
    let path = format!("/console/organizations/{}", world.acme.org);
    assert_eq!((start.status, start.header("location")), (303, &*path));
    let page = sound(&token.get(path.strip_prefix("/console").unwrap()).await, 200);
    assert!(page.contains("Acme") && !page.contains("Authority"), "{page}");
}

#[on_both]
async fn license_page_has_the_verdict(world: World) {
    let browser = platform(&world);
    let page = browser.get(&format!("/licenses/{}", world.acme.license)).await;
    let page = sound(&page, 200);
    for part in ["A data plane", "What it grants, and why", "Tokens", "History", "Issue a token"] {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[on_both]
async fn one_exact_hit_leads_to_its_page(world: World) {
    let browser = platform(&world);
    let found = browser.get(&format!("/search?q={}", world.acme.license)).await;
    let path = format!("/console/licenses/{}", world.acme.license);
    assert_eq!((found.status, found.header("location")), (303, &*path));
    let none = sound(&browser.get("/search?q=nothing-like-it").await, 200);
    assert!(none.contains("No match"), "{none}");
}

#[on_both]
async fn refusals_are_pages(world: World) {
    let browser = platform(&world);
    let missing = browser.get("/nothing/here").await;
    let page = sound(&missing, 404);
    assert!(page.contains("Not found"));
    let answer = browser.client.call(Method::PUT, "/console/organizations", None).await;
    sound(&answer, 405);
    let json = world.root().with("accept", "application/json");
    json.call(Method::PUT, "/console/organizations", None).await.refused(405, "method_not_allowed");
    assert_eq!(missing.header("referrer-policy"), "same-origin");
    assert_eq!(missing.header("cross-origin-resource-policy"), "same-origin");
}

#[on_both]
async fn assets_are_named_after_their_content(world: World) {
    let browser = platform(&world);
    let page = browser.get("").await.text();
    for ending in ["css", "js", "svg"] {
        let name = page.split("/console/assets/").skip(1).find_map(|rest| {
            let name = rest.split('"').next()?;
            name.ends_with(ending).then(|| name.to_owned())
        });
        let path = format!("/assets/{}", name.unwrap());
        let asset = browser.get(&path).await;
        assert_eq!(asset.status, 200);
        assert_eq!(asset.header("cache-control"), "public, max-age=31536000, immutable");
        let zipped = Browser::new(browser.client.clone().with("accept-encoding", "br, gzip"));
        let zipped = zipped.get(&path).await;
        assert_eq!(zipped.header("content-encoding"), "gzip");
        assert!(zipped.body.len() < asset.body.len());
        assert!(asset.body.len() <= if ending == "js" { 10_240 } else { 32_768 });
    }
    sound(&browser.get("/assets/console.0.css").await, 404);
    assert!(page.len() < 60_000, "{}", page.len());
}

#[on_both]
async fn audit_log_shows_differences(world: World) {
    let browser = platform(&world);
    let page = sound(&browser.get("/audit").await, 200);
    assert!(page.contains("class=\"diff\"") && page.contains("class=\"day\""), "{page}");
    let own = sound(&browser.get(&format!("/organizations/{}/audit", world.acme.org)).await, 200);
    assert!(own.contains("Audit log"));
    sound(&browser.get("/signing/keys").await, 200);
    sound(&browser.get("/all").await, 200);
    sound(&browser.get("/me").await, 200);
    let dark = browser.post("/me", &[("theme", "dark")]).await;
    let cookies: Vec<_> = dark.headers.get_all("set-cookie").iter().collect();
    assert!(cookies.iter().any(|one| one.to_str().unwrap().starts_with("cp_theme=dark")));
}

#[on_both]
async fn every_component_is_on_one_page(world: World) {
    let page = sound(&platform(&world).get("/kit").await, 200);
    for part in
        ["Form with refusals", "5 minutes ago", "in 3 hours", "Charts", "No deployments yet"]
    {
        assert!(page.contains(part), "{part}: {page}");
    }
}

#[on_both]
async fn thing_without_a_page_of_its_own_has_a_form(world: World) {
    let browser = platform(&world);
    let path = format!("/organizations/{}/quotas/storage_bytes", world.acme.org);
    let page = sound(&browser.get(&path).await, 200);
    assert!(page.contains("Change the quota storage_bytes"), "{page}");
    let done = browser.post(&path, &[("quantity", "unlimited")]).await;
    let list = format!("/console/organizations/{}/quotas", world.acme.org);
    assert_eq!((done.status, done.header("location")), (303, &*list), "{}", done.text());
    let page = sound(&browser.get(&format!("{path}?delete")).await, 200);
    assert!(page.contains("Delete the quota"), "{page}");
}
