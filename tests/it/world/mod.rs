//! What a test starts with: an authority on a database of its own, with two organizations that
//! have one of everything.

mod build;
mod client;
mod cluster;
pub mod database;
pub mod issuer;
mod names;
mod sample;
mod statements;
mod tenants;
mod times;
pub mod zitadel;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use chrono::{DateTime, TimeDelta, Utc};
use cp_server::identity::login_caller::Login;
use cp_server::kernel::access::caller::Permission;
use cp_server::kernel::app::Part;
use cp_server::kernel::clock::{Clock, ManualClock, Random};
use cp_server::kernel::db::Db;
use cp_server::kernel::db::query::Query;
use cp_server::kernel::db::values::Row;
use cp_server::kernel::http::routes::Routes;
use cp_server::kernel::secret::Kek;
use cp_server::licensing::keys::keyring::Keyring;
use cp_server::{App, Settings, audit, licensing, server};
use tokio::sync::OnceCell;

pub use build::usage_report;
pub use client::{Answer, Client};
pub use names::Names;
pub use sample::{sample, sample_patch};
pub use statements::{
    count_statements, least_statements, statements_of, statements_so_far, texts_of,
};
pub use tests_macros::on_both;

use database::{Database, Template};

/// The platform's token: the operator's own.
pub const ROOT: &str = "root-token-of-the-tests";
pub const ISSUER: &str = "https://cp.example";
pub const AUDIENCE: &str = "data-plane";
pub const KEK: [u8; 32] = [7; 32];

/// An organization with one of everything, and a spare where a test may delete it.
#[derive(Clone, Debug, Default)]
pub struct Tenant {
    pub slug: String,
    pub org: String,
    /// The owner of the organization.
    pub owner: String,
    /// An admin of the organization, and an analyst of its workspace.
    pub user: String,
    pub auth_account: String,
    /// A user without any membership.
    pub stranger: String,
    pub spare_auth_account: String,
    pub workspace: String,
    pub spare_workspace: String,
    pub role: String,
    pub spare_role: String,
    pub membership: String,
    pub workspace_membership: String,
    pub group: String,
    pub spare_group: String,
    pub project: String,
    pub artifact: String,
    /// An invitation of an address without a user.
    pub invitation: String,
    pub invitation_token: String,
    pub deployment: String,
    pub spare_deployment: String,
    pub subscription: String,
    pub license: String,
    /// The text of a license key.
    pub license_key: String,
    pub bundle: String,
    /// The list that the bundle's status is in.
    pub status_list: String,
    pub usage_report: String,
    pub usage_event: String,
    pub limit: String,
    /// A token with every permission, held to the organization.
    pub token: String,
    pub token_id: String,
    pub deployment_token: String,
    pub deployment_token_id: String,
    /// The ids of all that the world created from the schemas alone, by their collection.
    pub others: BTreeMap<String, String>,
}

impl Tenant {
    fn ids(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = [
            ("org", &self.org),
            ("owner", &self.owner),
            ("user", &self.user),
            ("auth account", &self.auth_account),
            ("stranger", &self.stranger),
            ("spare auth account", &self.spare_auth_account),
            ("workspace", &self.workspace),
            ("spare workspace", &self.spare_workspace),
            ("role", &self.role),
            ("spare role", &self.spare_role),
            ("membership", &self.membership),
            ("workspace membership", &self.workspace_membership),
            ("group", &self.group),
            ("spare group", &self.spare_group),
            ("project", &self.project),
            ("artifact", &self.artifact),
            ("invitation", &self.invitation),
            ("deployment", &self.deployment),
            ("spare deployment", &self.spare_deployment),
            ("subscription", &self.subscription),
            ("license", &self.license),
            ("bundle", &self.bundle),
            ("status list", &self.status_list),
            ("usage report", &self.usage_report),
            ("usage event", &self.usage_event),
            ("limit", &self.limit),
            ("token", &self.token_id),
            ("deployment token", &self.deployment_token_id),
        ];
        let own = own.map(|(what, id): (&str, &String)| (what, id.as_str()));
        own.into_iter().chain(self.others.iter().map(|(what, id)| (what.as_str(), id.as_str())))
    }
}

/// An authority, its clock, and who and what is in it.
pub struct World {
    pub app: App,
    pub clock: ManualClock,
    pub acme: Tenant,
    pub globex: Tenant,
    /// The `kid` of the key that signs next.
    pub successor: String,
    /// An audit event.
    pub event: String,
    router: Router,
    database: Database,
}

/// What a template is cloned to: its data, and the names of what is in it.
struct Filled {
    template: Template,
    acme: Tenant,
    globex: Tenant,
    successor: String,
    event: String,
}

impl World {
    pub async fn on_sqlite() -> Self {
        static FILLED: OnceCell<Filled> = OnceCell::const_new();
        let filled =
            FILLED.get_or_init(async || Self::template(Database::sqlite(None).await).await);
        let filled = filled.await;
        let Template::Sqlite(file) = &filled.template else { unreachable!("made above") };
        Self::cloned(Database::sqlite(Some(file)).await, filled).await
    }

    /// `None` where there is no PostgreSQL.
    pub async fn on_postgres() -> Option<Self> {
        static FILLED: OnceCell<Option<Filled>> = OnceCell::const_new();
        let filled = FILLED
            .get_or_init(async || Some(Self::template(Database::postgres(None).await?).await));
        let filled = filled.await.as_ref()?;
        let Template::Postgres(name) = &filled.template else { unreachable!("made above") };
        Some(Self::cloned(Database::postgres(Some(name)).await?, filled).await)
    }

    async fn template(database: Database) -> Filled {
        let mut world = Self::over(database, epoch(), 1);
        cp_server::migrate(&world.app).await.unwrap();
        world.add_example().await;
        licensing::keys::start::prepare(&world.app, None, None).await.unwrap();
        world.fill().await;
        audit::integrator::integrate(&world.app).await.unwrap();
        let Self { acme, globex, successor, event, database, .. } = world;
        Filled { template: database.into_template().await, acme, globex, successor, event }
    }

    async fn cloned(database: Database, filled: &Filled) -> Self {
        let mut world = Self::over(database, now(), 2);
        world.acme = filled.acme.clone();
        world.globex = filled.globex.clone();
        world.successor = filled.successor.clone();
        world.event = filled.event.clone();
        Keyring::of(&world.app).refresh(&world.app).await.unwrap();
        world
    }

    /// Creates the table of the example, beside those of the product.
    async fn add_example(&self) {
        let mut tx = self.app.db.begin().await.unwrap();
        for n in 0..2 {
            let sqlite = include_str!("../../example/sqlite/0001_notes.sql").split(";\n").nth(n);
            let postgres =
                include_str!("../../example/postgres/0001_notes.sql").split(";\n").nth(n);
            tx.q2(sqlite.unwrap(), postgres.unwrap()).exec().await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    /// Removes the table of the example: what remains is the product's schema.
    pub async fn drop_example(&self) {
        self.exec("DROP TABLE IF EXISTS notes").await;
    }

    fn over(database: Database, start: DateTime<Utc>, seed: u64) -> Self {
        let (clock, hand) = Clock::manual(start);
        let app = app(database.db.clone(), clock, seed);
        Self {
            router: server::router(&app),
            app,
            clock: hand,
            acme: Tenant::default(),
            globex: Tenant::default(),
            successor: String::new(),
            event: String::new(),
            database,
        }
    }

    /// A caller with this token.
    pub fn by(&self, token: &str) -> Client {
        self.anyone().token(token)
    }

    /// A person who logged in at a provider of the platform; it said nothing but who it is.
    pub fn person(&self, subject: &str) -> Client {
        self.anyone().person(&self.app, self.login(subject))
    }

    pub fn login(&self, subject: &str) -> Login {
        Login {
            provider: "auth0".into(),
            issuer: "https://login.example".into(),
            subject: subject.into(),
            organization: None,
            account: None,
            roles: Vec::new(),
            scopes: Vec::new(),
            products: Vec::new(),
            is_superadmin: false,
            name: None,
            email: None,
            expires_at: self.clock.now() + TimeDelta::hours(1),
        }
    }

    /// A caller with the platform's token.
    pub fn root(&self) -> Client {
        self.by(ROOT)
    }

    /// A caller without a credential.
    pub fn anyone(&self) -> Client {
        Client::new(self.router.clone())
    }

    /// The rest of this test's calls, as the platform.
    pub async fn get(&self, path: impl AsRef<str>) -> Answer {
        self.root().get(path).await
    }

    pub async fn post(&self, path: impl AsRef<str>, body: serde_json::Value) -> Answer {
        self.root().post(path, body).await
    }

    pub async fn put(&self, path: impl AsRef<str>, body: serde_json::Value) -> Answer {
        self.root().put(path, body).await
    }

    pub async fn patch(&self, path: impl AsRef<str>, body: serde_json::Value) -> Answer {
        self.root().patch(path, body).await
    }

    pub async fn delete(&self, path: impl AsRef<str>) -> Answer {
        self.root().delete(path).await
    }

    /// Below acme.
    pub fn org(&self, path: &str) -> String {
        format!("/organizations/{}{path}", self.acme.org)
    }

    /// Time passes.
    pub fn pass(&self, time: TimeDelta) {
        self.clock.advance(time);
    }

    /// The only value of a query, past the API: for what no answer shows.
    pub async fn value<T>(&self, sql: &'static str) -> T
    where
        (T,): Row,
    {
        self.app.db.read().q(sql).value().await.unwrap().unwrap()
    }

    /// Writes past the API: for what no client can bring about.
    pub async fn exec(&self, sql: &'static str) {
        let mut tx = self.app.db.begin().await.unwrap();
        tx.q(sql).exec().await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The lines of the plan of a statement, in the database's own words.
    pub async fn plan(
        &self,
        statement: &str,
        bind: impl for<'c> FnOnce(Query<'c>) -> Query<'c>,
    ) -> Vec<String> {
        let mut tx = self.app.db.begin().await.unwrap();
        let is_sqlite = self.app.db.writes_alone();
        let explain = if is_sqlite { "EXPLAIN QUERY PLAN" } else { "EXPLAIN" };
        let query = bind(tx.q(Box::leak(format!("{explain} {statement}").into_boxed_str())));
        if is_sqlite {
            let lines: Vec<(i64, i64, i64, String)> = query.all().await.unwrap();
            lines.into_iter().map(|line| line.3).collect()
        } else {
            let lines: Vec<(String,)> = query.all().await.unwrap();
            lines.into_iter().map(|line| line.0).collect()
        }
    }

    pub async fn count_events(&self) -> i64 {
        self.value("SELECT COUNT(*) FROM audit_events").await
    }

    /// Another replica on the same data: its own memory, the same clock.
    pub async fn replica(&self) -> (App, Client) {
        let hand = self.clock.clone();
        let app = app(self.app.db.clone(), Clock::following(&hand), 3);
        Keyring::of(&app).refresh(&app).await.unwrap();
        let client = Client::new(server::router(&app));
        (app, client)
    }

    /// Another server on the same data and clock, with settings of its own.
    pub fn server(&self, change: impl FnOnce(&mut Settings)) -> (App, Client) {
        let mut settings = settings();
        change(&mut settings);
        // No two servers make the same secrets.
        static SEED: AtomicU64 = AtomicU64::new(100);
        let random = Random::seeded(SEED.fetch_add(1, Ordering::Relaxed));
        let (clock, kek) = (Clock::following(&self.clock), Kek::new(&KEK).unwrap());
        let app =
            cp_server::app_with(operations, self.app.db.clone(), clock, random, kek, settings);
        let client = Client::new(server::router(&app));
        (app, client)
    }

    /// A server on the same data that holds everybody to their rates.
    pub async fn with_rate_limits(&self) -> Client {
        self.with_settings(Settings::new(ISSUER, AUDIENCE)).await.1
    }

    /// A server on the same data that is set up otherwise, and knows the keys.
    pub async fn with_settings(&self, settings: Settings) -> (App, Client) {
        let (app, client) = self.server(|own| *own = settings);
        Keyring::of(&app).refresh(&app).await.unwrap();
        (app, client)
    }

    /// The body with names for ids.
    pub fn named(&self, value: &serde_json::Value) -> serde_json::Value {
        let mut names = Names::default();
        for tenant in [&self.acme, &self.globex] {
            for (what, id) in tenant.ids() {
                names.add(format!("{}'s {what}", tenant.slug), id);
            }
        }
        names.of(value)
    }

    /// Ends the database under the running authority.
    pub async fn lose_database(&self) {
        self.database.close().await;
    }
}

/// The product's operations, and those of the example.
pub fn operations() -> Routes {
    let mut routes = cp_server::operations();
    cp_server::example::routes(&mut routes);
    routes
}

pub fn app(db: Db, clock: Clock, seed: u64) -> App {
    cp_server::app_with(
        operations,
        db,
        clock,
        Random::seeded(seed),
        Kek::new(&KEK).unwrap(),
        settings(),
    )
}

fn settings() -> Settings {
    let mut settings = Settings::new(ISSUER, AUDIENCE);
    // Most tests make more requests in the one instant of theirs than a minute allows.
    settings.shared.rate_limits = false;
    // The issuers of the tests are on this machine.
    settings.identity.fetch.allow_loopback = true;
    // So are the receivers.
    settings.webhooks.0.allow_loopback = true;
    settings
}

/// When the templates are filled.
fn epoch() -> DateTime<Utc> {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// When every test begins.
pub fn now() -> DateTime<Utc> {
    "2026-01-02T00:00:00Z".parse().unwrap()
}

/// Every permission, by its code.
pub fn everything() -> Vec<&'static str> {
    Permission::all().iter().map(|permission| permission.as_str()).collect()
}
