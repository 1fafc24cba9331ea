//! Keys at a signing service.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use cp_contracts::TokenStatus;
use cp_server::kernel::app::Part;
use cp_server::kernel::secret::Secret;
use cp_server::licensing::keys::keyring::Keyring;
use cp_server::licensing::keys::rotation;
use cp_server::licensing::keys::service::SigningService;
use cp_server::{App, licensing};
use dp_verifier::Verifier;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::status_of;
use crate::world::{AUDIENCE, Client, ISSUER, ROOT, World, on_both};

const TOKEN: &str = "token-of-the-signing-service";

/// What goes wrong.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Fault {
    #[default]
    None,
    /// Every request is refused.
    Refuses,
    /// Another key signs.
    MixesUpKeys,
    /// Signatures are no base64url.
    Garbles,
    /// The answer has more bytes than a client should read.
    Floods,
    /// New keys are smaller than requested.
    MakesSmallKeys,
    /// New keys have names that are no segment of a path.
    NamesBadly,
}

/// A service with real keys, over HTTP on loopback.
#[derive(Clone, Default)]
struct Service(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    keys: HashMap<String, Arc<KeyPair>>,
    fault: Fault,
    /// The bodies of all requests.
    requests: Vec<Value>,
}

impl Service {
    async fn start() -> (Self, Arc<SigningService>) {
        let service = Self::default();
        let router = Router::new()
            .route("/v1/keys", post(generate))
            .route("/v1/keys/{name}/signatures", post(sign))
            .with_state(service.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (
            service,
            Arc::new(SigningService::new(&url, Arc::new(Secret::new(TOKEN.to_owned())), None)),
        )
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    fn fault(&self, fault: Fault) {
        self.inner().fault = fault;
    }

    /// Takes a request down, unless it is refused.
    fn take(&self, headers: &HeaderMap, body: &Value) -> Result<Fault, StatusCode> {
        let mut inner = self.inner();
        inner.requests.push(body.clone());
        let is_known = headers["authorization"] == format!("Bearer {TOKEN}");
        match inner.fault {
            _ if !is_known => Err(StatusCode::UNAUTHORIZED),
            Fault::Refuses => Err(StatusCode::SERVICE_UNAVAILABLE),
            fault => Ok(fault),
        }
    }
}

async fn generate(
    State(service): State<Service>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let fault = match service.take(&headers, &body) {
        Ok(fault) => fault,
        Err(status) => return status.into_response(),
    };
    let size = match body["bits"].as_u64().unwrap() {
        3072 if fault != Fault::MakesSmallKeys => KeySize::Rsa3072,
        _ => KeySize::Rsa2048,
    };
    let pair = KeyPair::generate(size).unwrap();
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let public = pair.public_key();
    let n = text(public.modulus().big_endian_without_leading_zero());
    let e = text(public.exponent().big_endian_without_leading_zero());
    let mut inner = service.inner();
    let number = inner.keys.len();
    let name = if fault == Fault::NamesBadly { "a/b".into() } else { format!("key-{number}") };
    inner.keys.insert(name.clone(), Arc::new(pair));
    let made = json!({"key": name, "jwk": {"kty": "RSA", "n": n, "e": e}, "more": "ignored"});
    (StatusCode::CREATED, Json(made)).into_response()
}

async fn sign(
    State(service): State<Service>,
    Path(name): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let fault = match service.take(&headers, &body) {
        Ok(fault) => fault,
        Err(status) => return status.into_response(),
    };
    let inner = service.inner();
    let Some(pair) = inner.keys.get(&name).cloned() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let pair = match fault {
        Fault::MixesUpKeys => Arc::new(KeyPair::generate(KeySize::Rsa2048).unwrap()),
        _ => pair,
    };
    let digest = URL_SAFE_NO_PAD.decode(body["digest"].as_str().unwrap()).unwrap();
    let digest = Digest::import_less_safe(&digest, &SHA256).unwrap();
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign_digest(&RSA_PKCS1_SHA256, &digest, &mut signature).unwrap();
    let text = match fault {
        Fault::Garbles => "=+/".to_owned(),
        Fault::Floods => "A".repeat(1024 * 1024),
        _ => URL_SAFE_NO_PAD.encode(signature),
    };
    (StatusCode::CREATED, Json(json!({"signature": text}))).into_response()
}

/// A server whose new keys are at the service, and whose active key is such a key.
async fn moved(world: &World) -> (Service, App, Client) {
    let (service, settings) = Service::start().await;
    let (app, client) = world.server(|own| {
        own.keys.service = Some(settings);
        own.keys.bits = 3072;
    });
    let client = client.token(ROOT);
    Keyring::of(&app).refresh(&app).await.unwrap();
    // Made before the service was set up, the successor is a key of the database.
    let made = client.post("/signing/keys", json!({})).await.expect(201);
    assert_eq!((&made["service_key"], &made["bits"]), (&json!("key-0"), &json!(3072)));
    world.pass(TimeDelta::hours(1));
    let kid = made["kid"].as_str().unwrap();
    client.post(format!("/signing/keys/{kid}/activate"), json!({})).await.expect(200);
    (service, app, client)
}

async fn issue(client: &Client, world: &World) -> crate::world::Answer {
    client.post(format!("/licenses/{}/bundles", world.acme.license), json!({})).await
}

#[on_both]
async fn license_of_a_service_key_verifies(world: World) {
    let (service, app, client) = moved(&world).await;
    let bundle = issue(&client, &world).await.expect(201);
    let verifier = Verifier::builder()
        .issuer(ISSUER)
        .audience(AUDIENCE)
        .jwks(Keyring::of(&app).jwks())
        .build()
        .unwrap();
    let now = app.clock.now().timestamp();
    verifier.verify_at(bundle["token"].as_str().unwrap(), now).unwrap();
    assert_eq!(status_of(&client, &bundle).await, TokenStatus::Valid);
    // The service learns digests, and nothing else.
    for request in service.inner().requests.iter().skip(1) {
        let members: Vec<_> = request.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["algorithm", "digest"]);
        assert_eq!(request["digest"].as_str().unwrap().len(), 43);
    }
}

#[on_both]
async fn private_half_is_not_in_the_database(world: World) {
    let (service, app, _client) = moved(&world).await;
    let mut tx = app.db.read();
    let rows = licensing::keys::store::all(&mut tx).await.unwrap();
    let row = rows.iter().find(|row| row.service_key.is_some()).unwrap();
    let purpose = licensing::keys::row::purpose(&row.kid);
    assert!(app.kek.open(&purpose, &row.sealed).unwrap().is_empty());
    let key = service.inner().keys["key-0"].clone();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    assert!(!der.as_ref().is_empty());
}

#[on_both]
async fn service_that_fails_makes_no_token_and_stops_nothing_else(world: World) {
    let (service, _, client) = moved(&world).await;
    issue(&client, &world).await.expect(201);
    for fault in [Fault::Refuses, Fault::MixesUpKeys, Fault::Garbles, Fault::Floods] {
        service.fault(fault);
        let before = world.count_events().await;
        let refused = issue(&client, &world).await;
        assert_eq!(refused.header("retry-after"), "5");
        refused.refused(503, "unavailable");
        assert_eq!(world.count_events().await, before);
        client.get("/.well-known/jwks.json").await.expect(200);
        client.get(format!("/licenses/{}", world.acme.license)).await.expect(200);
    }
    service.fault(Fault::None);
    issue(&client, &world).await.expect(201);
}

#[on_both]
async fn new_key_that_is_not_what_was_requested_is_refused(world: World) {
    let (service, _, client) = moved(&world).await;
    for fault in [Fault::Refuses, Fault::MakesSmallKeys, Fault::NamesBadly, Fault::MixesUpKeys] {
        service.fault(fault);
        client.post("/signing/keys", json!({})).await.refused(503, "unavailable");
    }
    service.fault(Fault::None);
    client.post("/signing/keys", json!({"bits": 2048})).await.expect(201);
}

#[on_both]
async fn rotation_publishes_the_next_service_key_first(world: World) {
    let (_, app, client) = moved(&world).await;
    let active = async || client.get("/signing/info").await.expect(200)["active_kid"].clone();
    let first = active().await;
    rotation::tick(&app).await.unwrap();
    world.pass(TimeDelta::days(91));
    rotation::tick(&app).await.unwrap();
    assert_ne!(active().await, first);
    rotation::tick(&app).await.unwrap();
    world.pass(TimeDelta::days(91));
    rotation::tick(&app).await.unwrap();
    let kid = active().await;
    let row = client.get(format!("/signing/keys/{}", kid.as_str().unwrap())).await.expect(200);
    assert!(row["service_key"].is_string(), "{row}");
    issue(&client, &world).await.expect(201);
}

#[on_both]
async fn leaked_service_key_is_replaced_by_the_drill(world: World) {
    let (_, _, client) = moved(&world).await;
    let bundle = issue(&client, &world).await.expect(201);
    let kid = bundle["key_id"].as_str().unwrap();
    let why = json!({"reason": "seen in a build log"});
    let done = client.post(format!("/signing/keys/{kid}/compromise"), why).await.expect(200);
    assert_eq!(done["state"], "compromised");
    assert_eq!(status_of(&client, &bundle).await, TokenStatus::Invalid);
    let again = issue(&client, &world).await.expect(201);
    assert_ne!(again["key_id"], bundle["key_id"]);
}

#[on_both]
async fn server_without_the_service_names_the_setting(world: World) {
    moved(&world).await;
    let (other, _) = world.server(|_| ());
    let error = Keyring::of(&other).refresh(&other).await.unwrap_err().to_string();
    assert!(error.contains("CP_SIGNING_SERVICE_URL"), "{error}");
}

#[on_both]
async fn server_starts_while_the_service_is_away(world: World) {
    moved(&world).await;
    let (service, settings) = Service::start().await;
    service.fault(Fault::Refuses);
    let (other, client) = world.server(|own| own.keys.service = Some(settings));
    // The successor's time has come, and no key can be made.
    world.pass(TimeDelta::days(400));
    licensing::keys::start::prepare(&other, None, None).await.unwrap();
    client.get("/.well-known/jwks.json").await.expect(200);
}
