//! The keys in this process's memory: the server signs tokens and serves the JWKS without the
//! database, also while it is down.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::response::Response;
use cp_contracts::{Jwk, JwkSet};

use super::settings::KeySettings;
use super::signer::Signer;
use super::state::KeyState;
use super::store::{self, KeyRow};
use crate::kernel::app::{App, Part, PartFuture};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Document;

const MEDIA_TYPE: &str = "application/jwk-set+json";

#[derive(Default)]
pub struct Keyring(ArcSwap<Loaded>);

impl Part for Keyring {
    /// Reads the keys again after a change; other replicas follow with their next read.
    fn changed<'a>(&'a self, app: &'a App) -> PartFuture<'a> {
        Box::pin(async move {
            if let Err(error) = self.refresh(app).await {
                tracing::error!(%error, "the keys could not be read again");
            }
        })
    }
}

struct Loaded {
    active: Option<Arc<dyn Signer>>,
    keys: JwkSet,
    jwks: Document,
    /// The endorsements from older keys to the published ones, oldest first.
    chain: Vec<String>,
    states: HashMap<String, KeyState>,
}

impl Default for Loaded {
    fn default() -> Self {
        let jwks = Document::new(MEDIA_TYPE, "no-store", r#"{"keys":[]}"#);
        Self {
            active: None,
            keys: JwkSet { keys: Vec::new() },
            jwks,
            chain: Vec::new(),
            states: HashMap::new(),
        }
    }
}

/// The maximum number of rotations that a data plane may miss: about two years of them.
const CHAIN: usize = 8;

impl Keyring {
    pub fn active(&self) -> Result<Arc<dyn Signer>> {
        let loaded = self.0.load();
        let signer = loaded.active.clone();
        signer.ok_or_else(|| Error::unavailable("There is no active signing key.", 60))
    }

    /// Returns the JWKS as it is published.
    pub fn jwks(&self) -> Bytes {
        self.0.load().jwks.body()
    }

    pub fn published(&self) -> JwkSet {
        self.0.load().keys.clone()
    }

    /// Returns the state of a key; `None` for a key that another replica has just created.
    pub fn state_of(&self, kid: &str) -> Option<KeyState> {
        self.0.load().states.get(kid).copied()
    }

    pub fn chain(&self) -> Vec<String> {
        self.0.load().chain.clone()
    }

    pub(super) fn render_jwks(&self, request: &HeaderMap) -> Response {
        self.0.load().jwks.render(request)
    }

    /// Reads the keys again.
    pub async fn refresh(&self, app: &App) -> anyhow::Result<()> {
        let mut tx = app.db.read();
        let rows = store::all(&mut tx).await?;
        drop(tx);
        let before = self.0.load();
        let active = match rows.iter().find(|row| row.state == KeyState::Active) {
            None => None,
            Some(row) => match &before.active {
                Some(signer) if signer.jwk().kid == row.kid => Some(signer.clone()),
                _ => Some(Arc::new(row.unseal(&app.kek)?) as Arc<dyn Signer>),
            },
        };
        // Sorted by kid and built from the rows alone: the same bytes on every replica.
        let mut keys: Vec<Jwk> =
            rows.iter().filter(|row| row.state.is_public()).map(KeyRow::jwk).collect();
        keys.sort_by(|a, b| a.kid.cmp(&b.kid));
        let keys = JwkSet { keys };
        let age = KeySettings::of(app).jwks_max_age;
        let cache =
            format!("public, max-age={age}, stale-while-revalidate={age}, stale-if-error=86400");
        let jwks = Document::new(MEDIA_TYPE, &cache, serde_json::to_vec(&keys)?);
        let states = rows.iter().map(|row| (row.kid.clone(), row.state)).collect();
        self.0.store(Arc::new(Loaded { active, keys, jwks, chain: chain(&rows), states }));
        Ok(())
    }
}

/// Returns the endorsements, without those of compromised keys.
fn chain(rows: &[KeyRow]) -> Vec<String> {
    let is_sound =
        |kid: &str| rows.iter().any(|row| row.kid == kid && row.state != KeyState::Compromised);
    let sound = rows.iter().filter(|row| {
        row.state != KeyState::Staged
            && is_sound(&row.kid)
            && row.endorsed_by.as_deref().is_some_and(is_sound)
    });
    let all: Vec<String> = sound.filter_map(|row| row.endorsement.clone()).collect();
    all[all.len().saturating_sub(CHAIN)..].to_vec()
}
