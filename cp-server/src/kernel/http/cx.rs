//! The context of an operation.

use std::sync::Arc;

use axum::http::request::Parts;
use chrono::{DateTime, Utc};

use crate::kernel::access::caller::Caller;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::App;
use crate::kernel::completion::Client;
use crate::kernel::counts::Counts;
use crate::kernel::db::Conn;
use crate::kernel::effect::Effect;
use crate::kernel::error::{Error, Result};
use crate::kernel::journal::draft::AuditDraft;

/// The context of an operation.
pub struct Cx<G = OrganizationId> {
    pub app: App,
    pub caller: Caller,
    /// The result of authorization: an organization, or the caller's scope.
    pub at: G,
    pub tx: Conn,
    /// The instant of this operation.
    pub now: DateTime<Utc>,
    pub parts: Arc<Parts>,
    pub audit: AuditDraft,
    /// What the metrics count if this change commits.
    pub counts: Counts,
    /// Whether the operation completes when its client disconnects: only then may it begin a write.
    pub(in crate::kernel) completes: bool,
    /// The client, until the operation begins its first write.
    pub(in crate::kernel) client: Client,
    /// Whether the operation has committed its change itself.
    pub(in crate::kernel) is_committed: bool,
    /// Whether the transaction is tried and never commits: then the operation counts nothing either.
    pub is_rehearsal: bool,
}

impl<G> Cx<G> {
    /// Creates a context outside the table of operations: for the CLI, the start, streams.
    pub fn outside(app: &App, caller: Caller, at: G, tx: Conn) -> Self {
        let (parts, ()) = axum::http::Request::new(()).into_parts();
        Self::new(app.clone(), caller, Arc::new(parts), at, tx, app.clock.now())
    }

    /// Creates a context whose operation completes without its client.
    pub(in crate::kernel) fn new(
        app: App,
        caller: Caller,
        parts: Arc<Parts>,
        at: G,
        tx: Conn,
        now: DateTime<Utc>,
    ) -> Self {
        Self {
            app,
            caller,
            at,
            tx,
            now,
            parts,
            audit: AuditDraft::default(),
            counts: Counts::default(),
            completes: true,
            client: Client::that_stays(),
            is_committed: false,
            is_rehearsal: false,
        }
    }

    /// Moves the request to another place.
    pub(in crate::kernel) fn moved<H>(self, at: H) -> Cx<H> {
        let Self { app, caller, tx, now, parts, audit, counts, .. } = self;
        let Self { completes, client, is_committed, is_rehearsal, .. } = self;
        let moved = Cx::new(app, caller, parts, at, tx, now);
        Cx { audit, counts, completes, client, is_committed, is_rehearsal, ..moved }
    }

    /// Moves the request to another place for a while, such as the organization of the credential in
    /// its body. [`Self::take_back`] ends the visit.
    pub fn visiting<H>(&mut self, at: H) -> Cx<H> {
        let tx = std::mem::replace(&mut self.tx, self.app.db.read());
        Cx {
            app: self.app.clone(),
            caller: self.caller.clone(),
            at,
            tx,
            now: self.now,
            parts: self.parts.clone(),
            audit: std::mem::take(&mut self.audit),
            counts: std::mem::take(&mut self.counts),
            completes: self.completes,
            client: std::mem::replace(&mut self.client, Client::that_stays()),
            is_committed: self.is_committed,
            is_rehearsal: self.is_rehearsal,
        }
    }

    /// Continues with the transaction and the audit event of a visit.
    pub fn take_back<H>(&mut self, visit: Cx<H>) {
        let Cx { tx, audit, counts, client, is_committed, .. } = visit;
        (self.tx, self.audit, self.counts, self.client) = (tx, audit, counts, client);
        self.is_committed = is_committed;
    }

    /// Returns the connection to the pool while slow work runs without it.
    pub fn release(&mut self) {
        self.tx = self.app.db.read();
    }

    /// Begins the transaction of a `own_transaction` line, or of a read that also writes.
    pub async fn begin(&mut self) -> Result<()> {
        let (app, share) = (self.app.clone(), self.caller.share());
        self.begin_with(async move { app.db.begin_for(share).await }).await
    }

    /// Begins a transaction of a single statement, which is faster on PostgreSQL. For a change that
    /// has no event and may be repeated: when the connection is lost, only the database knows
    /// whether it happened.
    pub async fn begin_single(&mut self) -> Result<()> {
        // The answer is another statement.
        if self.parts.headers.contains_key("idempotency-key") {
            return self.begin().await;
        }
        let (app, share) = (self.app.clone(), self.caller.share());
        self.begin_with(async move { app.db.begin_single(share).await }).await
    }

    async fn begin_with(&mut self, begin: impl Future<Output = sqlx::Result<Conn>>) -> Result<()> {
        if !self.completes {
            let why = anyhow::anyhow!("a read began a write: its line lacks `may_write`");
            return Err(Error::internal(why));
        }
        // Requests that held one connection and waited for another would wait for each other.
        self.release();
        let client = std::mem::replace(&mut self.client, Client::that_stays());
        self.tx = client.begins(begin).await?;
        Ok(())
    }

    /// Commits the change of an `own_transaction` line before its answer: slow work follows that must
    /// not hold the writer and depends on what was decided, such as a signature. The operation has
    /// written its event, or leaves none. A repeated request finds the change.
    pub async fn commit_early(&mut self, effect: Effect) -> Result<()> {
        let tx = std::mem::replace(&mut self.tx, self.app.db.read());
        if self.audit.is_omitted() {
            tx.commit().await?;
        } else {
            self.app.commit(tx, effect, None).await?;
        }
        self.is_committed = true;
        Ok(())
    }
}
