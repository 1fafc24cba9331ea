//! Worlds with many tenants: copies of acme's rows, made by the database itself.
//!
//! # Design
//! A copy has the same rows as acme. Each ID of acme has another end in each copy, and each text
//! with acme's slug has the copy's slug. References to rows of the platform stay. The rows are those
//! of every table that has an organization's ID or refers to such rows, so a new table needs no code
//! here. Rejected: to create the tenants over the API, which takes hours.

mod copies;
mod raw;
mod schema;

use std::sync::atomic::Ordering;

use axum::http::StatusCode;
use chrono::TimeDelta;
use serde_json::{Value, json};
use uuid::Uuid;

use self::copies::Copies;
use self::raw::Raw;
use super::database::Database;
use super::{Filled, Tenant, World, cluster};

/// The licenses of each tenant; each has a deployment, a bundle and a lease.
pub const LICENSES: usize = 10;
/// The usage events of each tenant.
pub const USAGE_EVENTS: usize = 20;

impl World {
    /// A world on SQLite with this number of copies of acme.
    pub async fn crowded_on_sqlite(count: u32) -> Self {
        let mut world = Self::on_sqlite().await;
        Box::pin(world.enrich()).await;
        let filled = world.names();
        let folder = world.database.into_folder().await;
        let mut raw = Raw::sqlite(folder.path()).await;
        fill(&mut raw, &filled.acme, count).await;
        raw.close().await;
        let world = Self::cloned(Database::sqlite_in(folder).await, &filled).await;
        // The new server begins with the same random numbers: another time has other IDs.
        world.pass(TimeDelta::minutes(1));
        world
    }

    /// Does the same on PostgreSQL; `None` without one.
    pub async fn crowded_on_postgres(count: u32) -> Option<Self> {
        cluster::HAS_MUCH_DATA.store(true, Ordering::Relaxed);
        let mut world = Self::on_postgres().await?;
        Box::pin(world.enrich()).await;
        let mut raw = Raw::postgres(&world.database.url).await;
        fill(&mut raw, &world.acme, count).await;
        raw.run("VACUUM ANALYZE".to_owned()).await;
        raw.close().await;
        Some(world)
    }

    /// The name of the database of PostgreSQL.
    pub fn database_name(&self) -> Option<&str> {
        self.database.url.strip_prefix("postgres")?.rsplit('/').next()
    }

    /// Adds licenses and usage, as every copy has them.
    async fn enrich(&mut self) {
        for metric in ["deployments", "licenses"] {
            let path = self.org(&format!("/quotas/{metric}"));
            let answer = self.put(path, json!({"quantity": "unlimited"})).await;
            assert!(answer.status < 500, "{}", answer.text());
        }
        for n in 1..LICENSES {
            let deployment = json!({"name": format!("site-{n}"), "type": "cloud"});
            let deployment = self.add(self.org("/deployments"), deployment).await;
            let license = json!({"subscription_id": self.acme.subscription});
            let license = self.add(format!("/deployments/{deployment}/licenses"), license).await;
            self.add(format!("/licenses/{license}/bundles"), json!({})).await;
            let seat = json!({"holder": {"id": "example"}});
            self.add(format!("/licenses/{license}/leases"), seat).await;
        }
        for _ in 1..USAGE_EVENTS {
            self.add(self.org("/usage"), json!({"metric": "calls", "quantity": 1})).await;
        }
        cp_server::audit::integrator::integrate(&self.app).await.unwrap();
    }

    async fn add(&self, path: String, body: Value) -> String {
        let made = self.post(path, body).await.expect(StatusCode::CREATED.as_u16());
        made["id"].as_str().unwrap_or_default().to_owned()
    }

    /// What a clone of this world's data contains.
    fn names(&self) -> Filled {
        Filled {
            template: super::database::Template::Sqlite(Vec::new()),
            acme: self.acme.clone(),
            globex: self.globex.clone(),
            successor: self.successor.clone(),
            event: self.event.clone(),
        }
    }
}

/// Copies the tenant's rows.
async fn fill(raw: &mut Raw, tenant: &Tenant, count: u32) {
    let copies = Copies::of(raw, tenant).await;
    raw.run(copies.begin()).await;
    for first in (1..=count).step_by(1000) {
        raw.run(copies.script(first..=count.min(first + 999))).await;
    }
}

impl Tenant {
    /// The names of a copy. Texts of secrets are those of the original and do not work.
    pub fn copy(&self, n: u32) -> Self {
        let map = |text: &String| match Uuid::parse_str(text) {
            Ok(_) => format!("{}{n:08x}", &text[..28]),
            Err(_) => text.clone(),
        };
        Self {
            slug: copies::slug(n),
            org: map(&self.org),
            owner: map(&self.owner),
            user: map(&self.user),
            auth_account: map(&self.auth_account),
            stranger: map(&self.stranger),
            spare_auth_account: map(&self.spare_auth_account),
            workspace: map(&self.workspace),
            spare_workspace: map(&self.spare_workspace),
            role: map(&self.role),
            spare_role: map(&self.spare_role),
            membership: map(&self.membership),
            workspace_membership: map(&self.workspace_membership),
            group: map(&self.group),
            spare_group: map(&self.spare_group),
            project: map(&self.project),
            artifact: map(&self.artifact),
            invitation: map(&self.invitation),
            deployment: map(&self.deployment),
            spare_deployment: map(&self.spare_deployment),
            subscription: map(&self.subscription),
            license: map(&self.license),
            bundle: map(&self.bundle),
            usage_report: map(&self.usage_report),
            usage_event: map(&self.usage_event),
            limit: map(&self.limit),
            token_id: map(&self.token_id),
            deployment_token_id: map(&self.deployment_token_id),
            others: self.others.iter().map(|(name, id)| (name.clone(), map(id))).collect(),
            ..self.clone()
        }
    }
}
