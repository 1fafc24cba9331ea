//! Logins of people: the access tokens of trusted identity providers.
//!
//! # Design
//! A token is verified with the keys that its issuer publishes, and never by a request about the
//! token itself. The provider's claim map translates the token's statements about the person into
//! this server's terms. The database decides which user that is and what the user may do; no claim
//! can add to it.

pub mod claims;
pub mod client_authentication;
pub mod discovery;
pub mod issuers;
pub mod key_sets;
pub mod presets;
pub mod provider;
pub mod tokens;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Map, Value};

use self::discovery::Discoveries;
use self::issuers::refused;
use self::key_sets::{KeySet, Mismatch};
use self::provider::Provider;
use self::tokens::Token;
use super::login_caller::{self, Login};
use crate::kernel::access::caller::Caller;
use crate::kernel::app::{App, Authenticate, CallerFuture, Part};
use crate::kernel::cache::Cache;
use crate::kernel::error::Result;
use crate::kernel::secret::sha256;

/// The bearer tokens of people, as the kernel uses them.
///
/// # Design
/// An admitted caller is cached for `REMEMBERED`, by the hash of the token. A change that may end a
/// login (a person, a membership, a provider) clears the cache of its replica at once. Other
/// replicas see the change when the time ends.
#[derive(Default)]
pub struct BearerTokens {
    known: Cache<[u8; 32], Caller>,
}

const REMEMBERED: TimeDelta = TimeDelta::seconds(3);

impl Authenticate for BearerTokens {
    fn caller<'a>(&'a self, app: &'a App, credential: &'a str) -> CallerFuture<'a> {
        Box::pin(self.find(app, credential))
    }
}

impl BearerTokens {
    async fn find(&self, app: &App, text: &str) -> Result<Option<Caller>> {
        if text.starts_with("cpat_") {
            return Ok(None);
        }
        if !Token::is_like(text) {
            return Err(refused(
                "it is unknown, expired or revoked, or an opaque token of an identity provider. \
                 Opaque tokens cannot be verified here; configure the provider to issue JWTs for \
                 this server's audience",
            ));
        }
        let (hash, now) = (sha256(text.as_bytes()), app.clock.now());
        let generation = app.rights.now();
        if let Some(caller) = self.known.recall(&hash, generation, now) {
            return Ok(Some(caller));
        }
        let login = login(app, text, now).await?;
        let until = login.expires_at.min(now + REMEMBERED);
        let caller = login_caller::caller(app, login).await?;
        self.known.keep(hash, caller.clone(), generation, until);
        Ok(Some(caller))
    }
}

/// Returns the statements that an access token vouches for.
async fn login(app: &App, text: &str, now: DateTime<Utc>) -> Result<Login> {
    let token = Token::read(text).map_err(refused)?;
    token.check_is_access_token().map_err(refused)?;
    let provider = issuers::of_token(app, &token).await?;
    check_signature(app, &provider, &token, now).await?;
    let expires_at = token.check_times(now).map_err(refused)?;
    vouched(&provider, &token.claims, expires_at)
}

/// Checks that the provider signed the token.
pub async fn check_signature(
    app: &App,
    provider: &Provider,
    token: &Token<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    let (source, kid) = (provider.source(), token.kid.as_deref());
    let verify =
        |keys: &KeySet| keys.verify(kid, &token.alg, token.message.as_bytes(), &token.signature);
    let keys = Discoveries::of(app).keys(&source, kid, &token.alg, now).await?;
    let verified = match verify(&keys) {
        // The issuer may have changed the key under the same key ID.
        Err(Mismatch::Signature) => match Discoveries::of(app).newer(&source, &keys, now).await {
            Some(newer) => verify(&newer),
            None => Err(Mismatch::Signature),
        },
        verified => verified,
    };
    verified.map_err(|mismatch| refused(mismatch.to_string()))
}

/// Returns the statements that verified claims of the provider vouch for.
pub fn vouched(
    provider: &Provider,
    claims: &Map<String, Value>,
    expires_at: DateTime<Utc>,
) -> Result<Login> {
    let context = claims::read(provider, claims).map_err(refused)?;
    Ok(Login {
        provider: provider.key.clone(),
        issuer: provider.issuer.clone(),
        subject: context.subject,
        organization: provider.organization,
        account: context.account,
        roles: context.roles,
        scopes: context.scopes,
        products: context.products,
        is_superadmin: context.is_superadmin,
        name: context.name,
        email: context.email,
        expires_at,
    })
}
