//! License keys: the credentials of a license that people type, or that an application ships with.
//!
//! A key is 23 random symbols with a checksum, and is shown once; the server stores its hash. It holds
//! two permissions on its own license only. Its `hint`, the first symbols, names it in lists, logs and
//! audit events.

pub mod authentication;
mod codes;
pub mod rows;
pub mod settings;
mod validation;

use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::ProblemCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::rows::{KeyPools, KeyText, LicenseKey};
use self::validation::validate;
use super::licenses::rows::stored;
use crate::kernel::clock::after;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::{Error, OnConflict, Result};
use crate::kernel::http::answer::{Created, NoContent, Resource};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::{Between, Moment, Patch};
use crate::kernel::http::page::{List, Page};
use crate::kernel::secret::{Secret, ShownOnce};
use crate::kernel::section::Section;
use crate::kernel::text::Name;
use crate::licensing::ids::{LicenseId, LicenseKeyId};

pub static DECLARATION: Declaration = Declaration::of_organization(
    "license_keys",
    "license key",
    Export::Section(Section::many::<LicenseKey>("license_keys")),
);

crate::routes! {
    /// The credentials of licenses that people type.
    license_keys declares DECLARATION:
    /// Lists the license's keys, without the keys themselves.
    GET "/licenses/{id}/keys" LICENSES_FETCH => list, unmetered, throughout;
    /// Creates a key of the license; only this answer contains it.
    POST "/licenses/{id}/keys" LICENSES_WRITE => create, grants;
    /// Returns a key, without the key itself.
    GET "/license-keys/{id}" LICENSES_FETCH => read, unmetered, throughout;
    /// Changes a key's name, end or pools.
    PATCH "/license-keys/{id}" LICENSES_WRITE => update;
    /// Revokes a key permanently.
    DELETE "/license-keys/{id}" LICENSES_WRITE => revoke;
    /// Replaces a key; only this answer contains the new one. The old key is valid for
    /// `overlap_seconds` more.
    POST "/license-keys/{id}/rotate" LICENSES_FETCH => rotate, grants, throughout;
    /// Judges a license key: whether its license is in force, covers a version and has features, and
    /// whether a holder has a seat.
    ///
    /// The answer is always 200 with a `code`: the first reason that holds. With `activate` the
    /// holder claims a seat, and with `token` the answer has tokens. Without both the request writes
    /// nothing. The key is the credential, and no other is required.
    POST "/licenses/validate" PUBLIC => validate, own_transaction, conditional_audit, keyed, harmless, unmetered;
}

/// A new key. Only this answer shows it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct NewlyIssued {
    key: ShownOnce,
    #[serde(flatten)]
    license_key: LicenseKey,
}

impl Resource for NewlyIssued {
    const NOUN: &'static str = "license key";
    const PATH: &'static str = "license-keys";
    fn name(&self) -> String {
        self.license_key.id.to_string()
    }
}

impl Resource for LicenseKey {
    const NOUN: &'static str = NewlyIssued::NOUN;
    const PATH: &'static str = NewlyIssued::PATH;
    fn name(&self) -> String {
        self.id.to_string()
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyFilter {
    /// True returns the keys that are not revoked; false returns revoked ones. Both when absent.
    active: Option<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewLicenseKey {
    /// The display name.
    name: Option<Name>,
    /// The end of the key, in the future. Without an end when absent.
    expires_at: Option<Moment>,
    /// The pools of seats that the key opens, 1 to 16 names; all pools of the license when absent.
    pools: Option<KeyPools>,
    /// A key of another system: 8 to 512 printable characters, which are compared exactly. A new key
    /// when absent.
    key: Option<Secret<String>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LicenseKeyPatch {
    /// The display name. Null removes it.
    #[serde(default)]
    name: Patch<Name>,
    /// The end of the key, in the future. Null removes it.
    #[serde(default)]
    expires_at: Patch<Moment>,
    /// The pools of seats that the key opens. Null for all pools of the license.
    #[serde(default)]
    pools: Patch<KeyPools>,
}

/// The seconds of an overlap: up to 30 days.
type Overlap = Between<0, 2_592_000>;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRotation {
    /// The seconds for which the old key is still valid, from 0 to 2,592,000 (30 days); 0 when absent.
    /// The next rotation ends it at once.
    #[serde(default = "at_once")]
    overlap_seconds: Overlap,
}

fn at_once() -> Overlap {
    Between(0)
}

/// The most keys of a license that are not revoked.
const MOST: i64 = 100;

async fn list(cx: &mut Cx, id: LicenseId, list: List<KeyFilter>) -> Result<Page<LicenseKey>> {
    let query = cx.tx.select("WHERE license_id = $1 AND organization_id = $2").bind(id).bind(cx.at);
    list.page(query.and_some(" AND (revoked_at IS NULL) = ?", list.filter.active)).await
}

pub(crate) async fn create(
    cx: &mut Cx,
    license: LicenseId,
    new: NewLicenseKey,
) -> Result<Created<NewlyIssued>> {
    refuse_giving(cx, license).await?;
    let expires_at = in_future(new.expires_at, cx.now)?;
    hold(cx, license).await?;
    let key = match &new.key {
        Some(text) => KeyText::read(&cx.app, text)?,
        None => KeyText::new(&cx.app),
    };
    let id = LicenseKeyId::new(&cx.app.random, cx.now);
    let sql = "INSERT INTO license_keys
               (id, organization_id, license_id, hash, hint, name, expires_at, pools, created_at,
                updated_at)
               SELECT $1, l.organization_id, l.id, $4, $5, $6, $7, $8, $9, $9
               FROM licenses l
               WHERE l.id = $2 AND l.organization_id = $3
                 AND (SELECT COUNT(*) FROM license_keys k
                      WHERE k.license_id = $2 AND k.revoked_at IS NULL) < $10";
    let insert = cx
        .tx
        .returning(sql)
        .bind(id)
        .bind(license)
        .bind(cx.at)
        .bind(key.hash().to_vec())
        .bind(key.hint())
        .bind(new.name)
        .bind(expires_at)
        .bind(new.pools)
        .bind(cx.now)
        .bind(MOST);
    let made = insert.opt().await.on_conflict("license_keys_hash", || {
        let detail = "`key` is in use: a key is unique on this server.";
        Error::new(ProblemCode::CodeTaken, detail).at("key")
    })?;
    let license_key = made.ok_or_else(|| {
        Error::conflict(format!(
            "The license has {MOST} keys, the most possible. Revoke one first."
        ))
    })?;
    Ok(Created(NewlyIssued { key: key.shown(&cx.app), license_key }))
}

async fn read(cx: &mut Cx, id: LicenseKeyId) -> Result<LicenseKey> {
    load(cx, id).await
}

pub(crate) async fn update(
    cx: &mut Cx,
    id: LicenseKeyId,
    patch: LicenseKeyPatch,
) -> Result<LicenseKey> {
    let before = load(cx, id).await?;
    let expires_at = match patch.expires_at {
        Patch::Set(end) => in_future(Some(end), cx.now)?,
        other => other.map(|end| end.0).over(before.expires_at),
    };
    let sql = "UPDATE license_keys
               SET name = $3, expires_at = $4, pools = $5, updated_at = $6
               WHERE id = $1 AND organization_id = $2 AND revoked_at IS NULL";
    let update = cx
        .tx
        .returning(sql)
        .bind(id)
        .bind(cx.at)
        .bind(patch.name.over(before.name))
        .bind(expires_at)
        .bind(patch.pools.over(before.pools))
        .bind(after(before.updated_at, cx.now));
    update.opt().await?.ok_or_else(revoked)
}

async fn revoke(cx: &mut Cx, id: LicenseKeyId) -> Result<NoContent> {
    let sql = "UPDATE license_keys
               SET revoked_at = COALESCE(revoked_at, $3), updated_at = $3
               WHERE id = $1 AND organization_id = $2";
    cx.tx.q(sql).bind(id).bind(cx.at).bind(cx.now).exec().await?;
    Ok(NoContent)
}

async fn rotate(cx: &mut Cx, id: LicenseKeyId, rotation: KeyRotation) -> Result<NewlyIssued> {
    let before = load(cx, id).await?;
    refuse_giving(cx, before.license_id).await?;
    let key = KeyText::new(&cx.app);
    let sql = "UPDATE license_keys
               SET previous_hash = hash, previous_until = $3, hash = $4, hint = $5, updated_at = $6
               WHERE id = $1 AND organization_id = $2 AND revoked_at IS NULL";
    let update = cx
        .tx
        .returning(sql)
        .bind(id)
        .bind(cx.at)
        .bind(cx.now + TimeDelta::seconds(rotation.overlap_seconds.0))
        .bind(key.hash().to_vec())
        .bind(key.hint())
        .bind(after(before.updated_at, cx.now));
    let license_key = update.opt().await?.ok_or_else(revoked)?;
    Ok(NewlyIssued { key: key.shown(&cx.app), license_key })
}

/// Refuses to create a key that holds more than its creator does: a key holds its permissions itself.
async fn refuse_giving(cx: &mut Cx, license: LicenseId) -> Result<()> {
    let held = authentication::held();
    cx.caller.refuse_giving_on(&mut cx.tx, cx.at, license, &held, "key").await
}

/// Locks the license, so that concurrent creations count each other's keys. A revoked license gets no
/// key.
async fn hold(cx: &mut Cx, license: LicenseId) -> Result<()> {
    let lock = cx.tx.q2(
        "SELECT 1 FROM licenses WHERE id = $1",
        "SELECT 1 FROM licenses WHERE id = $1 FOR NO KEY UPDATE",
    );
    lock.bind(license).exec().await?;
    let row = stored(cx, license).await?;
    super::licenses::refuse_revoked(&row)
}

fn in_future(end: Option<Moment>, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
    match end.map(|end| end.0) {
        Some(end) if end <= now => {
            Err(Error::invalid("expires_at", "`expires_at` must be in the future."))
        }
        end => Ok(end),
    }
}

fn revoked() -> Error {
    Error::conflict("The key is revoked. Revocation is permanent; create a new key.")
}

async fn load(cx: &mut Cx, id: LicenseKeyId) -> Result<LicenseKey> {
    let found = cx.tx.select("WHERE id = $1 AND organization_id = $2").bind(id).bind(cx.at);
    Ok(found.one().await?)
}
