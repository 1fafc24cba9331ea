//! The application: the state that outlives requests, and the parts that slices add to it.
//!
//! # Design
//!
//! The kernel's own members are fields. The state that a slice keeps between requests (a key ring,
//! a cache, its settings) is a [`Part`]. The slice declares it, `lib.rs` adds it, and
//! `Keyring::of(&app)` finds it. Rejected: a type parameter on every signature, and one struct that
//! imports every slice.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::request::Parts;

use crate::kernel::access::caller::Caller;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::rate_limits::{LimitStatus, RateLimits, Rates};
use crate::kernel::cache::Generations;
use crate::kernel::clock::{Clock, Random};
use crate::kernel::completion::to_the_end;
use crate::kernel::db::installation::Trial;
use crate::kernel::db::recent::Recent;
use crate::kernel::db::{Conn, Db};
use crate::kernel::effect::Effect;
use crate::kernel::error::Result;
use crate::kernel::secret::Kek;

/// The state that outlives requests; cheap to clone.
#[derive(Clone)]
pub struct App(Arc<State>);

/// The state of the kernel itself.
pub struct State {
    pub db: Db,
    pub clock: Clock,
    pub random: Random,
    pub kek: Kek,
    pub settings: SharedSettings,
    pub credentials: Vec<Box<dyn Authenticate>>,
    pub admission: Box<dyn Admit>,
    pub rate_limits: RateLimits,
    /// Advances with every commit of this replica.
    pub commits: Generations,
    /// Advances with every commit of this replica that may change who a caller is or which
    /// permissions it has.
    pub rights: Arc<Generations>,
    /// What reads found in the last second.
    pub recent: Arc<Recent>,
    /// The last trial write, which readiness depends on.
    trial: Trial,
    parts: Vec<Box<dyn Part>>,
    places: HashMap<TypeId, usize>,
    /// Set when the process is asked to stop. Readiness fails before anything closes.
    stopping: AtomicBool,
}

/// The settings that the kernel and every slice read.
#[derive(Clone, Debug)]
pub struct SharedSettings {
    /// The issuer, which is also the prefix of every published URL; without a trailing slash.
    pub base_url: String,
    /// Whether request rates are limited.
    pub rate_limits: bool,
    pub rates: Rates,
}

impl SharedSettings {
    /// Returns the path of the base URL.
    pub fn base_path(&self) -> &str {
        base_path(&self.base_url)
    }
}

/// Returns the path of a base URL, the prefix of each link of this server: a proxy strips it. Empty
/// at the root of a host.
pub fn base_path(base_url: &str) -> &str {
    let host = base_url.split_once("://").map_or("", |(_, rest)| rest);
    host.find('/').map_or("", |at| host[at..].trim_end_matches('/'))
}

/// The state that a slice keeps between requests.
pub trait Part: Any + Send + Sync {
    /// Returns the part of this type.
    ///
    /// # Panics
    /// Panics when the composition in `lib.rs` does not add the part: a bug.
    fn of(app: &App) -> &Self
    where
        Self: Sized,
    {
        app.part()
    }

    /// Reacts to a commit of this replica.
    fn committed(&self) {}

    /// Reacts to a commit with [`Effect::Parts`] before its response is sent: reloads state that
    /// other requests rely on.
    fn changed<'a>(&'a self, _app: &'a App) -> PartFuture<'a> {
        Box::pin(std::future::ready(()))
    }
}

pub type PartFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Resolves a credential; `None` for a credential of another kind.
///
/// The kernel does not know the kinds of credentials: the slices that store them do.
pub trait Authenticate: Send + Sync {
    /// Returns the scheme of the `Authorization` header in lower case; clients send it in either.
    fn scheme(&self) -> &'static str {
        "bearer"
    }

    fn caller<'a>(&'a self, app: &'a App, credential: &'a str) -> CallerFuture<'a>;

    /// Resolves a credential outside the `Authorization` header: a cookie.
    fn of_request<'a>(&'a self, _: &'a App, _: &'a Parts) -> CallerFuture<'a> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

pub type CallerFuture<'a> = Pin<Box<dyn Future<Output = Result<Option<Caller>>> + Send + 'a>>;

/// Counts a request and returns the state of the organization's limit; `None` when no limit
/// applies.
pub trait Admit: Send + Sync {
    fn admit<'a>(&'a self, app: &'a App, organization: OrganizationId) -> AdmitFuture<'a>;

    /// Counts `more` requests that an admitted request carries. If there is room for one of them,
    /// all are admitted; the next request then exceeds the limit.
    fn charge<'a>(
        &'a self,
        app: &'a App,
        organization: OrganizationId,
        more: i64,
    ) -> AdmitFuture<'a>;
}

pub type AdmitFuture<'a> = Pin<Box<dyn Future<Output = Result<Option<LimitStatus>>> + Send + 'a>>;

/// The components of an application without its parts.
pub struct Foundation {
    pub db: Db,
    pub clock: Clock,
    pub random: Random,
    pub kek: Kek,
    pub settings: SharedSettings,
    /// In the order in which they are tried.
    pub credentials: Vec<Box<dyn Authenticate>>,
    pub admission: Box<dyn Admit>,
}

impl App {
    pub fn new(on: Foundation, parts: Vec<Box<dyn Part>>) -> Self {
        let types = parts.iter().map(|part| (&**part as &dyn Any).type_id());
        let places = types.enumerate().map(|(n, part)| (part, n)).collect();
        let rights = Arc::new(Generations::default());
        Self(Arc::new(State {
            recent: Recent::new(rights.clone(), on.clock.clone()),
            rate_limits: RateLimits::new(&on.settings.rates),
            db: on.db,
            clock: on.clock,
            random: on.random,
            kek: on.kek,
            settings: on.settings,
            credentials: on.credentials,
            admission: on.admission,
            commits: Generations::default(),
            rights,
            trial: Trial::default(),
            places,
            parts,
            stopping: AtomicBool::new(false),
        }))
    }

    fn part<T: Part>(&self) -> &T {
        let part = self.places.get(&TypeId::of::<T>()).and_then(|n| self.parts.get(*n));
        let part = part.and_then(|part| (&**part as &dyn Any).downcast_ref());
        part.unwrap_or_else(|| panic!("the composition does not add {}", type_name::<T>()))
    }

    /// Commits the changes of an operation and announces them on this replica: both, or neither.
    /// `at` is the organization in which the operation acted.
    pub async fn commit(&self, tx: Conn, effect: Effect, at: Option<OrganizationId>) -> Result<()> {
        let app = self.clone();
        to_the_end(async move {
            tx.commit().await?;
            app.committed(effect, at).await;
            Ok(())
        })
        .await
    }

    /// Checks that the database accepts changes.
    ///
    /// # Errors
    /// Fails with 503 when it does not.
    pub async fn try_write(&self) -> Result<()> {
        self.trial.write(&self.db, &self.clock).await
    }

    /// Announces a commit on this replica.
    async fn committed(&self, effect: Effect, at: Option<OrganizationId>) {
        // A change of all rights may matter elsewhere, such as the move of a project.
        let stays = matches!(effect, Effect::Organization | Effect::Harmless);
        self.commits.advance(at.filter(|_| stays));
        for part in &self.parts {
            part.committed();
        }
        if effect == Effect::Harmless {
            return;
        }
        self.rights.advance(at.filter(|_| effect == Effect::Organization));
        if effect == Effect::Parts {
            for part in &self.parts {
                part.changed(self).await;
            }
        }
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

impl Deref for App {
    type Target = State;
    fn deref(&self) -> &State {
        &self.0
    }
}
