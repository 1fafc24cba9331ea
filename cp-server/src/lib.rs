//! The license authority: a library that the binary, the tests and the benchmarks share.
//!
//! Every request passes the [`kernel`]. Each resource is one file of a slice ([`tenancy`],
//! [`identity`], [`licensing`], [`metering`], [`governance`]), read from top to bottom. [`lifecycle`] has the
//! operations that cross all slices, [`events`] and [`webhooks`] follow the log. Imports go downward only, in this order; [`audit`], [`backup`]
//! and the shell ([`server`], [`config`], [`cli`]) are above them. This file composes them, and no
//! file imports it.

pub mod audit;
pub mod backup;
pub mod cli;
pub mod client;
pub mod config;
pub mod console;
pub mod events;
pub mod example;
pub mod governance;
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
pub mod webhooks;

use chrono::TimeDelta;

use audit::erase::Retention;
use identity::oidc::discovery::Discoveries;
use identity::settings::{ConsoleSettings, IdentitySettings};
use kernel::access::permissions::Permissions;
use kernel::access::rate_limits::Rates;
pub use kernel::app::App;
use kernel::app::{Foundation, SharedSettings};
use kernel::clock::{Clock, Random};
use kernel::db::Db;
use kernel::http::routes::{Operations, Routes};
use kernel::http::turns::Turns;
use kernel::http::waiting::Waiting;
use kernel::outbound::mailing::MailSettings;
use kernel::secret::Kek;
use licensing::bulk::BulkIssuances;
use licensing::enforcement::EnforcementSettings;
use licensing::issuance::TokenSettings;
use licensing::keys::KeySettings;
use licensing::keys::keyring::Keyring;
use licensing::keys::signer::SignerPool;
use licensing::leases::hours::Refused;
use licensing::leases::skew::Skew;
use licensing::leases::tenures::LeaseHistory;
use licensing::license_keys::settings::LicenseKeySettings;
use licensing::status_lists::{StatusLists, StatusSettings};
use lifecycle::DeletionRetention;
use lifecycle::export::Exports;
use lifecycle::import::Imports;
use lifecycle::notices::settings::NoticeDays;
use server::api_document::ApiDocument;
use server::limits::Surface;
use webhooks::settings::WebhookSettings;
use webhooks::state::Sending;

/// The settings of all parts.
#[derive(Clone, Debug)]
pub struct Settings {
    pub shared: SharedSettings,
    pub tokens: TokenSettings,
    pub keys: KeySettings,
    pub status: StatusSettings,
    pub enforcement: EnforcementSettings,
    pub license_keys: LicenseKeySettings,
    /// The identity providers at which people log in.
    pub identity: IdentitySettings,
    /// Whether the server has the console.
    pub console: ConsoleSettings,
    pub surface: Surface,
    /// How long the content of audit events is kept.
    pub audit_retention: Retention,
    /// How long an organization is kept after a deletion by its own callers.
    pub deletion_retention: DeletionRetention,
    /// How long ended leases are kept.
    pub lease_history: LeaseHistory,
    /// The permitted destinations of webhooks.
    pub webhooks: WebhookSettings,
    /// The SMTP server that sends mail.
    pub mail: MailSettings,
    /// The days before an end at which it is announced.
    pub notice_days: NoticeDays,
}

impl Settings {
    /// Returns the default settings.
    pub fn new(base_url: impl Into<String>, audience: impl Into<String>) -> Self {
        let base_url = base_url.into();
        Self {
            shared: SharedSettings { base_url, rate_limits: true, rates: Rates::default() },
            tokens: TokenSettings { audience: audience.into(), ttl: TimeDelta::days(30) },
            keys: KeySettings::default(),
            status: StatusSettings::default(),
            enforcement: EnforcementSettings::default(),
            license_keys: LicenseKeySettings::default(),
            identity: IdentitySettings::default(),
            console: ConsoleSettings::default(),
            surface: Surface::default(),
            audit_retention: Retention::default(),
            deletion_retention: DeletionRetention(TimeDelta::days(90)),
            lease_history: LeaseHistory(TimeDelta::days(90)),
            webhooks: WebhookSettings::default(),
            mail: MailSettings::default(),
            notice_days: NoticeDays::default(),
        }
    }
}

/// Builds the application with all its parts.
pub fn app(db: Db, clock: Clock, random: Random, kek: Kek, settings: Settings) -> App {
    app_with(operations, db, clock, random, kek, settings)
}

/// Builds the application with another table of operations: the product's, and the caller's
/// additions.
pub fn app_with(
    operations: fn() -> Routes,
    db: Db,
    clock: Clock,
    random: Random,
    kek: Kek,
    settings: Settings,
) -> App {
    let on = Foundation {
        db,
        clock,
        random,
        kek,
        settings: settings.shared,
        credentials: vec![
            Box::new(identity::service_tokens::authentication::ServiceTokens::default()),
            Box::new(identity::oidc::BearerTokens::default()),
            Box::new(licensing::license_keys::authentication::LicenseKeys::default()),
            Box::new(identity::sessions::Sessions::default()),
        ],
        admission: Box::new(tenancy::request_rates::RequestRates::default()),
    };
    let discoveries = Discoveries::new(&settings.identity.fetch);
    let signers = SignerPool::start(settings.keys.service.is_some());
    App::new(
        on,
        vec![
            Box::new(Operations::new(operations)),
            Box::new(settings.tokens),
            Box::new(settings.keys),
            Box::new(settings.status),
            Box::new(settings.enforcement),
            Box::new(settings.license_keys),
            Box::new(settings.identity),
            Box::new(settings.console),
            Box::new(settings.surface),
            Box::new(ApiDocument::default()),
            Box::new(settings.audit_retention),
            Box::new(settings.deletion_retention),
            Box::new(settings.lease_history),
            Box::new(settings.notice_days),
            Box::new(audit::Log::default()),
            Box::new(Waiting::default()),
            Box::new(Turns::default()),
            Box::new(events::feed::Feed::default()),
            Box::new(events::types::Catalogue::default()),
            Box::new(discoveries),
            Box::new(identity::provisioning::Runs::default()),
            Box::new(identity::provisioning::zitadel::tokens::ManagementTokens::default()),
            Box::new(identity::whoami::Identities::default()),
            Box::new(governance::effective::EffectiveAnswers::default()),
            Box::new(Keyring::default()),
            Box::new(signers),
            Box::new(StatusLists::default()),
            Box::new(Refused::default()),
            Box::new(Skew::default()),
            Box::new(BulkIssuances::default()),
            Box::new(Exports::default()),
            Box::new(Sending::new(settings.webhooks.0, settings.mail)),
            Box::new(Imports::default()),
        ],
    )
}

/// Brings an installation up to date: the schema, the key check, the seeds.
pub async fn migrate(app: &App) -> anyhow::Result<()> {
    app.db.migrate().await?;
    seed(app).await
}

/// Prepares an installation whose schema is up to date: checks the key and adds the system's own
/// rows.
pub async fn seed(app: &App) -> anyhow::Result<()> {
    kernel::db::installation::check_whole(&app.db).await?;
    app.db.record_version().await?;
    kernel::kek::check(app).await?;
    audit::high_water::check(app).await?;
    audit::integrator::begin(app).await?;
    identity::roles::seed(app).await?;
    licensing::plans::seed(app).await?;
    tenancy::quotas::seed(app).await?;
    Ok(())
}

/// Composes the table of operations, and checks that a set has room for all permissions: one more
/// does not compile.
macro_rules! compose {
    ($($($part:ident)::+;)+) => {
        /// Returns every operation of the product.
        pub fn operations() -> Routes {
            let mut r = Routes::default();
            $($($part)::+::routes(&mut r);)+
            r
        }
        const _: () = assert!(
            0 $(+ $($part)::+::DECLARED_PERMISSIONS)+ <= Permissions::CAPACITY,
            "a set has no room for this many permissions"
        );
    };
}

compose! {
    tenancy::organizations;
    lifecycle;
    lifecycle::move_project;
    lifecycle::leave_organization;
    lifecycle::delete_group;
    lifecycle::export;
    lifecycle::import;
    lifecycle::overview;
    lifecycle::affected;
    lifecycle::summaries;
    lifecycle::search;
    lifecycle::scim;
    lifecycle::scim::users;
    lifecycle::scim::groups;
    tenancy::onboarding;
    tenancy::quotas;
    tenancy::workspaces;
    tenancy::groups;
    tenancy::projects;
    tenancy::artifacts;
    tenancy::secret_refs;
    identity::users;
    identity::whoami;
    identity::me;
    identity::roles;
    identity::memberships;
    identity::memberships::group_members;
    identity::memberships::person_organizations;
    identity::directory;
    identity::workspace_access;
    identity::project_grants;
    identity::invitations;
    identity::providers;
    identity::providers::of_platform;
    identity::provisioning;
    identity::service_tokens;
    identity::sessions;
    identity::sessions::own;
    identity::console_links;
    identity::console_links::invited;
    licensing::plans;
    licensing::subscriptions;
    licensing::subscriptions::billing;
    licensing::deployments;
    licensing::licenses;
    licensing::verdicts;
    licensing::leases;
    licensing::entitlement::organization_entitlements;
    licensing::bundles;
    licensing::inspections;
    licensing::bulk;
    licensing::issuance_days;
    licensing::check_in;
    licensing::licenses::fetches;
    licensing::files;
    licensing::status_lists;
    licensing::usage_reports;
    licensing::license_keys;
    metering::reports;
    licensing::keys;
    licensing::keys::well_known;
    metering::usage;
    metering::limits;
    metering::limits::checks;
    metering::costs;
    metering::budgets;
    metering::budgets::cycles;
    metering::budgets::allocations;
    metering::budgets::allocation_table;
    metering::budgets::distribution;
    governance::resources;
    governance::resources::catalogue;
    governance::bindings;
    governance::bindings::group_bindings;
    governance::effective;
    governance::marketplace;
    audit;
    audit::erase;
    audit::published;
    audit::newest;
    events;
    webhooks;
    webhooks::deliveries;
    webhooks::confirmations;
    server;
}
