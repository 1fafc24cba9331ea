//! The access tokens of service users.

use axum::http::{HeaderValue, Request, StatusCode, header};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::connection::{Connection, Endpoint};
use super::failures::Failure;
use crate::identity::oidc::client_authentication::authenticated;
use crate::identity::oidc::discovery::Discoveries;
use crate::kernel::app::Part;
use crate::kernel::cache::Cache;
use crate::kernel::http::json;
use crate::kernel::secret::{Secret, hex, sha256};

/// The scopes that Zitadel's own API requires. Without `openid` it issues no token.
const SCOPE: &str = "openid urn:zitadel:iam:org:project:id:zitadel:aud";
const OPENID: &str = "openid";
/// The time before its end at which a token is no longer used.
const MARGIN: TimeDelta = TimeDelta::seconds(60);
/// The longest time for which a token is kept, in seconds.
const LONGEST: i64 = 24 * 60 * 60;
/// The longest token, in bytes.
const LARGEST: usize = 8 * 1024;

/// The tokens of service users, by the hash of what they were requested with. So a changed secret is a
/// request for another token, and no organization uses the token of another.
#[derive(Debug, Default)]
pub struct ManagementTokens(Cache<[u8; 32], Secret<String>>);

impl Part for ManagementTokens {}

impl ManagementTokens {
    // A commit ends no token: the generation is always the same.
    fn recall(&self, key: &[u8; 32], now: DateTime<Utc>) -> Option<Secret<String>> {
        self.0.recall(key, 0, now)
    }

    fn keep(&self, key: [u8; 32], token: Secret<String>, until: DateTime<Utc>) {
        self.0.keep(key, token, 0, until);
    }
}

/// Returns the token for the next call: the secret itself, or the token that it stands for.
pub async fn find(connection: &Connection<'_>) -> Result<Secret<String>, Failure> {
    let access = &connection.endpoint.access;
    let Some(client_id) = &access.settings.client_id else { return Ok(access.secret.clone()) };
    let tokens = ManagementTokens::of(connection.app);
    let key = key(connection.endpoint, client_id.as_str());
    if let Some(token) = tokens.recall(&key, connection.app.clock.now()) {
        return Ok(token);
    }
    let (token, until) = request(connection, client_id.as_str()).await?;
    tokens.keep(key, token.clone(), until);
    Ok(token)
}

/// Forgets a refused token. Returns whether another one can be requested.
pub fn forget(connection: &Connection<'_>, token: Secret<String>) -> bool {
    let Some(client_id) = &connection.endpoint.access.settings.client_id else { return false };
    let key = key(connection.endpoint, client_id.as_str());
    ManagementTokens::of(connection.app).keep(key, token, DateTime::UNIX_EPOCH);
    true
}

fn key(endpoint: &Endpoint, client_id: &str) -> [u8; 32] {
    let secret = hex(&sha256(endpoint.access.secret.expose().as_bytes()));
    let scope = scope(endpoint);
    let parts = [&*endpoint.source.issuer, endpoint.base_url(), client_id, &scope, &secret];
    sha256(parts.join("\n").as_bytes())
}

fn scope(endpoint: &Endpoint) -> String {
    match &endpoint.access.settings.scope {
        None => SCOPE.to_owned(),
        Some(own) if own.as_str().split_whitespace().any(|one| one == OPENID) => {
            own.as_str().to_owned()
        }
        Some(own) => format!("{OPENID} {own}"),
    }
}

/// Requests a token with client credentials (RFC 6749, section 4.4). Returns it with the end of
/// its use.
async fn request(
    connection: &Connection<'_>,
    client_id: &str,
) -> Result<(Secret<String>, DateTime<Utc>), Failure> {
    let Connection { app, endpoint: management, .. } = *connection;
    let now = app.clock.now();
    let discovery = Discoveries::of(app).discovery(&management.source, now).await;
    let discovery = discovery.map_err(|error| Failure::of(None, None, error.detail()))?;
    let unfit = |why: &str| {
        let message = format!("The token endpoint of the provider cannot be used: {why}.");
        Failure::of(None, None, &message)
    };
    let url = discovery.token_endpoint.as_deref();
    let url = url.ok_or_else(|| unfit("its metadata contain none"))?;
    let scope = scope(management);
    let form = [("grant_type", "client_credentials"), ("scope", &*scope)];
    let secret = &management.access.secret;
    let (form, authorization) = authenticated(client_id, Some(secret.clone()), &discovery, &form);
    let mut request =
        Request::post(url).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
    if let Some(authorization) = &authorization {
        let value = HeaderValue::try_from(authorization);
        let mut value = value.map_err(|_| unfit("the secret is no header"))?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    let request = request.body(form).map_err(|_| unfit("it is not a URL"))?;
    let fetched = connection.send(request).await?;
    let basic = authorization.as_deref().and_then(|text| text.strip_prefix("Basic "));
    let secrets = [secret.expose(), basic.unwrap_or_default()];
    if fetched.status != StatusCode::OK {
        return Err(Failure::refused(fetched.status, &fetched.body, &secrets));
    }
    let unfit = |why: &str| {
        let message = format!("The provider's answer to a request for a token {why}.");
        Failure::of(Some(fetched.status), None, &message)
    };
    let answer = json::strict(&fetched.body).map_err(|_| unfit("is not valid JSON"))?;
    let token = answer.get("access_token").and_then(Value::as_str).unwrap_or_default();
    let is_fit =
        (1..=LARGEST).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_fit {
        return Err(unfit("has no usable access_token"));
    }
    let lifetime = answer.get("expires_in").and_then(Value::as_i64).unwrap_or(0);
    let lifetime = TimeDelta::seconds(lifetime.clamp(0, LONGEST));
    Ok((Secret::new(token.to_owned()), now + lifetime - MARGIN))
}
