//! Calls, as a client makes them: over the router that also serves the network.

use std::net::IpAddr;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request};
use axum::response::{IntoResponse, Response};
use cp_server::App;
use cp_server::identity::login_caller::{self, Login};
use cp_server::kernel::access::caller::Peer;
use cp_server::kernel::http::line::BASE;
use serde_json::{Value, json};
use tower::ServiceExt;

/// A caller with its headers.
#[derive(Clone)]
pub struct Client {
    router: Router,
    login: Option<(App, Login)>,
    headers: Vec<(String, String)>,
    address: Option<IpAddr>,
}

impl Client {
    pub fn new(router: Router) -> Self {
        Self { router, login: None, headers: Vec::new(), address: None }
    }

    /// A person, of whom the provider said this; what they may do is looked up for every request.
    #[must_use]
    pub fn person(mut self, app: &App, login: Login) -> Self {
        self.headers.retain(|(known, _)| known != "authorization");
        self.login = Some((app.clone(), login));
        self
    }

    /// As if over the network, from this address.
    #[must_use]
    pub fn from(mut self, address: &str) -> Self {
        self.address = Some(address.parse().unwrap());
        self.with("host", "cp.example")
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    #[must_use]
    pub fn token(self, token: &str) -> Self {
        self.with("authorization", format!("Bearer {token}"))
    }

    #[must_use]
    pub fn license_key(self, key: &str) -> Self {
        self.with("authorization", format!("License {key}"))
    }

    pub async fn get(&self, path: impl AsRef<str>) -> Answer {
        self.call(Method::GET, &below_base(path), None).await
    }

    pub async fn post(&self, path: impl AsRef<str>, body: Value) -> Answer {
        self.call(Method::POST, &below_base(path), Some(body)).await
    }

    pub async fn put(&self, path: impl AsRef<str>, body: Value) -> Answer {
        self.call(Method::PUT, &below_base(path), Some(body)).await
    }

    pub async fn patch(&self, path: impl AsRef<str>, body: Value) -> Answer {
        self.call(Method::PATCH, &below_base(path), Some(body)).await
    }

    pub async fn delete(&self, path: impl AsRef<str>) -> Answer {
        self.call(Method::DELETE, &below_base(path), None).await
    }

    /// With a path from the root.
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        let request = Request::builder().method(method).uri(path);
        let request = match body {
            Some(body) => request
                .header("content-type", "application/json")
                .body(Body::from(body.to_string())),
            None => request.body(Body::empty()),
        };
        self.send(request.unwrap()).await
    }

    /// Any request; the client's own headers come on top.
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let asked = format!("{} {}", request.method(), request.uri());
        let (parts, body) = self.respond(request).await.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let answer = Answer { asked, status: parts.status.as_u16(), headers: parts.headers, body };
        answer.has_no_private_key();
        answer
    }

    /// The same, with a body that has not been read yet.
    pub async fn respond(&self, mut request: Request<Body>) -> Response {
        for (name, value) in &self.headers {
            let name = axum::http::HeaderName::try_from(name).unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        if let Some((app, login)) = &self.login {
            match login_caller::caller(app, login.clone()).await {
                Ok(caller) => request.extensions_mut().insert(caller),
                Err(refusal) => return refusal.into_response(),
            };
        }
        if let Some(address) = self.address {
            request.extensions_mut().insert(Peer(address));
        }
        self.router.clone().oneshot(request).await.unwrap()
    }
}

fn below_base(path: impl AsRef<str>) -> String {
    format!("{BASE}{}", path.as_ref())
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    asked: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body; null when there is none.
    #[track_caller]
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.asked, self.text()))
    }

    /// What no answer to any test of this suite may have (I10): a private member of a JWK (RFC 7518,
    /// section 6.3.2), or a PEM.
    #[track_caller]
    fn has_no_private_key(&self) {
        let text = self.text();
        for private in [
            r#""d":""#,
            r#""p":""#,
            r#""q":""#,
            r#""dp":"#,
            r#""dq":"#,
            r#""qi":"#,
            "PRIVATE KEY-----\n",
            r"PRIVATE KEY-----\n",
        ] {
            assert!(!text.contains(private), "{} returns a private key", self.asked);
        }
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's text; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The body of a success with this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.asked, self.text());
        self.json()
    }

    /// The body of a refusal: a problem document of this status and code.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}: {}", self.asked, self.text());
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.asked);
        let problem = self.json();
        assert_eq!(problem["code"], json!(code), "{}: {}", self.asked, self.text());
        assert_eq!(problem["status"], json!(status), "{}: {}", self.asked, self.text());
        problem
    }

    /// A refusal of one field's value.
    #[track_caller]
    pub fn invalid(self, field: &str) -> Value {
        let problem = self.refused(422, "invalid");
        assert_eq!(problem["field"], json!(field), "{problem}");
        problem
    }
}
