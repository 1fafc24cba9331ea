//! The keys in this process's memory: the server signs tokens and serves the JWKS without the
//! database, also while it is down.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::response::Response;
use chrono::{DateTime, Utc};
use cp_contracts::{Jwk, JwkSet};

use super::custody;
use super::row::KeyRow;
use super::settings::KeySettings;
use super::signer::Signer;
use super::state::KeyState;
use super::store;
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
    activated_at: Option<DateTime<Utc>>,
    next_rotation_at: Option<DateTime<Utc>>,
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
            activated_at: None,
            next_rotation_at: None,
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

    /// Returns the instant at which the active key became active.
    pub fn activated_at(&self) -> Option<DateTime<Utc>> {
        self.0.load().activated_at
    }

    /// Returns the instant at which the next key becomes active; `None` without automatic rotation.
    pub fn next_rotation_at(&self) -> Option<DateTime<Utc>> {
        self.0.load().next_rotation_at
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
        let active_row = rows.iter().find(|row| row.state == KeyState::Active);
        let active = match active_row {
            None => None,
            Some(row) => match &before.active {
                Some(signer) if signer.jwk().kid == row.kid => Some(signer.clone()),
                _ => Some(custody::open(app, row)?),
            },
        };
        // Sorted by kid and built from the rows alone: the same bytes on every replica.
        let mut keys: Vec<Jwk> =
            rows.iter().filter(|row| row.state.is_public()).map(KeyRow::jwk).collect();
        keys.sort_by(|a, b| a.kid.cmp(&b.kid));
        let keys = JwkSet { keys };
        let settings = KeySettings::of(app);
        let age = settings.jwks_max_age;
        let cache =
            format!("public, max-age={age}, stale-while-revalidate={age}, stale-if-error=86400");
        let jwks = Document::new(MEDIA_TYPE, &cache, serde_json::to_vec(&keys)?);
        let states = rows.iter().map(|row| (row.kid.clone(), row.state)).collect();
        self.0.store(Arc::new(Loaded {
            activated_at: active_row.and_then(|row| row.activated_at),
            next_rotation_at: settings.next_rotation(&rows),
            chain: chain(&rows),
            active,
            keys,
            jwks,
            states,
        }));
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
