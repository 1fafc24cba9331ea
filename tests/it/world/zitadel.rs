//! A Zitadel: real HTTP on the loopback interface, with both versions of the management API, and
//! faults that are switched on and off. It records what it was sent.

mod grants;
mod roles;
mod state;
mod users;

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use cp_server::kernel::clock::ManualClock;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use state::{Known, Refusal};

/// The client ID and the secret of the service user. The secret has characters that a form encodes.
pub const SERVICE_USER: &str = "service user";
pub const SERVICE_SECRET: &str = "canary-of the+service/user";
/// A token of the service user that never ends.
pub const TOKEN: &str = "canary-token-of-the-service-user";
/// The project, and the organization that owns it.
pub const PROJECT: &str = "111";
pub const ORGANIZATION: &str = "900";
/// Another organization, and the grant of the project to it.
pub const GRANTEE: &str = "901";
pub const PROJECT_GRANT: &str = "777";

/// What goes wrong with the management API.
#[derive(Clone, Debug, Default)]
pub enum Fault {
    #[default]
    None,
    /// The service user has no membership: 404.
    NoMembership,
    /// The same, as newer versions answer: lists count and show nothing.
    CountedButEmpty,
    /// No list ends.
    Endless,
    /// Every answer has 1 MiB.
    Huge,
    /// Every call is somewhere else.
    Redirect(String),
    /// Every answer has a member twice.
    DuplicateMembers,
    /// Every connection breaks within the answer.
    Broken,
    /// Every refusal repeats what the caller sent.
    Echo,
    /// Every write is refused.
    ReadOnly,
    /// Searches of people are refused.
    NoSearch,
    /// The server is older than version 2 of the API.
    Old,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub text: String,
}

impl Recorded {
    pub fn body(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The last part of the path.
    pub fn call(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

pub struct Zitadel {
    pub url: String,
    shared: Shared,
    server: JoinHandle<()>,
}

type Shared = Arc<Mutex<Inner>>;

pub struct Inner {
    url: String,
    pub known: Known,
    /// The organization of the service user.
    pub home: &'static str,
    pub fault: Fault,
    /// The language of messages.
    pub is_russian: bool,
    /// The next answers of the management API, with `Retry-After`.
    pub busy: Vec<(u16, Option<u32>)>,
    /// The same of the token endpoint.
    pub busy_tokens: Vec<u16>,
    pub expires_in: i64,
    /// The tokens that the server issued and still accepts, with their scopes.
    tokens: Vec<(String, String)>,
    issued: usize,
    recorded: Vec<Recorded>,
    /// The clock that each call of the management API moves.
    clock: Option<(ManualClock, TimeDelta)>,
}

impl Zitadel {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Mutex::new(Inner {
            url: url.clone(),
            known: Known::default(),
            home: "1",
            fault: Fault::None,
            is_russian: false,
            busy: Vec::new(),
            busy_tokens: Vec::new(),
            expires_in: 43_199,
            tokens: vec![(TOKEN.to_owned(), AUDIENCE.to_owned())],
            issued: 0,
            recorded: Vec::new(),
            clock: None,
        }));
        let router = Router::new().fallback(serve).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, shared, server }
    }

    /// Changes the state or a switch.
    pub fn set<R>(&self, change: impl FnOnce(&mut Inner) -> R) -> R {
        change(&mut self.shared.lock().unwrap())
    }

    pub fn fault(&self, fault: Fault) {
        self.set(|inner| inner.fault = fault);
    }

    /// Ends all tokens that the server issued.
    pub fn end_tokens(&self) {
        self.set(|inner| inner.tokens.clear());
    }

    /// Moves the clock with each call of the management API.
    pub fn moves(&self, clock: &ManualClock, time: TimeDelta) {
        self.set(|inner| inner.clock = Some((clock.clone(), time)));
    }

    /// Returns the requests since the last call of this function.
    pub fn recorded(&self) -> Vec<Recorded> {
        self.set(|inner| std::mem::take(&mut inner.recorded))
    }

    /// Returns the last parts of the paths of the requests since then.
    pub fn calls(&self) -> Vec<String> {
        self.recorded().iter().map(|one| one.call().to_owned()).collect()
    }

    /// The provider of an organization whose people are here, with these members over it.
    pub fn body(&self, over: Value) -> Value {
        let mut body = json!({
            "type": "zitadel", "issuer": self.url, "audience": PROJECT,
            "claim_map": {
                "project_id": PROJECT, "organization_id": ORGANIZATION, "role_prefix": "acme_",
            },
            "role_map": {
                "account_admin": "ORGANIZATION_ADMIN", "account_owner": "ORGANIZATION_OWNER",
            },
            "management": {"client_id": SERVICE_USER, "secret": SERVICE_SECRET},
        });
        for (name, value) in over.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    }
}

impl Drop for Zitadel {
    fn drop(&mut self) {
        self.server.abort();
    }
}

const AUDIENCE: &str = "urn:zitadel:iam:org:project:id:zitadel:aud";

async fn serve(State(shared): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut inner = shared.lock().unwrap();
    let path = parts.uri.path().to_owned();
    inner.recorded.push(Recorded {
        method: parts.method.to_string(),
        path: path.clone(),
        headers: parts.headers.clone(),
        text: String::from_utf8_lossy(&body).into_owned(),
    });
    match &*path {
        "/.well-known/openid-configuration" => inner.metadata(),
        "/oauth/v2/keys" => answer(StatusCode::OK, &json!({"keys": []})),
        "/oauth/v2/token" => inner.token(&parts.headers, &body),
        _ => inner.manage(parts.method.as_str(), &path, &parts.headers, &body),
    }
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn is_v2(path: &str) -> bool {
    path.starts_with("/zitadel.")
}

impl Inner {
    fn metadata(&self) -> Response {
        let url = &self.url;
        let document = json!({
            "issuer": url, "jwks_uri": format!("{url}/oauth/v2/keys"),
            "token_endpoint": format!("{url}/oauth/v2/token"),
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        });
        answer(StatusCode::OK, &document)
    }

    fn token(&mut self, headers: &HeaderMap, body: &[u8]) -> Response {
        if !self.busy_tokens.is_empty() {
            return StatusCode::from_u16(self.busy_tokens.remove(0)).unwrap().into_response();
        }
        let form: std::collections::HashMap<String, String> =
            url::form_urlencoded::parse(body).into_owned().collect();
        let encoded = |text: &str| -> String {
            url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
        };
        let basic = format!("{}:{}", encoded(SERVICE_USER), encoded(SERVICE_SECRET));
        let basic = format!("Basic {}", STANDARD.encode(basic));
        let is_basic = headers.get("authorization").is_some_and(|value| *value == *basic);
        let has = |name: &str, value: &str| form.get(name).is_some_and(|own| own == value);
        let is_post = has("client_id", SERVICE_USER) && has("client_secret", SERVICE_SECRET);
        let refused = |status, error: &str| {
            answer(status, &json!({"error": error, "error_description": "client not found"}))
        };
        if !is_basic && !is_post {
            return refused(StatusCode::UNAUTHORIZED, "invalid_client");
        }
        if !has("grant_type", "client_credentials") {
            return refused(StatusCode::BAD_REQUEST, "unsupported_grant_type");
        }
        let scope = form.get("scope").cloned().unwrap_or_default();
        if !scope.split(' ').any(|one| one == "openid") {
            return refused(StatusCode::BAD_REQUEST, "invalid_scope");
        }
        self.issued += 1;
        let token = format!("canary-issued-token-{}", self.issued);
        self.tokens.push((token.clone(), scope.clone()));
        let body = json!({
            "access_token": token, "token_type": "Bearer", "expires_in": self.expires_in,
            "scope": scope,
        });
        answer(StatusCode::OK, &body)
    }

    /// Answers a call of the management API.
    fn manage(&mut self, method: &str, path: &str, headers: &HeaderMap, body: &Bytes) -> Response {
        if let Some((clock, time)) = &self.clock {
            clock.advance(*time);
        }
        if !self.busy.is_empty() {
            let (status, retry_after) = self.busy.remove(0);
            let status = StatusCode::from_u16(status).unwrap();
            let mut busy = self.refusal(path, Refusal::new(status, "Too many requests"));
            if let Some(seconds) = retry_after {
                busy.headers_mut().insert(header::RETRY_AFTER, seconds.into());
            }
            return busy;
        }
        match &self.fault {
            Fault::Huge => {
                return json!({"padding": "x".repeat(1 << 20)}).to_string().into_response();
            }
            Fault::Redirect(to) => {
                let headers = [(header::LOCATION, to.clone())];
                return (StatusCode::FOUND, headers).into_response();
            }
            Fault::Old if is_v2(path) => {
                return (StatusCode::NOT_FOUND, "Not Found").into_response();
            }
            Fault::DuplicateMembers => return r#"{"result":[],"result":[]}"#.into_response(),
            Fault::Broken => {
                let chunks = [Ok("{"), Err(std::io::Error::other("gone"))];
                return Body::from_stream(futures_util::stream::iter(chunks)).into_response();
            }
            _ => {}
        }
        let bearer = headers.get("authorization").and_then(|value| value.to_str().ok());
        let token = bearer.and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default();
        let is_good = self
            .tokens
            .iter()
            .any(|(own, scope)| own == token && scope.split(' ').any(|one| one == AUDIENCE));
        if !is_good {
            let message = "Errors.Token.Invalid (AUTH-7fs1e)";
            return self.refusal(path, Refusal::new(StatusCode::UNAUTHORIZED, message));
        }
        if headers.get("content-type").is_none_or(|value| value != "application/json") {
            return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
        }
        if matches!(self.fault, Fault::NoMembership) {
            let message = "membership not found (AUTHZ-cdgFk)";
            return self.refusal(path, Refusal::new(StatusCode::NOT_FOUND, message));
        }
        if matches!(self.fault, Fault::Echo) {
            let secret = if token == TOKEN { TOKEN } else { SERVICE_SECRET };
            let message = format!("You sent {} {secret}", bearer.unwrap_or_default());
            return self.refusal(path, Refusal::new(StatusCode::BAD_REQUEST, &message));
        }
        let organization = headers.get("x-zitadel-orgid").and_then(|value| value.to_str().ok());
        let Ok(body) = serde_json::from_slice::<Value>(body) else {
            return self.refusal(path, Refusal::new(StatusCode::BAD_REQUEST, "invalid JSON"));
        };
        match self.dispatch(method, path, organization.unwrap_or(self.home), &body) {
            Ok(done) => answer(StatusCode::OK, &done),
            Err(refusal) => self.refusal(path, refusal),
        }
    }

    fn dispatch(
        &mut self,
        method: &str,
        path: &str,
        organization: &str,
        body: &Value,
    ) -> Result<Value, Refusal> {
        let is_list = path.contains("/List") || path.ends_with("/_search");
        if matches!(self.fault, Fault::ReadOnly) && !is_list {
            let message = "No matching permissions found";
            return Err(Refusal::new(StatusCode::FORBIDDEN, message));
        }
        if let Some((service, call)) =
            path.strip_prefix("/zitadel.").and_then(|p| p.split_once('/'))
        {
            return match service {
                "project.v2.ProjectService" => self.roles_v2(call, body),
                "authorization.v2.AuthorizationService" => self.grants_v2(call, body),
                "user.v2.UserService" => self.users_v2(call, body),
                _ => Err(Refusal::unknown()),
            };
        }
        let parts: Vec<&str> = path.trim_start_matches("/management/v1/").split('/').collect();
        match (method, &*parts) {
            (_, ["projects", project, "roles", rest @ ..]) => {
                self.roles_v1(method, project, rest, organization, body)
            }
            ("POST", ["users", "grants", "_search"]) => self.search_grants_v1(organization, body),
            ("POST", ["users", "_search"]) => self.search_users_v1(organization, body),
            (_, ["users", user, "grants", rest @ ..]) => {
                self.grants_v1(method, user, rest, organization, body)
            }
            _ => Err(Refusal::unknown()),
        }
    }

    /// Renders a refusal as the version of the API does.
    fn refusal(&self, path: &str, refusal: Refusal) -> Response {
        let Refusal { status, mut message } = refusal;
        let (code, name) = match status.as_u16() {
            400 => (9, "failed_precondition"),
            401 => (16, "unauthenticated"),
            403 => (7, "permission_denied"),
            404 => (5, "not_found"),
            409 => (6, "already_exists"),
            429 => (8, "resource_exhausted"),
            503 => (14, "unavailable"),
            _ => (2, "unknown"),
        };
        if self.is_russian {
            message = format!("Уже существует ({})", message.len());
        }
        let body = match is_v2(path) {
            true => json!({"code": name, "message": message, "details": []}),
            false => json!({"code": code, "message": message, "details": []}),
        };
        answer(status, &body)
    }
}

/// Returns one page of a list, as the request asks for it.
fn page(fault: &Fault, query: &Value, items: Vec<Value>) -> Result<(String, Vec<Value>), Refusal> {
    let number = |name: &str| match &query[name] {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    let limit = number("limit").unwrap_or(100);
    if limit > 1000 {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "Limit is too large"));
    }
    let offset = usize::try_from(number("offset").unwrap_or(0)).unwrap();
    let limit = usize::try_from(limit).unwrap();
    let total = items.len();
    Ok(match fault {
        Fault::CountedButEmpty => (total.to_string(), Vec::new()),
        Fault::Endless => {
            let first = items.first().cloned().unwrap_or_default();
            ("1000000".to_owned(), vec![first; limit])
        }
        _ => (total.to_string(), items.into_iter().skip(offset).take(limit).collect()),
    })
}
