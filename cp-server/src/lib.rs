//! The license authority: a library that the binary, the tests and the benchmarks share.
//!
//! The map: every request passes the [`kernel`]; each resource is one file of a slice
//! ([`tenancy`], [`identity`], [`licensing`]), read top to bottom; [`lifecycle`] is what crosses
//! all slices. Imports go downward only: kernel, tenancy, identity, licensing, lifecycle; the
//! shell ([`server`], [`config`], [`cli`]) is above them.

pub mod audit;
pub mod backup;
pub mod cli;
pub mod client;
pub mod config;
pub mod identity;
pub mod jobs;
pub mod kernel;
pub mod licensing;
pub mod lifecycle;
pub mod metering;
pub mod quickstart;
pub mod server;
pub mod telemetry;
pub mod tenancy;

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;

use identity::oidc::IdentitySettings;
use identity::oidc::discovery::Discoveries;
use kernel::admission::{Admit, Gate, Rates};
use kernel::caller::Authenticate;
use kernel::clock::{Clock, Random};
use kernel::db::Db;
use kernel::installation::Trial;
use kernel::memory::Generation;
use kernel::secret::Kek;
use kernel::shares::Shares;
use kernel::table::Routes;
use licensing::enforcement::EnforcementSettings;
use licensing::keys::KeySettings;
use licensing::keys::keyring::Keyring;
use licensing::keys::signer::SignerPool;
use licensing::status_lists::{StatusLists, StatusSettings};
use server::limits::Surface;

/// What outlives a request; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<State>);

pub struct State {
    pub db: Db,
    pub clock: Clock,
    pub random: Random,
    pub kek: Kek,
    pub settings: Settings,
    pub credentials: Vec<Box<dyn Authenticate>>,
    pub admission: Box<dyn Admit>,
    pub gate: Gate,
    pub keys: Keyring,
    pub signers: SignerPool,
    pub status_lists: StatusLists,
    /// Moves on with every commit of this replica.
    pub generation: Generation,
    pub identities: identity::whoami::Identities,
    /// What the identity providers publish.
    pub discoveries: Discoveries,
    /// Places of what holds a connection for long.
    pub exports: Shares,
    pub bulk_issuances: Shares,
    pub log: audit::Log,
    /// Whether the database accepts changes: what readiness rests on.
    pub trial: Trial,
    /// Set once the process is asked to end: readiness says so before anything closes.
    stopping: AtomicBool,
}

/// The settings that operations look at.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The issuer, and what every published URL begins with; without a slash at its end.
    pub base_url: String,
    pub audience: String,
    pub bundle_ttl: TimeDelta,
    pub keys: KeySettings,
    pub status: StatusSettings,
    pub enforcement: EnforcementSettings,
    /// Whether anybody is held to a rate: organizations to their quota, all to `rates`.
    pub rate_limits: bool,
    /// Where people log in.
    pub identity: IdentitySettings,
    pub rates: Rates,
    pub surface: Surface,
    /// For how long the content of audit events is kept.
    pub audit_retention: audit::erase::Retention,
    /// For how long an organization is kept that its own people deleted.
    pub deletion_retention: TimeDelta,
}

/// The path of a base URL, with which each link of this server begins: a proxy strips it. Empty at
/// the root of a host.
pub fn base_path(base_url: &str) -> &str {
    let host = base_url.split_once("://").map_or("", |(_, rest)| rest);
    host.find('/').map_or("", |at| host[at..].trim_end_matches('/'))
}

impl Settings {
    /// The path of the base URL.
    pub fn base_path(&self) -> &str {
        base_path(&self.base_url)
    }

    /// With the standard values.
    pub fn new(base_url: impl Into<String>, audience: impl Into<String>) -> Self {
        Self {
            base_url: base_url.into(),
            audience: audience.into(),
            bundle_ttl: TimeDelta::days(30),
            keys: KeySettings::default(),
            status: StatusSettings::default(),
            enforcement: EnforcementSettings::default(),
            rate_limits: true,
            identity: IdentitySettings::default(),
            rates: Rates::default(),
            surface: Surface::default(),
            audit_retention: None,
            deletion_retention: TimeDelta::days(90),
        }
    }
}

impl Deref for App {
    type Target = State;
    fn deref(&self) -> &State {
        &self.0
    }
}

impl App {
    pub fn new(db: Db, clock: Clock, random: Random, kek: Kek, settings: Settings) -> Self {
        Self(Arc::new(State {
            gate: Gate::new(&settings.rates),
            db,
            clock,
            random,
            kek,
            discoveries: Discoveries::new(&settings.identity.fetch),
            credentials: vec![
                Box::new(identity::credentials::ServiceTokens::default()),
                Box::new(identity::oidc::BearerTokens::default()),
                Box::new(identity::sessions::Sessions::default()),
            ],
            settings,
            admission: Box::new(tenancy::request_rates::RequestRates::default()),
            keys: Keyring::default(),
            signers: SignerPool::start(),
            status_lists: StatusLists::default(),
            generation: Generation::default(),
            identities: identity::whoami::Identities::default(),
            exports: Shares::new("exports", 4, 1),
            bulk_issuances: Shares::new("bulk issuances", 8, 1),
            log: audit::Log::default(),
            trial: Trial::default(),
            stopping: AtomicBool::new(false),
        }))
    }

    /// Brings an installation up to date: the schema, the key check, the seeds.
    pub async fn migrate(&self) -> anyhow::Result<()> {
        self.db.migrate().await?;
        self.seed().await
    }

    /// What an installation needs on an up-to-date schema: the right key, the system's own rows.
    pub async fn seed(&self) -> anyhow::Result<()> {
        kernel::installation::check_whole(self).await?;
        kernel::kek::check(self).await?;
        audit::high_water::check(self).await?;
        audit::integrator::begin(self).await?;
        identity::roles::seed(self).await?;
        licensing::plans::seed(self).await?;
        tenancy::quotas::seed(self).await?;
        Ok(())
    }

    /// An operation was committed here: what this replica remembers may be over.
    pub async fn committed(&self, action: &str) {
        self.generation.advance();
        self.log.wake();
        for kind in &self.credentials {
            kind.committed(action);
        }
        self.admission.committed(action);
        // Whoever changed the keys finds them changed here at once; other replicas follow.
        if action.starts_with("keys.")
            && let Err(error) = self.keys.refresh(self).await
        {
            tracing::error!(%error, "the keys could not be read again");
        }
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

/// Every operation of the product, one line each.
pub fn routes() -> Routes {
    let mut r = Routes::default();
    tenancy::organizations::routes(&mut r);
    lifecycle::routes(&mut r);
    lifecycle::moving::routes(&mut r);
    lifecycle::export::routes(&mut r);
    tenancy::quotas::routes(&mut r);
    tenancy::workspaces::routes(&mut r);
    tenancy::groups::routes(&mut r);
    tenancy::projects::routes(&mut r);
    tenancy::artifacts::routes(&mut r);
    tenancy::secret_refs::routes(&mut r);
    identity::users::routes(&mut r);
    identity::whoami::routes(&mut r);
    identity::me::routes(&mut r);
    identity::roles::routes(&mut r);
    identity::memberships::routes(&mut r);
    identity::memberships::of_groups::routes(&mut r);
    identity::memberships::of_people::routes(&mut r);
    identity::access::routes(&mut r);
    identity::project_grants::routes(&mut r);
    identity::invitations::routes(&mut r);
    identity::providers::routes(&mut r);
    identity::service_tokens::routes(&mut r);
    identity::sessions::routes(&mut r);
    licensing::plans::routes(&mut r);
    licensing::subscriptions::routes(&mut r);
    licensing::subscriptions::billing::routes(&mut r);
    licensing::deployments::routes(&mut r);
    licensing::licenses::routes(&mut r);
    licensing::bundles::routes(&mut r);
    licensing::bulk::routes(&mut r);
    licensing::files::routes(&mut r);
    licensing::status_lists::routes(&mut r);
    licensing::usage_reports::routes(&mut r);
    metering::reports::routes(&mut r);
    licensing::keys::routes(&mut r);
    licensing::keys::well_known::routes(&mut r);
    metering::usage::routes(&mut r);
    metering::limits::routes(&mut r);
    audit::routes(&mut r);
    audit::erase::routes(&mut r);
    audit::published::routes(&mut r);
    server::routes(&mut r);
    r
}
