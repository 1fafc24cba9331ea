//! Entitlement: the effective values of a license, and the level that each value comes from.

pub mod models;
pub mod organization_entitlements;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::coverage::{Coverage, Terms};
use super::leases::settings::{self, Levels, SettingSource};
use super::token_ttl::{ExplainedTtl, TtlLevels};
use crate::kernel::access::ids::{DeploymentId, OrganizationId};
use crate::kernel::app::App;
use crate::kernel::db::record::{Object, Record};
use crate::kernel::db::tags::Tags;
use crate::kernel::http::answer::Resource;
use crate::kernel::section::{ExportRequest, Exported};
use crate::kernel::text::Name;
use crate::licensing::ids::{LicenseId, SubscriptionId};

pub use super::statuses::LicenseStatus;

crate::text_enum! {
    /// The level that an effective value comes from.
    FeatureSource {
        Plan = "plan",
        Subscription = "subscription",
        Organization = "organization",
        License = "license",
    }
}

impl From<FeatureSource> for SettingSource {
    fn from(source: FeatureSource) -> Self {
        match source {
            FeatureSource::Plan => Self::Plan,
            FeatureSource::License => Self::License,
            FeatureSource::Subscription | FeatureSource::Organization => Self::Subscription,
        }
    }
}

/// The entitlement of one deployment.
#[derive(Debug, Serialize, JsonSchema)]
pub struct License {
    pub id: LicenseId,
    pub organization_id: OrganizationId,
    pub deployment_id: DeploymentId,
    pub deployment_name: Name,
    pub subscription_id: SubscriptionId,
    pub name: Option<Name>,
    /// The stored status; `expired` once the license, its subscription or the trial has ended and
    /// the days of grace have passed. `coverage` also contains causes outside of the license.
    pub status: LicenseStatus,
    pub status_reason: Option<String>,
    /// Whether tokens are issued and valid.
    pub coverage: Coverage,
    /// The license's own seats; null when it has the subscription's.
    pub seat_cap: Option<i64>,
    /// Whether the license's own seats may be above those of the subscription.
    pub allow_more_seats: bool,
    /// Feature values that replace those of the plan, the subscription and the organization.
    pub features: Object,
    /// Settings of the pools of seats that replace those of the plan and the subscription, by pool.
    pub leasing: Object,
    /// The license's own life in seconds of tokens that the data plane renews; null when it is the
    /// subscription's.
    pub token_ttl_seconds: Option<i64>,
    pub valid_from: DateTime<Utc>,
    /// The end; the days of grace follow it. Null when the subscription has no end either.
    pub valid_until: Option<DateTime<Utc>>,
    pub grace_days: i64,
    pub effective: Effective,
    /// The ID of the key that signed the last bundle.
    pub key_id: Option<String>,
    /// SHA-256 of the last bundle's token, hexadecimal.
    pub bundle_hash: Option<String>,
    /// The vendor's own values.
    pub metadata: Object,
    pub tags: Tags,
    pub revision: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// The effective values of the license, each with its source.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Effective {
    pub seat_cap: Explained<i64>,
    pub features: BTreeMap<String, Explained<Value>>,
    /// The settings of the pools of seats, by pool and field.
    pub leasing: settings::Explained,
    /// The life of the tokens that the data plane renews, in seconds.
    pub token_ttl_seconds: ExplainedTtl,
}

#[derive(Debug, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "Explained_{T}")]
pub struct Explained<T> {
    pub value: T,
    pub from: FeatureSource,
}

impl Resource for License {
    const NOUN: &'static str = "license";
    const PATH: &'static str = "licenses";
    fn name(&self) -> String {
        self.id.to_string()
    }
}

/// A license with the levels of its effective values, read in one statement.
#[derive(sqlx::FromRow)]
pub struct LicenseRow {
    pub id: LicenseId,
    pub organization_id: OrganizationId,
    pub deployment_id: DeploymentId,
    pub deployment_name: Name,
    pub subscription_id: SubscriptionId,
    pub name: Option<Name>,
    pub status_reason: Option<String>,
    pub seat_cap: Option<i64>,
    pub allow_more_seats: bool,
    pub features: Object,
    #[sqlx(flatten)]
    pub terms: Terms,
    pub key_id: Option<String>,
    pub bundle_hash: Option<String>,
    pub metadata: Object,
    pub tags: Tags,
    pub revision: i64,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    pub subscription_seat_cap: i64,
    pub subscription_features: Object,
    pub plan_features: Object,
    pub organization_features: Option<Object>,
    #[sqlx(flatten)]
    pub levels: Levels,
    #[sqlx(flatten)]
    pub token_ttl: TtlLevels,
}

impl Record for LicenseRow {
    const TABLE: &'static str = "licenses
        JOIN organizations ON organizations.id = licenses.organization_id
        JOIN deployments ON deployments.id = licenses.deployment_id
        JOIN subscriptions ON subscriptions.id = licenses.subscription_id
        JOIN plan_versions ON plan_versions.plan_id = subscriptions.plan_id
                          AND plan_versions.version = subscriptions.plan_version
        LEFT JOIN entitlements ON entitlements.organization_id = licenses.organization_id";
    const COLUMNS: &'static str = "licenses.id, licenses.organization_id, licenses.deployment_id,
        deployments.name AS deployment_name, licenses.subscription_id, licenses.name, licenses.status AS license_status,
        licenses.status_reason,
        licenses.seat_cap, licenses.allow_more_seats,
        licenses.features, licenses.valid_from, licenses.valid_until, licenses.grace_days,
        licenses.key_id, licenses.bundle_hash, licenses.metadata, licenses.tags, licenses.revision,
        licenses.created_at, licenses.updated_at,
        subscriptions.seat_cap AS subscription_seat_cap,
        subscriptions.feature_overrides AS subscription_features,
        plan_versions.default_features AS plan_features,
        entitlements.features AS organization_features,
        plan_versions.leasing AS plan_leasing, subscriptions.leasing AS subscription_leasing,
        licenses.leasing AS license_leasing,
        plan_versions.token_ttl_seconds AS plan_token_ttl,
        subscriptions.token_ttl_seconds AS subscription_token_ttl,
        licenses.token_ttl_seconds AS license_token_ttl,
        organizations.status AS organization_status, deployments.status AS deployment_status,
        subscriptions.status AS subscription_status,
        subscriptions.starts_at AS subscription_starts_at,
        subscriptions.ends_at AS subscription_ends_at,
        subscriptions.trial_ends_at AS subscription_trial_ends_at";
    const KEY: &'static str = "licenses.id";
    fn key(&self) -> Uuid {
        self.id.0
    }
}

impl Exported for LicenseRow {
    type Shown = License;
    fn shown(self, request: &ExportRequest) -> License {
        self.at(&request.app, request.now)
    }
}

impl LicenseRow {
    /// Returns the license as of this instant.
    pub fn at(self, app: &App, now: DateTime<Utc>) -> License {
        let expired = self.terms.until().is_some_and(|end| end <= now);
        let status = match self.terms.license_status {
            LicenseStatus::Active if expired => LicenseStatus::Expired,
            status => status,
        };
        let seat_cap = seats(self.seat_cap, self.allow_more_seats, self.subscription_seat_cap);
        let leasing = self.levels.explained(seat_cap.value, seat_cap.from.into());
        let features = overlay([
            (FeatureSource::Plan, &self.plan_features),
            (FeatureSource::Subscription, &self.subscription_features),
            (FeatureSource::Organization, &self.organization_features.unwrap_or_default()),
            (FeatureSource::License, &self.features),
        ]);
        License {
            id: self.id,
            organization_id: self.organization_id,
            deployment_id: self.deployment_id,
            deployment_name: self.deployment_name,
            subscription_id: self.subscription_id,
            name: self.name,
            status,
            status_reason: self.status_reason,
            coverage: self.terms.coverage_at(now),
            seat_cap: self.seat_cap,
            allow_more_seats: self.allow_more_seats,
            features: self.features,
            leasing: self.levels.license_leasing,
            token_ttl_seconds: self.token_ttl.license,
            valid_from: self.terms.valid_from,
            valid_until: self.terms.valid_until,
            grace_days: self.terms.grace_days,
            effective: Effective {
                seat_cap,
                features,
                leasing,
                token_ttl_seconds: self.token_ttl.explained(app),
            },
            key_id: self.key_id,
            bundle_hash: self.bundle_hash,
            metadata: self.metadata,
            tags: self.tags,
            revision: self.revision,
            created_at: self.created_at,
            updated_at: self.updated_at,
        }
    }
}

/// Returns the license's own seats, limited to those of the subscription unless more are allowed.
pub fn seats(own: Option<i64>, allow_more: bool, subscribed: i64) -> Explained<i64> {
    match own {
        Some(value) if value <= subscribed || allow_more => {
            Explained { value, from: FeatureSource::License }
        }
        _ => Explained { value: subscribed, from: FeatureSource::Subscription },
    }
}

/// Overlays levels of features, the weakest first. Each value has the level that it comes from.
pub fn overlay<const N: usize>(
    levels: [(FeatureSource, &Map<String, Value>); N],
) -> BTreeMap<String, Explained<Value>> {
    let mut features = BTreeMap::new();
    for (from, level) in levels {
        for (name, value) in level {
            features.insert(name.clone(), Explained { value: value.clone(), from });
        }
    }
    features
}
