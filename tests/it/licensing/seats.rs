//! Seats of subscriptions and licenses when a plan or a contract changes.

use serde_json::{Value, json};

use crate::world::{World, on_both};

#[on_both]
async fn seats_that_came_from_a_plan_follow_the_plan(world: World) {
    let seats = async |patch: Value| {
        let subscription = change(&world, patch).await;
        (
            subscription["seat_cap"].as_i64().unwrap(),
            subscription["seats_from_plan"].as_bool().unwrap(),
        )
    };
    assert_eq!(seats(json!({"plan_code": "free"})).await, (3, true));
    assert_eq!(seats(json!({"plan_code": "enterprise"})).await, (1000, true));
    assert_eq!(seats(json!({"seat_cap": 25})).await, (25, false));
    assert_eq!(seats(json!({"plan_code": "team"})).await, (25, false), "agreed seats stay");
    assert_eq!(seats(json!({"seat_cap": null})).await, (20, true), "the plan's again");
    assert_eq!(seats(json!({"plan_code": "free", "seat_cap": 2})).await, (2, false));
    // A plan without seats leaves nothing to follow.
    seats(json!({"plan_code": "free", "seat_cap": null})).await;
    let path = format!("/subscriptions/{}", world.acme.subscription);
    world.patch(&path, json!({"plan_code": "internal"})).await.invalid("seat_cap");
}

#[on_both]
async fn seats_follow_a_migrated_plan_and_the_preview_names_the_capped_licenses(world: World) {
    set_own_seats(&world, 15).await;
    world.patch("/plans/team", json!({"seat_cap": 5})).await.expect(200);
    let license = json!([world.acme.license]);
    for (dry_run, seats) in [(true, 15), (false, 5)] {
        let done = world.post("/plans/team/migrate", json!({"dry_run": dry_run})).await.expect(200);
        let subscriptions = done["subscriptions"].as_array().unwrap();
        let acme =
            subscriptions.iter().find(|one| one["organization_id"] == world.acme.org).unwrap();
        assert_eq!(acme["capped_licenses"], license);
        assert_eq!(acme["changes"], json!({"seat_cap": {"before": 20, "after": 5}}));
        assert_eq!(signed_seats(&world).await, seats);
    }
    let subscription = world.get(format!("/subscriptions/{}", world.acme.subscription)).await;
    assert_eq!(subscription.expect(200)["seat_cap"], 5);
}

#[on_both]
async fn downgrade_below_a_license_is_refused_with_the_license(world: World) {
    set_own_seats(&world, 15).await;
    let path = format!("/subscriptions/{}", world.acme.subscription);
    let problem = world.patch(&path, json!({"plan_code": "free"})).await.refused(409, "in_use");
    let above = json!([{"license_id": world.acme.license, "seat_cap": 15}]);
    assert_eq!((&problem["licenses"], &problem["seat_cap"]), (&above, &json!(3)));
    assert_eq!(world.get(&path).await.expect(200)["plan_code"], "team", "nothing was changed");
    let both = json!({"plan_code": "free", "allow_more_seats": true, "lower_licenses": true});
    world.patch(&path, both).await.invalid("lower_licenses");
    // A revoked license is in no downgrade's way.
    world.post(format!("/licenses/{}/revoke", world.acme.license), json!({})).await.expect(200);
    world.patch(&path, json!({"plan_code": "free"})).await.expect(200);
}

#[on_both]
async fn downgrade_lowers_licenses_when_asked(world: World) {
    set_own_seats(&world, 15).await;
    change(&world, json!({"plan_code": "free", "lower_licenses": true})).await;
    let license = license(&world).await;
    assert_eq!(license["seat_cap"], 3);
    assert_eq!(license["effective"]["seat_cap"], json!({"value": 3, "from": "license"}));
    assert_eq!(signed_seats(&world).await, 3);
    // More seats later do not raise what was lowered.
    change(&world, json!({"plan_code": "team"})).await;
    assert_eq!(signed_seats(&world).await, 3);
}

#[on_both]
async fn downgrade_leaves_licenses_their_seats_when_allowed(world: World) {
    set_own_seats(&world, 15).await;
    change(&world, json!({"plan_code": "free", "allow_more_seats": true})).await;
    let license = license(&world).await;
    assert_eq!((&license["seat_cap"], &license["allow_more_seats"]), (&json!(15), &json!(true)));
    assert_eq!(signed_seats(&world).await, 15);
    let path = format!("/licenses/{}", world.acme.license);
    world.patch(&path, json!({"allow_more_seats": false})).await.expect(200);
    assert_eq!(signed_seats(&world).await, 3);
}

#[on_both]
async fn fewer_seats_in_a_contract_cap_its_licenses_until_there_are_more_again(world: World) {
    set_own_seats(&world, 15).await;
    for (seats, signed, from) in [(5, 5, "subscription"), (18, 15, "license")] {
        change(&world, json!({"seat_cap": seats})).await;
        let license = license(&world).await;
        assert_eq!(license["seat_cap"], 15);
        assert_eq!(license["effective"]["seat_cap"], json!({"value": signed, "from": from}));
        assert_eq!(signed_seats(&world).await, signed);
    }
    // The billing system's word is final, and no token has more than its contract.
    let account = json!({"plan": "free"});
    world.put(world.org("/billing-account"), account).await.expect(200);
    assert_eq!(signed_seats(&world).await, 3);
}

async fn change(world: &World, patch: Value) -> Value {
    world.patch(format!("/subscriptions/{}", world.acme.subscription), patch).await.expect(200)
}

async fn license(world: &World) -> Value {
    world.get(format!("/licenses/{}", world.acme.license)).await.expect(200)
}

async fn set_own_seats(world: &World, seats: i64) {
    let path = format!("/licenses/{}", world.acme.license);
    world.patch(&path, json!({"seat_cap": seats})).await.expect(200);
}

/// The seats of the next token.
async fn signed_seats(world: &World) -> i64 {
    let bundle = world.post(format!("/licenses/{}/bundles", world.acme.license), json!({})).await;
    bundle.expect(201)["payload"]["license"]["seat_cap"].as_i64().unwrap()
}
