//! What a suspension or a revocation affects, before it is confirmed; and the columns of customers.

use serde_json::{Value, json};

use super::{Browser, platform, sound};
use crate::world::{World, on_both};

fn counts(tokens: i64, data_planes: i64) -> Value {
    json!({
        "tokens": {"value": tokens, "more": false},
        "data_planes": {"value": data_planes, "more": false},
    })
}

#[on_both]
async fn affected_counts_live_tokens_and_their_data_planes(world: World) {
    let license = &world.acme.license;
    let own = world.org("/licenses/affected");
    let of = |ids: &str| format!("{own}?licenses={ids}");
    assert_eq!(world.get(of(license)).await.expect(200), counts(1, 1));
    assert_eq!(world.get(&own).await.expect(200), counts(1, 2));
    // Another organization's license is not counted.
    assert_eq!(world.get(of(&world.globex.license)).await.expect(200), counts(0, 0));
    let both = format!("/licenses/affected?licenses={license},{}", world.globex.license);
    assert_eq!(world.get(&both).await.expect(200), counts(2, 2));
    world.by(&world.acme.token).get(&both).await.refused(403, "forbidden");
    world.by(&world.globex.token).get(of(license)).await.refused(404, "not_found");
    world.get(of("nonsense")).await.refused(422, "invalid");
    // A token counts until it ends, also while it is suspended.
    let bundle = world.post(format!("/licenses/{license}/bundles"), json!({"ttl_seconds": 86_400}));
    bundle.await.expect(201);
    assert_eq!(world.get(of(license)).await.expect(200), counts(2, 1));
    world.post(format!("/licenses/{license}/suspend"), json!({"reason": "late"})).await.expect(200);
    assert_eq!(world.get(of(license)).await.expect(200), counts(2, 1));
    world.post(format!("/licenses/{license}/revoke"), json!({})).await.expect(200);
    assert_eq!(world.get(of(license)).await.expect(200), counts(0, 1));
}

#[on_both]
async fn confirmations_name_what_they_affect(world: World) {
    let browser = platform(&world);
    let license = format!("/licenses/{}", world.acme.license);
    for action in ["suspend", "revoke", "transfer"] {
        let page = sound(&browser.get(&format!("{license}/{action}")).await, 200);
        assert!(page.contains("affects 1 token and 1 data plane"), "{action}: {page}");
    }
    let page = sound(&browser.get(&format!("/organizations/{}?delete", world.acme.org)).await, 200);
    assert!(page.contains("It affects 1 token and 2 data planes."), "{page}");
    // The numbers stay when the form is refused.
    let refused = browser.post(&format!("{license}/suspend"), &[("reason", "")]).await;
    assert!(sound(&refused, 422).contains("This affects 1 token"));
    let admin = Browser::new(world.member("admin").await);
    let page = admin.get(&format!("{license}/suspend")).await;
    assert!(page.status != 200 || page.text().contains("This affects 1 token"), "{}", page.text());
}

#[on_both]
async fn list_of_organizations_has_plan_licenses_and_seats(world: World) {
    let path = format!("/overview/organizations?ids={},{}", world.globex.org, world.acme.org);
    let summary = |org: &str| {
        json!({"organization_id": org, "plan_code": "team", "licenses": 1, "seats": 20,
               "used_seats": 1})
    };
    let both = json!({"organizations": [summary(&world.globex.org), summary(&world.acme.org)]});
    assert_eq!(world.get(&path).await.expect(200), both);
    world.by(&world.acme.token).get(&path).await.refused(403, "forbidden");
    world.get("/overview/organizations?ids=nonsense").await.refused(422, "invalid");
    let fresh = world.post("/organizations", json!({"name": "Fresh"})).await.expect(201);
    let path = format!("/overview/organizations?ids={}", fresh["id"].as_str().unwrap());
    let found = world.get(&path).await.expect(200);
    let found = &found["organizations"][0];
    assert_eq!((&found["licenses"], &found["used_seats"]), (&json!(0), &json!(0)));
    let browser = platform(&world);
    let page = sound(&browser.get("/organizations").await, 200);
    for part in [">Plan<", ">Licenses<", ">Seats<", "1 of 20", "team"] {
        assert!(page.contains(part), "{part}: {page}");
    }
    let none = sound(&browser.get("/organizations?q=none-of-them").await, 200);
    assert!(none.contains("No match"), "{none}");
    let own = Browser::new(world.by(&world.acme.token));
    assert!(!sound(&own.get("/organizations").await, 200).contains(">Seats<"));
}
