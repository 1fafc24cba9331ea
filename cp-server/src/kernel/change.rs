//! Changes without a request: those of jobs, the command line and logins.
//!
//! # Design
//! A change writes its audit event in its own transaction, and this replica's caches follow its
//! commit. The table of operations does both for its lines. All other changes use these functions,
//! so no slice commits a change by hand. Rejected: one function that accepts the work as a closure,
//! because the futures of such closures cannot be sent to other threads.

use crate::kernel::access::caller::{Caller, Scope};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::App;
use crate::kernel::effect::Effect;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::kernel::journal::record::record;

impl App {
    /// Begins a change by this caller.
    pub async fn change(&self, caller: Caller) -> Result<Cx<Scope>> {
        let tx = self.db.begin_for(caller.share()).await?;
        Ok(Cx::outside(self, caller, Scope::Platform, tx))
    }
}

impl<G> Cx<G> {
    /// Records the event of the change, commits both and announces the change on this replica.
    pub async fn finish(
        mut self,
        action: &'static str,
        organization: Option<OrganizationId>,
        target: (&'static str, String),
        effect: Effect,
    ) -> Result<()> {
        record(&mut self, action, organization, target).await?;
        self.commit(effect).await
    }

    /// Commits a change whose events are recorded, and announces it on this replica.
    pub async fn commit(self, effect: Effect) -> Result<()> {
        let Self { app, tx, counts, .. } = self;
        app.commit(tx, effect, None).await?;
        counts.committed();
        Ok(())
    }
}
