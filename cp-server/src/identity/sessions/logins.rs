//! Logins at an identity provider: the authorization-code flow (OpenID Connect Core 1.0, section
//! 3.1) with PKCE (RFC 7636, S256).
//!
//! # Design
//! The state of a login in progress (state, nonce, verifier) is sealed in the browser's own cookie.
//! So any replica can complete the login, and a stranger who begins logins writes nothing. The
//! cookie also binds the answer to the browser that began the login, so that a link cannot log a
//! person in as another one.

use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::ProblemCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;
use url::form_urlencoded;

use super::cookies::{self, Cookie, base_url};
use crate::identity::login_caller::Login;
use crate::identity::oidc::client_authentication::authenticated;
use crate::identity::oidc::discovery::{Discoveries, Discovery};
use crate::identity::oidc::provider::Provider;
use crate::identity::oidc::tokens::{Token, quoted};
use crate::identity::oidc::{check_signature, issuers, vouched};
use crate::identity::providers;
use crate::identity::settings::IdentitySettings;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::{App, Part};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::json;
use crate::kernel::http::line::BASE;
use crate::kernel::outbound::Fetched;
use crate::kernel::secret::{Secret, equal, sha256};

/// The longest time for a login at the provider.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);
/// The context of the seal of a login in progress.
const PURPOSE: &str = "login on its way v1";
/// The longest path to return to.
const LONGEST_PATH: usize = 2048;

/// A login in progress.
#[derive(Serialize, Deserialize)]
struct OnItsWay {
    state: String,
    nonce: String,
    verifier: String,
    provider: String,
    organization: Option<OrganizationId>,
    /// The organization's provider may have another issuer by the time of the answer.
    issuer: String,
    return_to: String,
    /// The token of an invitation that the login accepts.
    #[serde(default)]
    invitation: Option<String>,
    until: DateTime<Utc>,
}

/// A completed login.
pub(super) struct Done {
    pub(super) login: Login,
    pub(super) provider: Provider,
    pub(super) state: String,
    pub(super) return_to: HeaderValue,
    pub(super) invitation: Option<Secret<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    provider: Option<String>,
    organization: Option<String>,
    return_to: Option<String>,
    invitation: Option<String>,
}

pub(super) async fn begin(app: &App, parts: &Parts) -> Result<Response> {
    let asked: Begin = json::read_query(&pairs(parts))?;
    let return_to = local_path(app, asked.return_to.as_deref().unwrap_or("/"))?;
    cookies::require_https(app)?;
    let (provider, organization) = (asked.provider.as_deref(), asked.organization.as_deref());
    let provider = issuers::for_login(app, organization, provider).await?;
    let client_id = client_id(&provider)?;
    let discovery = discovery(app, &provider).await?;
    let endpoint = endpoint(app, &provider, "authorization", &discovery.authorization_endpoint)?;

    let text = || cookies::text(app.random.bytes::<32>());
    let until = app.clock.now() + PATIENCE;
    let on_its_way = OnItsWay {
        state: text(),
        nonce: text(),
        verifier: text(),
        provider: provider.key.clone(),
        organization: provider.organization,
        issuer: provider.issuer.clone(),
        return_to,
        invitation: asked.invitation,
        until,
    };
    let mut url = Url::parse(endpoint).map_err(Error::internal)?;
    let scopes = [&["openid".to_owned()], &*provider.claim_map.login_scopes].concat().join(" ");
    url.query_pairs_mut()
        .append_pair("response_type", "code")
        .append_pair("client_id", client_id)
        .append_pair("redirect_uri", &redirect_uri(app))
        .append_pair("scope", &scopes)
        .append_pair("state", &on_its_way.state)
        .append_pair("nonce", &on_its_way.nonce)
        .append_pair("code_challenge", &cookies::text(sha256(on_its_way.verifier.as_bytes())))
        .append_pair("code_challenge_method", "S256");
    let plain = serde_json::to_vec(&on_its_way).map_err(Error::internal)?;
    let sealed = cookies::text(app.kek.seal(&app.random, PURPOSE, &plain));
    let headers = [
        (header::LOCATION, HeaderValue::try_from(url.as_str()).map_err(Error::internal)?),
        (header::SET_COOKIE, Cookie::login(app)?.set(&sealed, PATIENCE)),
    ];
    Ok((StatusCode::SEE_OTHER, headers).into_response())
}

/// Returns the platform's providers that have a client for logins.
pub(super) fn providers(app: &App) -> Value {
    let all = IdentitySettings::of(app).providers.iter().filter(|one| one.client_id.is_some());
    json!({"providers": all.map(|one| json!({"key": one.key})).collect::<Vec<_>>()})
}

/// The parameters of the provider's answer.
#[derive(Deserialize)]
struct Answer {
    state: Option<String>,
    code: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

pub(super) async fn finish(app: &App, parts: &Parts) -> Result<Done> {
    let now = app.clock.now();
    let sealed = Cookie::login(app)?.find(&parts.headers)?;
    let on_its_way = sealed.and_then(|sealed| open(app, &sealed)).filter(|way| now < way.until);
    let again = "This login took too long, or another browser began it. Log in again at /login.";
    let way = on_its_way.ok_or_else(|| Error::unauthenticated(again))?;
    let answer: Answer = json::read_query(&pairs(parts))?;
    let state = answer.state.unwrap_or_default();
    if !equal(state.as_bytes(), way.state.as_bytes()) {
        return Err(Error::unauthenticated(again));
    }
    let gone =
        || Error::unauthenticated("The identity provider has changed. Log in again at /login.");
    let provider = issuers::by_key(app, way.organization, &way.provider).await?;
    let provider = provider.filter(|one| one.issuer == way.issuer).ok_or_else(gone)?;
    let discovery = discovery(app, &provider).await?;
    // Without this check, an answer of another issuer would send its code to this one (RFC 9207).
    let names_issuer = discovery.authorization_response_iss_parameter_supported;
    if answer.iss.as_deref().map_or(names_issuer, |iss| iss != provider.issuer) {
        return Err(failed("the answer is not from the requested identity provider (iss)"));
    }
    if let Some(error) = &answer.error {
        return Err(failed(&format!("the identity provider answered {}", quoted(error))));
    }
    let code = answer.code.ok_or_else(|| failed("the answer has no code"))?;
    let id_token = exchange(app, &provider, &discovery, &code, &way.verifier).await?;
    let login = verified(app, &provider, &id_token, &way.nonce, now).await?;
    let return_to = HeaderValue::try_from(&way.return_to).map_err(Error::internal)?;
    let invitation = way.invitation.map(Secret::new);
    Ok(Done { login, provider, state: way.state, return_to, invitation })
}

/// Exchanges the code for an ID token.
async fn exchange(
    app: &App,
    provider: &Provider,
    discovery: &Discovery,
    code: &str,
    verifier: &str,
) -> Result<String> {
    let secret = client_secret(app, provider).await?;
    let endpoint = endpoint(app, provider, "token", &discovery.token_endpoint)?;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", &redirect_uri(app)),
        ("code_verifier", verifier),
    ];
    let (form, authorization) = authenticated(client_id(provider)?, secret, discovery, &form);
    let fetcher = &Discoveries::of(app).fetcher;
    let asked = fetcher.post_form(endpoint, provider.chosen_by(), form, authorization).await;
    let Fetched { status, body, .. } = asked.map_err(|failure| {
        Error::unavailable(format!("The identity provider cannot be reached: {failure}."), 5)
    })?;
    let answer = json::strict(&body).unwrap_or_default();
    let text = |name: &str| answer.get(name).and_then(Value::as_str);
    if status != StatusCode::OK {
        let error = text("error").map_or_else(|| status.to_string(), quoted);
        return Err(failed(&format!("the identity provider refused the code: {error}")));
    }
    let id_token = text("id_token").map(str::to_owned);
    id_token.ok_or_else(|| failed("the identity provider returned no ID token"))
}

/// Returns the statements that the ID token vouches for.
async fn verified(
    app: &App,
    provider: &Provider,
    id_token: &str,
    nonce: &str,
    now: DateTime<Utc>,
) -> Result<Login> {
    let refused = |why: String| failed(&format!("the ID token is not valid: {why}"));
    let token = Token::read(id_token).map_err(refused)?;
    if token.issuer() != Some(&provider.issuer) {
        return Err(refused("it is from another issuer (iss)".into()));
    }
    check_signature(app, provider, &token, now).await?;
    token.check_is_id_token(client_id(provider)?, nonce).map_err(refused)?;
    let expires_at = token.check_times(now).map_err(refused)?;
    vouched(provider, &token.claims, expires_at)
}

/// Returns the URL at which the provider ends its own session (OpenID Connect RP-Initiated Logout
/// 1.0), if it publishes one.
pub(super) async fn logout_url(
    app: &App,
    organization: Option<OrganizationId>,
    key: &str,
) -> Option<String> {
    let provider = issuers::by_key(app, organization, key).await.ok()??;
    let discovery = discovery(app, &provider).await.ok()?;
    let endpoint = discovery.end_session_endpoint.as_deref()?;
    Discoveries::of(app).fetcher.check(endpoint).ok()?;
    let mut url = Url::parse(endpoint).ok()?;
    let back = format!("{}/", app.settings.base_url);
    url.query_pairs_mut()
        .append_pair("client_id", provider.client_id.as_deref()?)
        .append_pair("post_logout_redirect_uri", &back);
    Some(url.into())
}

async fn discovery(app: &App, provider: &Provider) -> Result<std::sync::Arc<Discovery>> {
    Discoveries::of(app).discovery(&provider.source(), app.clock.now()).await
}

fn endpoint<'d>(
    app: &App,
    provider: &Provider,
    name: &str,
    url: &'d Option<String>,
) -> Result<&'d str> {
    let unfit = |why: &str| {
        let issuer = &provider.issuer;
        Error::unavailable(format!("The {name} endpoint of {issuer} cannot be used: {why}."), 5)
    };
    let url = url.as_deref().ok_or_else(|| unfit("its metadata contain none"))?;
    Discoveries::of(app).fetcher.check(url).map_err(|why| unfit(&why))?;
    Ok(url)
}

fn client_id(provider: &Provider) -> Result<&str> {
    provider.client_id.as_deref().ok_or_else(|| {
        let detail = "This identity provider has no client_id. Set one to allow logins with it.";
        Error::conflict(detail)
    })
}

async fn client_secret(app: &App, provider: &Provider) -> Result<Option<Secret<String>>> {
    match (provider.organization, provider.id) {
        (Some(organization), Some(id)) => providers::client_secret(app, organization, id).await,
        _ => Ok(provider.client_secret.clone()),
    }
}

fn redirect_uri(app: &App) -> String {
    format!("{}{BASE}/login/callback", app.settings.base_url)
}

fn open(app: &App, sealed: &str) -> Option<OnItsWay> {
    let plain = app.kek.open(PURPOSE, &URL_SAFE_NO_PAD.decode(sealed).ok()?)?;
    serde_json::from_slice(&plain).ok()
}

fn pairs(parts: &Parts) -> Vec<(String, String)> {
    let query = parts.uri.query().unwrap_or_default();
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// Returns a path of this server, with its query. Any other value that leads a browser elsewhere is
/// refused.
fn local_path(app: &App, text: &str) -> Result<String> {
    let refused = || {
        let detail = "`return_to` must be a path of this server, such as /console.";
        Error::invalid("return_to", detail)
    };
    let is_plain = text.len() <= LONGEST_PATH
        && text.starts_with('/')
        && !text.starts_with("//")
        && text.chars().all(|c| c.is_ascii_graphic() && c != '\\');
    let base = base_url(app)?;
    // A page of this server names a path with the path of the base URL, or without.
    let (prefix, given) = (app.settings.base_path(), text.split(['?', '#']).next());
    let is_below = given.and_then(|path| path.strip_prefix(prefix));
    let is_below = is_below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let text = if is_below { text.to_owned() } else { format!("{prefix}{text}") };
    let url = base.join(&text).ok().filter(|url| is_plain && url.origin() == base.origin());
    let url = url.ok_or_else(refused)?;
    // The parsed form is the one that browsers use. An empty segment at its start would be a host.
    let path = &url[url::Position::BeforePath..];
    if path.starts_with("//") { Err(refused()) } else { Ok(path.to_owned()) }
}

/// Returns the refusal of a login that failed.
fn failed(why: &str) -> Error {
    Error::new(ProblemCode::Unauthenticated, format!("The login failed: {why}."))
}
