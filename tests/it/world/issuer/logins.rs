//! The authorization-code flow of the issuer (RFC 6749, RFC 7636): codes are good once, and only
//! for who asked for them.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{CLIENT, CLIENT_SECRET, Issuer, Shared, base64url};
use crate::world::now;

pub(super) struct Logins {
    pub(super) client_authentication: Vec<&'static str>,
    /// Who is logged in at the issuer: the claims of their ID token.
    person: Value,
    codes: HashMap<String, Asked>,
    made: usize,
}

/// What a code stands for.
struct Asked {
    challenge: String,
    redirect_uri: String,
    nonce: String,
    person: Value,
}

impl Default for Logins {
    fn default() -> Self {
        Self {
            client_authentication: vec!["client_secret_basic"],
            person: json!({}),
            codes: HashMap::new(),
            made: 0,
        }
    }
}

impl Issuer {
    /// Logs the next person in with these claims over those of any ID token.
    pub fn log_in_as(&self, claims: Value) {
        self.shared.lock().unwrap().logins.person = claims;
    }

    pub fn authenticates_clients_by(&self, method: &'static str) {
        self.shared.lock().unwrap().logins.client_authentication = vec![method];
    }
}

type Form = HashMap<String, String>;

/// The provider asks for no credentials here: it sends the person back with a code at once.
pub(super) async fn authorize(State(shared): State<Shared>, Query(form): Query<Form>) -> Response {
    let expected = [
        ("tenant", "1"),
        ("response_type", "code"),
        ("client_id", CLIENT),
        ("code_challenge_method", "S256"),
    ];
    for (name, value) in expected {
        if form.get(name).map(String::as_str) != Some(value) {
            return (StatusCode::BAD_REQUEST, format!("{name} is not {value}")).into_response();
        }
    }
    if !form["scope"].split(' ').any(|scope| scope == "openid") {
        return (StatusCode::BAD_REQUEST, "no openid").into_response();
    }
    let mut inner = shared.lock().unwrap();
    inner.logins.made += 1;
    let code = format!("code-{}", inner.logins.made);
    let asked = Asked {
        challenge: form["code_challenge"].clone(),
        redirect_uri: form["redirect_uri"].clone(),
        nonce: form["nonce"].clone(),
        person: inner.logins.person.clone(),
    };
    inner.logins.codes.insert(code.clone(), asked);
    let mut back = url::Url::parse(&form["redirect_uri"]).unwrap();
    back.query_pairs_mut()
        .append_pair("code", &code)
        .append_pair("state", &form["state"])
        .append_pair("iss", &inner.url);
    (StatusCode::FOUND, [(header::LOCATION, back.to_string())]).into_response()
}

pub(super) async fn token(
    State(shared): State<Shared>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let form: Form = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let refused = |error: &str| {
        (StatusCode::BAD_REQUEST, json!({"error": error}).to_string()).into_response()
    };
    let mut inner = shared.lock().unwrap();
    let basic = format!("Basic {}", STANDARD.encode(format!("{CLIENT}:{CLIENT_SECRET}")));
    let is_client = match inner.logins.client_authentication[0] {
        "client_secret_basic" => headers.get("authorization").is_some_and(|value| *value == *basic),
        "client_secret_post" => form.get("client_secret").is_some_and(|s| s == CLIENT_SECRET),
        _ => !form.contains_key("client_secret") && form["client_id"] == CLIENT,
    };
    if !is_client {
        return refused("invalid_client");
    }
    let Some(asked) = form.get("code").and_then(|code| inner.logins.codes.remove(code)) else {
        return refused("invalid_grant");
    };
    let verifier = digest(&SHA256, form["code_verifier"].as_bytes());
    if form["grant_type"] != "authorization_code"
        || form["redirect_uri"] != asked.redirect_uri
        || base64url(verifier) != asked.challenge
    {
        return refused("invalid_grant");
    }
    let at = now().timestamp();
    let mut claims = json!({
        "iss": inner.url, "aud": CLIENT, "iat": at, "exp": at + 300, "nonce": asked.nonce,
    });
    for (name, value) in asked.person.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let key = inner.keys.last().unwrap().clone();
    let id_token = key.sign(json!({}), &claims);
    json!({"access_token": "opaque", "token_type": "Bearer", "id_token": id_token})
        .to_string()
        .into_response()
}
