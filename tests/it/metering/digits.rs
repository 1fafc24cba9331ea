//! Quantities keep all their digits on every way: request, query string, report, audit event, log.

use axum::body::Body;
use axum::http::{Method, Request};
use cp_server::audit::integrator::integrate;
use cp_server::audit::verify::{Evidence, verify};
use serde_json::json;

use crate::world::{World, on_both, usage_report};

const FINE: &str = "3000000000001001.100001";
const SMALL: &str = "123456789012345.654321";

/// Sends a body with its digits. Returns the answer with its digits.
async fn send(world: &World, method: Method, path: &str, body: String) -> String {
    let request = Request::builder().method(method).uri(format!("/api/v1{path}"));
    let request = request.header("content-type", "application/json");
    let answer = world.root().send(request.body(Body::from(body)).unwrap()).await;
    assert!(answer.status < 300, "{path}: {}", answer.text());
    answer.text()
}

#[on_both]
async fn audit_event_has_the_digits_of_a_quantity_and_verifies(world: World) {
    let path = world.org("/limits");
    for quantity in [SMALL, "99999999999.123456"] {
        let body = format!("{{\"metric\":\"fine\",\"quantity\":{quantity}}}");
        let answer = send(&world, Method::PUT, &path, body).await;
        assert!(answer.contains(&format!("\"quantity\":{quantity}")), "{answer}");
    }
    let events = world.get(world.org("/audit?action=limits.put&limit=2")).await.text();
    let count = |digits: &str| events.matches(&format!("\"quantity\":{digits}")).count();
    // The first change has it after, and the second one before.
    assert_eq!((count(SMALL), count("99999999999.123456")), (2, 1), "{events}");
    integrate(&world.app).await.unwrap();
    let report = verify(Evidence::of(&world.app).await.unwrap(), None, true, |_, _| {}).await;
    assert!(report.is_ok(), "{:?}", report.err());
    // An erased event needs no content to be sound; the others still verify.
    let events = world.get(world.org("/audit?action=limits.put&limit=1")).await.expect(200);
    let ids = json!({"events": [events["items"][0]["id"]]});
    world.post("/audit/erasures", ids).await.expect(201);
    integrate(&world.app).await.unwrap();
    let report = verify(Evidence::of(&world.app).await.unwrap(), None, true, |_, _| {}).await;
    assert!(report.is_ok(), "{:?}", report.err());
}

#[on_both]
async fn quantity_keeps_its_digits_beside_a_query_string(world: World) {
    let path = format!("{}?metric=fine", world.org("/usage"));
    let answer = send(&world, Method::POST, &path, format!("{{\"quantity\":{SMALL}}}")).await;
    assert!(answer.contains(&format!("\"quantity\":{SMALL}")), "{answer}");
    assert!(answer.contains("\"metric\":\"fine\""), "{answer}");
    // Text never stands for a number.
    let request = Request::post(format!("/api/v1{path}"));
    let request = request.header("content-type", "application/json");
    let body = Body::from("{\"quantity\":\"\\u000012\"}");
    let refused = world.root().send(request.body(body).unwrap()).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
}

#[on_both]
async fn counter_of_a_report_and_sums_keep_their_digits(world: World) {
    let reports = format!("/deployments/{}/usage-reports", world.acme.deployment);
    let file = usage_report(&world.acme.deployment, &world.acme.license, 2, None);
    let file = file.replace(r#""seats":7"#, &format!(r#""fine":{SMALL}"#));
    world.post(&reports, json!({"file": file})).await.expect(201);
    let body = "{\"metric\":\"fine\",\"quantity\":876543210988655.44568}".to_owned();
    send(&world, Method::POST, &world.org("/usage"), body).await;
    let body = "{\"metric\":\"fine\",\"quantity\":1000000000000000}".to_owned();
    for _ in 0..2 {
        send(&world, Method::POST, &world.org("/usage"), body.clone()).await;
    }
    let listed = world.get(world.org("/usage?metric=fine")).await.text();
    assert!(listed.contains(&format!("\"quantity\":{SMALL}")), "{listed}");
    let sums = world.get(world.org("/usage/summary")).await.text();
    assert!(sums.contains(&format!("\"quantity\":{FINE}")), "{sums}");
}
