//! The layer and the extractor, inside a real axum app.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::Response;
use axum::{Router, routing::get};
use dp_verifier::cp_contracts::Problem;
use dp_verifier::{
    FeatureLayer, LicenseContext, LicenseLayer, LicenseState, NotEntitled, Verifier,
};
use http_body_util::BodyExt;
use serde_json::json;
use tower::ServiceExt;

use crate::support::*;

fn verifier() -> Verifier {
    crate::support::verifier(&json!({ "keys": [KEY.jwk()] }))
}

fn app(layer: LicenseLayer) -> Router {
    async fn whose(license: LicenseContext) -> String {
        license.organization().name.clone()
    }
    Router::new()
        .route("/alerts", get(whose).layer(FeatureLayer::new("alerts_enabled")))
        .route("/exports", get(whose).layer(FeatureLayer::new("exports_enabled")))
        .route("/", get(whose))
        .layer(layer)
}

fn answer(app: Router, path: &str, headers: &[(&str, &str)]) -> Response {
    let request = headers
        .iter()
        .fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(app.oneshot(request.body(Body::empty()).unwrap())).unwrap()
}

fn body(response: Response) -> Vec<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(response.into_body().collect()).unwrap().to_bytes().to_vec()
}

#[track_caller]
fn assert_problem(response: Response, status: u16, code: &str) -> Problem {
    assert_eq!(response.status().as_u16(), status);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers().contains_key("www-authenticate"), status == 401);
    let problem: Problem = serde_json::from_slice(&body(response)).unwrap();
    assert_eq!((problem.status, problem.code.as_str()), (status, code));
    problem
}

fn layer() -> LicenseLayer {
    LicenseLayer::new(verifier()).or_token(None)
}

#[test]
fn a_request_with_a_license_is_admitted() {
    let token = KEY.token(&claims());
    let response = answer(app(layer()), "/", &[("x-license-token", &token)]);
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(body(response), b"Acme GmbH");
}

#[test]
fn a_request_without_one_is_refused_with_a_problem() {
    let refused = assert_problem(answer(app(layer()), "/", &[]), 401, "token_missing");
    assert_eq!(refused.kind, "/problems/token_missing");
    let expired = KEY.token(&claims_with("/exp", json!(NOW - 61)));
    let response = answer(app(layer()), "/", &[("x-license-token", &expired)]);
    let refused = assert_problem(response, 403, "expired");
    assert!(!refused.detail.contains(&expired[..40]));
    let token = KEY.token(&claims());
    let twice = [("x-license-token", token.as_str()), ("x-license-token", token.as_str())];
    assert_problem(answer(app(layer()), "/", &twice), 401, "token_malformed");
    let bearer = format!("Bearer {token}");
    let prefixed = [("x-license-token", bearer.as_str())];
    assert_problem(answer(app(layer()), "/", &prefixed), 401, "token_malformed");
}

#[test]
fn the_environment_s_token_is_used_when_a_request_has_none() {
    let token = KEY.token(&claims());
    let app = app(layer().or_token(Some(&token)));
    assert_eq!(answer(app.clone(), "/", &[]).status(), StatusCode::OK);
    // A bad token is refused, not replaced.
    let bad = [("x-license-token", "x.y.z")];
    assert_problem(answer(app.clone(), "/", &bad), 401, "token_malformed");
    assert_problem(answer(app, "/", &[("x-license-token", "")]), 401, "token_missing");
    // As a file or a shell leaves it.
    let around = self::app(layer().or_token(Some(&format!("\u{feff}{token} \r\n"))));
    assert_eq!(answer(around, "/", &[]).status(), StatusCode::OK);
    for empty in ["", " \n", "\u{feff}"] {
        let app = self::app(layer().or_token(Some(empty)));
        assert_problem(answer(app, "/", &[]), 401, "token_missing");
    }
}

#[test]
fn authorization_is_read_only_when_allowed_and_stripped_once() {
    let token = KEY.token(&claims());
    let once = format!("Bearer {token}");
    let lower = format!("bearer {token}");
    let twice = format!("Bearer Bearer {token}");
    let header = |value: &'_ str| [("authorization", value.to_owned())];
    let send = |layer, headers: &[(&str, String)]| {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        answer(app(layer), "/", &headers)
    };
    assert_problem(send(layer(), &header(&once)), 401, "token_missing");
    let allowed = || layer().or_authorization();
    assert_eq!(send(allowed(), &header(&once)).status(), StatusCode::OK);
    assert_eq!(send(allowed(), &header(&lower)).status(), StatusCode::OK);
    assert_problem(send(allowed(), &header(&twice)), 401, "token_malformed");
    assert_problem(send(allowed(), &header("Basic YTpi")), 401, "token_missing");
}

#[test]
fn a_feature_is_required_per_route() {
    let token = KEY.token(&claims());
    let headers = [("x-license-token", token.as_str())];
    assert_eq!(answer(app(layer()), "/alerts", &headers).status(), StatusCode::OK);
    let response = answer(app(layer()), "/exports", &headers);
    let refused = assert_problem(response, 403, "feature_not_included");
    assert!(refused.detail.contains("exports_enabled"));
    assert_problem(answer(app(layer()), "/alerts", &[]), 401, "token_missing");
}

#[test]
fn a_route_without_the_layer_fails_closed() {
    async fn handler(_: LicenseContext) {}
    let app = Router::new()
        .route("/", get(handler))
        .route("/feature", get(async || "open").layer(FeatureLayer::new("alerts_enabled")));
    let token = KEY.token(&claims());
    let headers = [("x-license-token", token.as_str())];
    assert_problem(answer(app.clone(), "/", &headers), 500, "internal");
    assert_problem(answer(app, "/feature", &headers), 500, "internal");
}

#[test]
fn a_handler_returns_what_is_not_included_as_it_is() {
    async fn strict(license: LicenseContext) -> Result<&'static str, NotEntitled> {
        license.require_state(&[LicenseState::Valid, LicenseState::Expiring])?;
        license.require_another("max_nothing", 0)?;
        Ok("unreachable")
    }
    let app = || Router::new().route("/", get(strict)).layer(layer());
    let mut late = claims_with("/exp", json!(NOW - 1));
    late["enforcement"]["grace_seconds"] = json!(60);
    for (claims, code) in [(late, "license_state_insufficient"), (claims(), "limit_reached")] {
        let token = KEY.token(&claims);
        let response = answer(app(), "/", &[("x-license-token", &token)]);
        assert_problem(response, 403, code);
    }
}

/// Leases in tokens and held leases, which the same layer requires.
mod leases {
    use dp_verifier::{Holder, LeaseContext, LeaseLayer};

    use super::*;

    fn license_claims() -> serde_json::Value {
        claims_with("/license/leasing", json!({ "render": { "kind": "floating", "cap": 5 } }))
    }

    fn lease(exp: i64) -> String {
        let license = claims();
        let id = license["license"]["license_id"].as_str().unwrap().parse().unwrap();
        KEY.signed(
            "lease+jwt",
            &json!({
                "iss": ISSUER, "aud": AUDIENCE, "sub": license["sub"],
                "jti": "018f2a00-0000-7000-8000-00000000aaaa",
                "iat": NOW - 10, "nbf": NOW - 10, "exp": exp, "hbnbf": NOW,
                "lease": {
                    "license_id": id, "pool": "render", "kind": "floating",
                    "holder": Holder::id("a").hash(id), "borrowed": true, "overage": false,
                },
            }),
        )
    }

    #[test]
    fn lease_token_is_required_beside_the_license() {
        async fn pool(axum::Extension(lease): axum::Extension<LeaseContext>) -> String {
            lease.pool().to_owned()
        }
        let app = |token: &str, holder: &str| {
            let lease = LeaseLayer::of_token(verifier(), token, &Holder::id(holder));
            Router::new().route("/", get(pool)).layer(lease)
        };
        let license = KEY.token(&license_claims());
        let headers = [("x-license-token", license.as_str())];
        let ask = |app: Router| answer(app.layer(layer()), "/", &headers);
        let response = ask(app(&format!("{}\n", lease(NOW + 1)), "a"));
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(body(response), b"render");
        let refused = assert_problem(ask(app(&lease(NOW), "a")), 503, "lease_lost");
        assert!(refused.detail.contains("lease_expired"), "{}", refused.detail);
        let refused = assert_problem(ask(app(&lease(NOW + 1), "b")), 503, "lease_lost");
        assert!(refused.detail.contains("holder_mismatch"), "{}", refused.detail);
        assert_problem(answer(app(&lease(NOW + 1), "a"), "/", &headers), 500, "internal");
    }

    #[cfg(feature = "fetch")]
    #[test]
    fn held_lease_is_required_and_can_be_replaced() {
        use crate::control_plane::{ControlPlane, TTL};
        use dp_verifier::cp_contracts::ProblemCode;

        let server = ControlPlane::start();
        let verifier = server.builder().build().unwrap();
        let license = verifier.verify(&KEY.token(&server.claims())).unwrap();
        let seats = verifier.leases("cpat_token").of(&license);
        let lease = LeaseLayer::new(seats.acquire("render", &Holder::id("a")).unwrap());
        let app = Router::new().route("/", get(async || "open")).layer(lease.clone());
        let ask = || answer(app.clone(), "/", &[]);
        assert_eq!(ask().status(), StatusCode::OK);
        // Without the network the app goes on until the end of the lease.
        server.set_down(true);
        server.set_clock(NOW + TTL - 1);
        seats.send_heartbeats();
        assert_eq!(ask().status(), StatusCode::OK);
        server.set_clock(NOW + TTL);
        let refused = assert_problem(ask(), 503, "lease_lost");
        assert!(refused.detail.contains("lease_expired"), "{}", refused.detail);
        server.set_down(false);
        lease.replace(seats.acquire("render", &Holder::id("a")).unwrap());
        assert_eq!(ask().status(), StatusCode::OK);
        server.refuse_with(ProblemCode::LicenseSuspended);
        server.set_clock(NOW + TTL + TTL / 2);
        seats.send_heartbeats();
        let refused = assert_problem(ask(), 503, "lease_lost");
        assert!(refused.detail.contains("license_suspended"), "{}", refused.detail);
    }

    #[cfg(feature = "fetch")]
    #[test]
    fn token_of_a_check_in_is_used_when_a_request_has_none() {
        use crate::control_plane::ControlPlane;

        let server = ControlPlane::start();
        server.issue(&KEY, &server.claims());
        let verifier = server.builder().check_in(server.check_in_url(), "cpat_token");
        let layer = LicenseLayer::new(verifier.build().unwrap()).or_token(None);
        assert_eq!(answer(app(layer), "/", &[]).status(), StatusCode::OK);
    }
}
