//! What an operation works with.

use std::sync::Arc;

use axum::http::request::Parts;
use chrono::{DateTime, Utc};

use crate::kernel::access::caller::Caller;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::App;
use crate::kernel::completion::Client;
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::journal::draft::Trail;

/// What an operation works with.
pub struct Cx<G = OrganizationId> {
    pub app: App,
    pub caller: Caller,
    /// What authorization settled on: an organization, or the caller's reach.
    pub org: G,
    pub tx: Conn,
    /// The one instant of this operation.
    pub now: DateTime<Utc>,
    pub parts: Arc<Parts>,
    pub trail: Trail,
    /// Whether this runs to its end when its client is gone: only then may it begin a write.
    pub(in crate::kernel) completes: bool,
    /// Whether the client goes away before this begins its first write.
    pub(in crate::kernel) client: Client,
}

impl<G> Cx<G> {
    /// For work that no request of the table asked for: the CLI, the start, streams.
    pub fn outside(app: &App, caller: Caller, org: G, tx: Conn) -> Self {
        let (parts, ()) = axum::http::Request::new(()).into_parts();
        Self {
            app: app.clone(),
            caller,
            org,
            tx,
            now: app.clock.now(),
            parts: Arc::new(parts),
            trail: Trail::default(),
            completes: true,
            client: Client::that_stays(),
        }
    }

    /// Gives the connection back while something slow runs that needs none.
    pub fn release(&mut self) {
        self.tx = self.app.db.read();
    }

    /// Begins the transaction of a `late` line, or of a read that found something to write.
    pub async fn begin(&mut self) -> Result<()> {
        if !self.completes {
            let why = anyhow::anyhow!("a read began a write: its line does not say `may_write`");
            return Err(Error::internal(why));
        }
        let client = std::mem::replace(&mut self.client, Client::that_stays());
        self.tx = client.begins(self.app.db.begin_for(self.caller.share())).await?;
        Ok(())
    }
}
