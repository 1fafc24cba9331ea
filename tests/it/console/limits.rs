//! What a page costs: its statements, and its bytes.

use super::platform;
use crate::world::{World, count_statements, on_both, statements_so_far};

/// The most statements of a list.
const LIST: u64 = 12;
/// The most statements of the page of a license: two for most of its ten reads.
const LICENSE: u64 = 25;
/// The most bytes of a page.
const PAGE: usize = 60_000;

#[tokio::test]
async fn list_and_license_send_few_statements() {
    let Some(world) = World::on_postgres().await else { return };
    count_statements();
    let browser = platform(&world);
    let org = format!("/organizations/{}", world.acme.org);
    for (path, most) in [
        (format!("{org}/licenses"), LIST),
        ("/licenses".to_owned(), LIST),
        (format!("{org}/deployments"), LIST),
        (format!("/licenses/{}", world.acme.license), LICENSE),
    ] {
        // The least of three: now and then a request also records the last use of a credential.
        let mut least = u64::MAX;
        for _ in 0..3 {
            let before = statements_so_far();
            assert_eq!(browser.get(&path).await.status, 200);
            least = least.min(statements_so_far() - before);
        }
        assert!(least <= most, "{path}: {least} statements");
        assert!(least > 0, "{path}: no statement was seen");
    }
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
