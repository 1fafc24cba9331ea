//! An identity provider: real HTTP on the loopback interface, with keys of every kind, and faults
//! that are switched on and off.

mod keys;
mod logins;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cp_server::identity::oidc::provider::Provider;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use keys::{Alg, SigningKey};
use logins::Logins;

use super::now;

/// The audience of the tokens that [`Issuer::token`] makes.
pub const API: &str = "https://cp.example/api";
/// The client that the console logs people in with.
pub const CLIENT: &str = "console";
pub const CLIENT_SECRET: &str = "canary-secret-of-the-console";

/// What goes wrong.
#[derive(Clone, Debug, Default)]
pub enum Fault {
    #[default]
    None,
    /// The keys are answered with this status.
    Status(u16),
    /// Every document is larger than a client should read.
    Huge,
    /// No document ever ends.
    Slow,
    /// Every document is somewhere else.
    Redirect(String),
    /// The metadata name another issuer.
    WrongIssuer,
    /// The metadata say that the keys are there.
    KeysAt(String),
    /// The metadata have these members over their own.
    Metadata(Value),
    /// The keys are this document.
    Keys(Value),
}

pub struct Issuer {
    pub url: String,
    address: SocketAddr,
    shared: Shared,
    server: Mutex<Option<JoinHandle<()>>>,
}

type Shared = Arc<Mutex<Inner>>;

struct Inner {
    url: String,
    keys: Vec<Arc<SigningKey>>,
    fault: Fault,
    cache_control: String,
    asked_for_keys: usize,
    logins: Logins,
}

impl Issuer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://{address}");
        let shared = Arc::new(Mutex::new(Inner {
            url: url.clone(),
            keys: vec![SigningKey::new(Alg::Es256)],
            fault: Fault::None,
            cache_control: "max-age=300".into(),
            asked_for_keys: 0,
            logins: Logins::default(),
        }));
        let server = serve(listener, shared.clone());
        Self { url, address, shared, server: Mutex::new(Some(server)) }
    }

    /// Ends the server: its address answers no more.
    pub async fn stop(&self) {
        let server = self.server.lock().unwrap().take();
        if let Some(server) = server {
            server.abort();
            let _ = server.await;
        }
    }

    pub async fn start_again(&self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        *self.server.lock().unwrap() = Some(serve(listener, self.shared.clone()));
    }

    pub fn fault(&self, fault: Fault) {
        self.shared.lock().unwrap().fault = fault;
    }

    pub fn cache_control(&self, value: &str) {
        self.shared.lock().unwrap().cache_control = value.to_owned();
    }

    /// How often the keys were asked for.
    pub fn asked_for_keys(&self) -> usize {
        self.shared.lock().unwrap().asked_for_keys
    }

    /// Signs with a new key from now on; the others stay published.
    pub fn rotate(&self, alg: Alg) -> Arc<SigningKey> {
        let key = SigningKey::new(alg);
        self.shared.lock().unwrap().keys.push(key.clone());
        key
    }

    /// Publishes the newest key only.
    pub fn drop_older_keys(&self) {
        let keys = &mut self.shared.lock().unwrap().keys;
        let older = keys.len() - 1;
        keys.drain(..older);
    }

    pub fn key(&self) -> Arc<SigningKey> {
        self.shared.lock().unwrap().keys.last().unwrap().clone()
    }

    /// An access token with these claims over those of any.
    pub fn token(&self, claims: Value) -> String {
        self.key().sign(json!({"typ": "at+jwt"}), &self.claims(claims))
    }

    /// The claims of an access token of the first hour of every test.
    pub fn claims(&self, over: Value) -> Value {
        let at = now().timestamp();
        let mut claims = json!({
            "iss": self.url, "aud": [API, "other"], "iat": at, "nbf": at, "exp": at + 3600,
            "jti": "1", "client_id": "app",
        });
        for (name, value) in over.as_object().unwrap() {
            match value {
                // Absent, that is.
                Value::Null => claims.as_object_mut().unwrap().remove(name),
                value => claims.as_object_mut().unwrap().insert(name.clone(), value.clone()),
            };
        }
        claims
    }

    /// What an organization's admin sets for this issuer, with these members over it.
    pub fn body(&self, over: Value) -> Value {
        let mut body = json!({"type": "oidc", "issuer": self.url, "audience": API});
        for (name, value) in over.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    }

    /// The same as a provider of the platform.
    pub fn on_platform(&self, key: &str, over: Value) -> Provider {
        Provider::of_platform(key, serde_json::from_value(self.body(over)).unwrap()).unwrap()
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        if let Some(server) = self.server.lock().unwrap().take() {
            server.abort();
        }
    }
}

fn serve(listener: TcpListener, shared: Shared) -> JoinHandle<()> {
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(metadata))
        .route("/keys", get(keys))
        .route("/authorize", get(logins::authorize))
        .route("/token", post(logins::token))
        .with_state(shared);
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() })
}

async fn metadata(State(shared): State<Shared>) -> Response {
    let (fault, document) = {
        let inner = shared.lock().unwrap();
        let url = &inner.url;
        let mut document = json!({
            "issuer": url, "jwks_uri": format!("{url}/keys"),
            "authorization_endpoint": format!("{url}/authorize?tenant=1"),
            "token_endpoint": format!("{url}/token"),
            "end_session_endpoint": format!("{url}/logout"),
            "token_endpoint_auth_methods_supported": inner.logins.client_authentication,
            "authorization_response_iss_parameter_supported": true,
            "response_types_supported": ["code"], "subject_types_supported": ["public"],
        });
        match &inner.fault {
            Fault::WrongIssuer => document["issuer"] = json!("https://other.example"),
            Fault::KeysAt(url) => document["jwks_uri"] = json!(url),
            Fault::Metadata(over) => {
                for (name, value) in over.as_object().unwrap() {
                    document[name] = value.clone();
                }
            }
            _ => {}
        }
        (inner.fault.clone(), document)
    };
    faulty(&fault, document, "no-cache").await
}

async fn keys(State(shared): State<Shared>) -> Response {
    let (fault, document, cache) = {
        let mut inner = shared.lock().unwrap();
        inner.asked_for_keys += 1;
        let keys: Vec<Value> = inner.keys.iter().map(|key| key.public()).collect();
        (inner.fault.clone(), json!({"keys": keys}), inner.cache_control.clone())
    };
    match fault {
        Fault::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Fault::Keys(document) => faulty(&Fault::None, document, &cache).await,
        fault => faulty(&fault, document, &cache).await,
    }
}

async fn faulty(fault: &Fault, document: Value, cache: &str) -> Response {
    match fault {
        Fault::Huge => json!({"padding": "x".repeat(64 * 1024)}).to_string().into_response(),
        Fault::Slow => std::future::pending().await,
        Fault::Redirect(to) => {
            (StatusCode::FOUND, [(header::LOCATION, to.clone())]).into_response()
        }
        _ => ([(header::CACHE_CONTROL, cache.to_owned())], document.to_string()).into_response(),
    }
}

pub fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
