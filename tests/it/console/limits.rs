//! What a page costs: its statements, and its bytes.

use super::{Browser, platform};
use crate::world::{World, least_statements, on_both};

/// The most statements of a list.
const LIST: u64 = 12;
/// The statements of the page of a license. One is of the credential, one finds the owner of all rows,
/// and verdicts need three.
const LICENSE: u64 = 12;
/// The most bytes of a page.
const PAGE: usize = 60_000;

#[on_both]
async fn list_and_license_send_few_statements(world: World) {
    let browser = platform(&world);
    let org = format!("/organizations/{}", world.acme.org);
    for (path, most) in [
        (format!("{org}/licenses"), LIST),
        ("/licenses".to_owned(), LIST),
        (format!("{org}/deployments"), LIST),
        (format!("/licenses/{}", world.acme.license), LICENSE),
    ] {
        let sent = statements_of_page(&browser, &path).await;
        assert!(sent <= most, "{path}: {sent} statements");
        assert!(sent > 0, "{path}: no statement was seen");
    }
}

async fn statements_of_page(browser: &Browser, path: &str) -> u64 {
    least_statements(async || assert_eq!(browser.get(path).await.status, 200)).await
}

#[on_both]
async fn list_of_organizations_costs_the_same_for_more_rows(world: World) {
    let browser = platform(&world);
    let two = statements_of_page(&browser, "/organizations").await;
    for n in 0..20 {
        let new = serde_json::json!({"name": format!("Customer {n}")});
        world.post("/organizations", new).await.expect(201);
    }
    assert_eq!(statements_of_page(&browser, "/organizations").await, two);
    assert!(two <= LIST, "{two}");
}

#[on_both]
async fn pages_are_small(world: World) {
    let browser = platform(&world);
    let org = format!("/organizations/{}", world.acme.org);
    for n in 0..60 {
        let name = serde_json::json!({"name": format!("plane {n}")});
        world.post(world.org("/deployments"), name).await.expect(201);
    }
    let license = format!("/licenses/{}", world.acme.license);
    for path in ["", "/audit", &format!("{org}/deployments"), &org, &license] {
        let page = browser.get(path).await;
        assert!(page.body.len() <= PAGE, "{path}: {} bytes", page.body.len());
    }
}
