//! License keys as they are stored: hashes, with a hint that names the key.

use std::borrow::Cow;
use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use cp_contracts::{LicenseKey as Symbols, LicenseKeyError};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};
use sqlx::types::Json;

use super::settings::LicenseKeySettings;
use crate::kernel::access::caller::CallerKind;
use crate::kernel::access::ids::{DeploymentId, OrganizationId};
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::secret::{Secret, ShownOnce, sha256};
use crate::kernel::text::Name;
use crate::licensing::ids::{LicenseId, LicenseKeyId};
use crate::licensing::leases::settings::PoolName;

crate::record! {
    /// A license key, without the key itself.
    LicenseKey in license_keys {
        id: LicenseKeyId,
        organization_id: OrganizationId,
        license_id: LicenseId,
        /// The first symbols of the key, which name it in lists and logs.
        hint: String,
        name: Option<Name>,
        /// The end of the key; null without one.
        expires_at: Option<DateTime<Utc>>,
        /// The pools of seats that the key opens; null for all pools of the license.
        pools: Option<KeyPools>,
        revoked_at: Option<DateTime<Utc>>,
        /// The instant until which the key before the last rotation is valid; null without one.
        previous_until: Option<DateTime<Utc>>,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

/// The names of the pools that a key opens: a sorted set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, sqlx::Type)]
#[serde(transparent)]
#[sqlx(transparent)]
pub struct KeyPools(Json<BTreeSet<PoolName>>);

/// The maximum number of pools of a license.
const POOLS: usize = 16;

impl KeyPools {
    /// Returns whether the key opens the pool.
    pub fn contains(&self, pool: &str) -> bool {
        self.0.iter().any(|one| one.as_str() == pool)
    }
}

impl<'de> Deserialize<'de> for KeyPools {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pools = BTreeSet::deserialize(deserializer)?;
        match pools.len() {
            1..=POOLS => Ok(Self(Json(pools))),
            n => {
                Err(de::Error::custom(format!("must have 1 to {POOLS} different pools (got {n})")))
            }
        }
    }
}

impl JsonSchema for KeyPools {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "KeyPools".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let pool = generator.subschema_for::<PoolName>();
        json_schema!({"type": "array", "items": pool, "minItems": 1, "maxItems": POOLS})
    }
}

/// The characters of a key of another system.
const FOREIGN: std::ops::RangeInclusive<usize> = 8..=512;
/// The characters of a hint.
const HINT: usize = 5;

/// The text of a key: one of this product, or one of another system.
pub enum KeyText {
    Own(Symbols),
    /// Printable characters, which are compared exactly.
    Foreign(Secret<String>),
}

impl KeyText {
    /// Creates a key.
    pub fn new(app: &App) -> Self {
        Self::Own(Symbols::from_random(app.random.bytes()))
    }

    /// Reads a key. A text with the length of an own key and a wrong checksum is a mistake, not a
    /// key of another system.
    pub fn read(app: &App, text: &Secret<String>) -> Result<Self> {
        let prefix = LicenseKeySettings::of(app).prefix.as_deref();
        match Symbols::parse(text.expose(), prefix) {
            Ok(symbols) => Ok(Self::Own(symbols)),
            Err(LicenseKeyError::Checksum) => {
                let detail = "`key` has a wrong symbol: its checksum does not match.";
                Err(Error::invalid("key", detail))
            }
            Err(_) => Self::foreign(text.expose().trim()),
        }
    }

    fn foreign(text: &str) -> Result<Self> {
        let is_printable = |c: char| !c.is_control() && !crate::kernel::text::is_hidden(c);
        if FOREIGN.contains(&text.chars().count()) && text.chars().all(is_printable) {
            return Ok(Self::Foreign(Secret::new(text.to_owned())));
        }
        let detail = "`key` must be a license key: 25 digits and letters in 5 groups, or 8 to 512 \
                      printable characters of another system.";
        Err(Error::invalid("key", detail))
    }

    /// Whether the text has the form of an own key, five groups of five, but contains a U, which no
    /// own key has. A key of another system may have this form, too, so the look-up comes first.
    pub fn is_mistyped(&self, app: &App) -> bool {
        let Self::Foreign(text) = self else { return false };
        let prefix = LicenseKeySettings::of(app).prefix.as_deref();
        let groups = text.expose().split(|c: char| c == '-' || c.is_whitespace());
        let mut groups: Vec<&str> = groups.filter(|group| !group.is_empty()).collect();
        if groups.first().is_some_and(|first| prefix.is_some_and(|p| first.eq_ignore_ascii_case(p)))
        {
            groups.remove(0);
        }
        let is_group =
            |group: &&str| group.len() == HINT && group.chars().all(|c| c.is_ascii_alphanumeric());
        groups.len() == 5
            && groups.iter().all(is_group)
            && groups.iter().any(|group| group.contains(['u', 'U']))
    }

    fn text(&self) -> &str {
        match self {
            Self::Own(symbols) => symbols.symbols(),
            Self::Foreign(text) => text.expose(),
        }
    }

    /// Returns the hash that is stored.
    pub fn hash(&self) -> [u8; 32] {
        sha256(Secret::new(format!("license-key:v1:{}", self.text())).expose().as_bytes())
    }

    /// Returns the first symbols, which name the key. A short key of another system shows less of
    /// itself.
    pub fn hint(&self) -> String {
        match self {
            Self::Own(symbols) => symbols.hint().to_owned(),
            Self::Foreign(text) => {
                let most = HINT.min(text.expose().chars().count() / 4);
                text.expose().chars().take(most).collect()
            }
        }
    }

    /// Returns the key as its receiver sees it once.
    pub fn shown(&self, app: &App) -> ShownOnce {
        let prefix = LicenseKeySettings::of(app).prefix.as_deref();
        ShownOnce::new(match (self, prefix) {
            (Self::Own(symbols), Some(prefix)) => format!("{prefix}-{}", symbols.display()),
            (Self::Own(symbols), None) => symbols.display().to_string(),
            (Self::Foreign(text), _) => text.expose().clone(),
        })
    }
}

/// A key as a request finds it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct FoundKey {
    pub id: LicenseKeyId,
    pub organization_id: OrganizationId,
    pub license_id: LicenseId,
    pub deployment_id: DeploymentId,
    pub hint: String,
    pub pools: Option<KeyPools>,
    pub revoked_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    previous_until: Option<DateTime<Utc>>,
    is_current: bool,
}

impl FoundKey {
    /// Returns the end of the key: its own, or that of the overlap after a rotation.
    pub fn ends_at(&self) -> Option<DateTime<Utc>> {
        let overlap = self.previous_until.filter(|_| !self.is_current);
        [self.expires_at, overlap].into_iter().flatten().min()
    }

    /// Whether the key was not replaced by a rotation.
    pub fn is_current(&self) -> bool {
        self.is_current
    }

    pub fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.ends_at().is_some_and(|end| end <= now)
    }
}

/// Finds a key by its hash. The key before a rotation is found after its overlap, too.
pub async fn find(tx: &mut Conn, hash: &[u8]) -> Result<Option<FoundKey>> {
    let sql = "SELECT k.id, k.organization_id, k.license_id, l.deployment_id, k.hint, k.pools,
                      k.revoked_at, k.expires_at, k.previous_until, k.hash = $1 AS is_current
               FROM license_keys k JOIN licenses l ON l.id = k.license_id
               WHERE k.hash = $1 OR k.previous_hash = $1
               ORDER BY is_current DESC LIMIT 1";
    Ok(tx.q(sql).bind(hash).opt().await?)
}

/// Returns whether the caller's license key opens the pool. Other callers are not narrowed to pools.
pub async fn opens_pool(cx: &mut Cx, pool: &str) -> Result<bool> {
    if cx.caller.kind != CallerKind::LicenseKey {
        return Ok(true);
    }
    let key: Option<LicenseKey> =
        cx.tx.select("WHERE license_keys.id = $1").bind(cx.caller.id).opt().await?;
    Ok(key.and_then(|key| key.pools).is_none_or(|pools| pools.contains(pool)))
}

/// Refuses a pool that the caller's license key does not open, like a missing one.
pub async fn refuse_pool(cx: &mut Cx, pool: &str) -> Result<()> {
    if opens_pool(cx, pool).await? {
        return Ok(());
    }
    Err(Error::not_found(&format!("pool {pool}")).at("pool").with("pool", pool))
}
