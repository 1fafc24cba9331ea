//! Authentication of service tokens: finds the caller of a token.

use chrono::{DateTime, TimeDelta, Utc};

use super::rows::{held, note_use, scope_of};
use super::text::{PREFIX, bootstrap_id, id_of};
use crate::identity::ids::TokenId;
use crate::kernel::access::caller::Caller;
use crate::kernel::access::ids::{DeploymentId, OrganizationId};
use crate::kernel::app::{App, Authenticate, CallerFuture};
use crate::kernel::cache::Cache;
use crate::kernel::db::record::Codes;
use crate::kernel::error::Result;
use crate::kernel::secret::{equal, sha256};

/// The credentials of this slice, as the kernel uses them.
///
/// Callers are cached for `REMEMBERED`, so that a busy data plane does not cost a look-up per
/// request. A change on this replica clears the cache at once. A change on another replica is
/// effective when the time ends.
#[derive(Default)]
pub struct ServiceTokens {
    /// By the hash of the token.
    known: Cache<[u8; 32], Caller>,
}

const REMEMBERED: TimeDelta = TimeDelta::seconds(3);

impl Authenticate for ServiceTokens {
    fn caller<'a>(&'a self, app: &'a App, credential: &'a str) -> CallerFuture<'a> {
        Box::pin(self.find(app, credential))
    }
}

#[derive(sqlx::FromRow)]
struct Stored {
    id: TokenId,
    organization_id: Option<OrganizationId>,
    deployment_id: Option<DeploymentId>,
    name: String,
    permissions: Codes,
    secret_hash: Vec<u8>,
    previous_hash: Option<Vec<u8>>,
    previous_until: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

impl ServiceTokens {
    async fn find(&self, app: &App, text: &str) -> Result<Option<Caller>> {
        let id = match text.starts_with(PREFIX) {
            true => id_of(text),
            // A JWT belongs to a person; any other string may be the operator's own bootstrap
            // token.
            false if text.contains('.') => None,
            false => Some(bootstrap_id(text)),
        };
        let Some(id) = id else { return Ok(None) };
        let (hash, now) = (sha256(text.as_bytes()), app.clock.now());
        let generation = app.rights.now();
        if let Some(caller) = self.known.recall(&hash, generation, now) {
            return Ok(Some(caller));
        }
        let sql = "SELECT id, organization_id, deployment_id, name, permissions, secret_hash,
                          previous_hash, previous_until, expires_at, last_used_at
                   FROM service_tokens WHERE id = $1 AND revoked_at IS NULL";
        let mut tx = app.db.read();
        let Some(stored) = tx.q(sql).bind(id).opt::<Stored>().await? else { return Ok(None) };
        drop(tx);
        let ends = match &stored.previous_hash {
            _ if equal(&stored.secret_hash, &hash) => stored.expires_at,
            Some(previous) if equal(previous, &hash) => {
                stored.previous_until.min(stored.expires_at.or(stored.previous_until))
            }
            _ => return Ok(None),
        };
        if ends.is_some_and(|ends| ends <= now) {
            return Ok(None);
        }
        note_use(app, stored.id, stored.last_used_at, now);
        let caller = Caller { ends_at: ends, ..stored.into_caller() };
        let until = ends.map_or(now + REMEMBERED, |ends| ends.min(now + REMEMBERED));
        self.known.keep(hash, caller.clone(), generation, until);
        Ok(Some(caller))
    }
}

impl Stored {
    fn into_caller(self) -> Caller {
        let scope = scope_of(self.organization_id, self.deployment_id);
        Caller::machine(self.id.0, self.name, scope, held(&self.permissions))
    }
}
