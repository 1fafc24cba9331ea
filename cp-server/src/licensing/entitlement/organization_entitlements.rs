//! Entitlements of an organization: what the vendor grants it beyond its plan and subscription.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::types::Json;
use uuid::Uuid;

use super::models::{ModelPolicies, ModelPolicy};
use super::{Explained, FeatureSource, overlay};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::place::Org;
use crate::kernel::clock::after;
use crate::kernel::db::record::{Object, Record};
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::refusal::{self, Refusal};
use crate::kernel::section::Section;
use crate::kernel::text::Label;
use crate::licensing::coverage::SubscriptionTerms;
use crate::licensing::ids::SubscriptionId;
use crate::licensing::statuses::SubscriptionStatus;
use crate::tenancy::organizations::{self, OrganizationStatus};

crate::permissions! {
    /// Change the entitlements of an organization.
    ENTITLEMENTS_WRITE = "entitlements:write";
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "entitlements",
    "entitlement",
    Export::Section(Section::many::<OwnEntitlements>("entitlements")),
)
.permissions(PERMISSIONS);

crate::routes! {
    /// An organization's own features and model policies.
    entitlements declares DECLARATION:
    /// Returns the features and models of the organization, and their effective values.
    GET "/organizations/{org}/entitlements" SUBSCRIPTIONS_READ => read;
    /// Changes the features and models of the organization.
    ///
    /// `features` replaces all features. They replace those of the plan and the subscription; a
    /// license's own replace them. `models` sets the policies of the named products; null removes
    /// one.
    PATCH "/organizations/{org}/entitlements" ENTITLEMENTS_WRITE => update, harmless;
}

/// The organization's own entitlements, as they are stored.
#[derive(Clone, Debug, Serialize, JsonSchema, sqlx::FromRow)]
pub struct OwnEntitlements {
    organization_id: OrganizationId,
    features: Object,
    #[schemars(with = "ModelPolicies")]
    models: Json<ModelPolicies>,
    updated_at: DateTime<Utc>,
}

impl Record for OwnEntitlements {
    const TABLE: &'static str = "entitlements";
    const COLUMNS: &'static str = "entitlements.organization_id, entitlements.features,
        entitlements.models, entitlements.updated_at";
    const KEY: &'static str = "entitlements.organization_id";
    fn key(&self) -> Uuid {
        self.organization_id.0
    }
}

/// The entitlements of an organization.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Entitlements {
    organization_id: OrganizationId,
    /// Feature values that replace those of the plan and the subscription.
    features: Object,
    /// The models that each product may use; `''` applies to all products.
    models: ModelPolicies,
    /// Null until the vendor sets them first.
    updated_at: Option<DateTime<Utc>>,
    effective: EffectiveEntitlements,
}

/// The features of the organization, each with its source, and whether they count now.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EffectiveEntitlements {
    active: bool,
    /// The reason why they do not count.
    inactive_reason: Option<Inactive>,
    /// The live subscription.
    subscription_id: Option<SubscriptionId>,
    plan_code: Option<String>,
    features: BTreeMap<String, Explained<Value>>,
}

crate::text_enum! {
    /// The reason why an organization's entitlements do not count.
    Inactive {
        OrganizationSuspended = "organization_suspended",
        /// No subscription entitles now.
        SubscriptionInactive = "subscription_inactive",
        /// The membership of the person is suspended.
        MemberSuspended = "member_suspended",
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntitlementsPatch {
    /// All feature values of the organization, by code. At most 200, and 4,096 bytes of JSON.
    features: Option<Map<String, Value>>,
    /// The model policies to set, by product; null removes one.
    models: Option<BTreeMap<Label, Option<ModelPolicy>>>,
}

/// The levels of an organization's entitlements, read in one statement.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct EntitlementFacts {
    pub organization_status: OrganizationStatus,
    pub subscription_id: Option<SubscriptionId>,
    pub subscription_status: Option<SubscriptionStatus>,
    pub subscription_starts_at: Option<DateTime<Utc>>,
    pub subscription_ends_at: Option<DateTime<Utc>>,
    pub subscription_trial_ends_at: Option<DateTime<Utc>>,
    pub plan_code: Option<String>,
    pub plan_features: Option<Object>,
    pub subscription_features: Option<Object>,
    pub organization_features: Option<Object>,
    pub organization_models: Option<Json<ModelPolicies>>,
}

/// The columns of [`EntitlementFacts`] for the organization `o`; with `from`, the tables that have them.
#[macro_export]
macro_rules! entitlement_columns {
    () => {
        "o.status AS organization_status, s.id AS subscription_id,
         s.status AS subscription_status, s.starts_at AS subscription_starts_at,
         s.ends_at AS subscription_ends_at, s.trial_ends_at AS subscription_trial_ends_at,
         p.code AS plan_code, v.default_features AS plan_features,
         s.feature_overrides AS subscription_features, e.features AS organization_features,
         e.models AS organization_models"
    };
    (from) => {
        "organizations o
         LEFT JOIN subscriptions s
                ON s.organization_id = o.id AND s.status NOT IN ('canceled', 'expired')
         LEFT JOIN plans p ON p.id = s.plan_id
         LEFT JOIN plan_versions v ON v.plan_id = s.plan_id AND v.version = s.plan_version
         LEFT JOIN entitlements e ON e.organization_id = o.id"
    };
}

impl EntitlementFacts {
    /// Returns the reason why the entitlements do not count at this instant.
    pub fn inactive_at(&self, now: DateTime<Utc>) -> Option<Inactive> {
        if self.organization_status == OrganizationStatus::Suspended {
            return Some(Inactive::OrganizationSuspended);
        }
        let terms = self.subscription_status.zip(self.subscription_starts_at);
        let entitles = terms.is_some_and(|(status, starts_at)| {
            let (ends_at, trial_ends_at) =
                (self.subscription_ends_at, self.subscription_trial_ends_at);
            SubscriptionTerms { status, starts_at, ends_at, trial_ends_at }.entitles_at(now)
        });
        (!entitles).then_some(Inactive::SubscriptionInactive)
    }

    /// Returns the features of plan, subscription and organization, each with its source.
    pub fn features(&self) -> BTreeMap<String, Explained<Value>> {
        let none = Map::new();
        let level = |level: &Option<Object>| level.as_deref().cloned().unwrap_or(none.clone());
        overlay([
            (FeatureSource::Plan, &level(&self.plan_features)),
            (FeatureSource::Subscription, &level(&self.subscription_features)),
            (FeatureSource::Organization, &level(&self.organization_features)),
        ])
    }
}

async fn read(cx: &mut Cx, _: Org) -> Result<Entitlements> {
    shown(cx).await
}

async fn update(cx: &mut Cx, _: Org, patch: EntitlementsPatch) -> Result<Entitlements> {
    if patch.features.is_none() && patch.models.is_none() {
        return Err(Error::invalid("features", "`features` or `models` is required."));
    }
    organizations::touch(cx, cx.at).await?;
    let before = stored(cx).await?;
    let features = match patch.features {
        Some(features) => {
            check_features(&features)?;
            Object::bounded("features", features)?
        }
        None => before.as_ref().map(|before| before.features.clone()).unwrap_or_default(),
    };
    let mut models = before.as_ref().map(|before| before.models.0.clone()).unwrap_or_default();
    for (product, policy) in patch.models.unwrap_or_default() {
        let product = product.into_string();
        match policy {
            Some(policy) => {
                check_policy(&product, &policy)?;
                models.insert(product, policy);
            }
            None => drop(models.remove(&product)),
        }
    }
    let size = serde_json::to_vec(&models).map_err(Error::internal)?.len();
    if size > crate::kernel::db::record::JSON_LIMIT {
        let most = crate::kernel::db::record::JSON_LIMIT;
        let detail = format!("`models` must be at most {most} bytes of JSON (got {size}).");
        return Err(Error::invalid("models", detail));
    }
    let sql = "INSERT INTO entitlements (organization_id, features, models, updated_at)
               VALUES ($1, $2, $3, $4)
               ON CONFLICT (organization_id) DO UPDATE
               SET features = excluded.features, models = excluded.models,
                   updated_at = excluded.updated_at";
    let at = before.map_or(cx.now, |before| after(before.updated_at, cx.now));
    let upsert = cx.tx.q(sql).bind(cx.at).bind(features).bind(Json(models)).bind(at);
    upsert.exec().await?;
    shown(cx).await
}

async fn stored(cx: &mut Cx) -> Result<Option<OwnEntitlements>> {
    Ok(cx.tx.select("WHERE organization_id = $1").bind(cx.at).opt().await?)
}

async fn shown(cx: &mut Cx) -> Result<Entitlements> {
    #[derive(sqlx::FromRow)]
    struct Row {
        #[sqlx(flatten)]
        facts: EntitlementFacts,
        updated_at: Option<DateTime<Utc>>,
    }
    let sql = concat!(
        "SELECT ",
        entitlement_columns!(),
        ", e.updated_at FROM ",
        entitlement_columns!(from),
        " WHERE o.id = $1"
    );
    let Row { facts, updated_at } = cx.tx.q(sql).bind(cx.at).one().await?;
    let inactive_reason = facts.inactive_at(cx.now);
    let effective = EffectiveEntitlements {
        active: inactive_reason.is_none(),
        inactive_reason,
        subscription_id: facts.subscription_id,
        plan_code: facts.plan_code.clone(),
        features: facts.features(),
    };
    Ok(Entitlements {
        organization_id: cx.at,
        features: facts.organization_features.unwrap_or_default(),
        models: facts.organization_models.map(|models| models.0).unwrap_or_default(),
        updated_at,
        effective,
    })
}

/// The most features of an organization.
const FEATURES: usize = 200;
/// The largest features of an organization together, in bytes of JSON.
const BYTES: usize = 4096;

fn check_features(features: &Map<String, Value>) -> Result<()> {
    let refused = |path: &str, rule: &str| Err(refusal::error(vec![Refusal::new(path, rule)]));
    if features.len() > FEATURES {
        let rule = format!("must have at most {FEATURES} features (got {})", features.len());
        return refused("features", &rule);
    }
    for (code, value) in features {
        let path = format!("features.{code}");
        if !is_code(code) {
            let rule = "must have a code of 1 to 128 letters, digits and _ . : -";
            return refused(&path, rule);
        }
        if value.is_null() {
            return refused(&path, "must not be null");
        }
    }
    let size = serde_json::to_vec(features).map_err(Error::internal)?.len();
    if size > BYTES {
        let rule = format!("must be at most {BYTES} bytes of JSON (got {size})");
        return refused("features", &rule);
    }
    Ok(())
}

fn check_policy(product: &str, policy: &ModelPolicy) -> Result<()> {
    for (member, list) in [("allow", &policy.allow), ("deny", &policy.deny)] {
        let mut seen = HashSet::new();
        if let Some(n) = list.iter().position(|name| !seen.insert(name)) {
            let path = format!("models.{product}.{member}[{n}]");
            let refusal = Refusal::new(&path, "must not repeat a name");
            return Err(refusal::error(vec![refusal]));
        }
    }
    Ok(())
}

/// Returns whether the string is the code of a feature.
pub fn is_code(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b))
}
