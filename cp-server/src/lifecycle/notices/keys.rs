//! The rotation of the signing key.

use chrono::TimeDelta;
use serde_json::json;
use uuid::Uuid;

use super::rows::{Notice, store};
use crate::kernel::app::{App, Part};
use crate::kernel::error::Result;
use crate::kernel::journal::record::Entry;
use crate::kernel::secret::sha256;
use crate::licensing::keys::store as keys;
use crate::licensing::keys::{KeySettings, KeyState};

/// The days before a rotation at which it is announced.
const DAYS: i64 = 7;

/// Announces the next rotation of the signing key.
pub(super) async fn announce(app: &App) -> Result<()> {
    let (now, kind) = (app.clock.now(), "signing_keys");
    let mut tx = app.db.read();
    let keys = keys::all(&mut tx).await?;
    let active = keys.iter().find(|key| key.state == KeyState::Active);
    let at = KeySettings::of(app).next_rotation(&keys);
    let (Some(active), Some(at)) = (active, at) else { return Ok(()) };
    // A key that began to sign in these days is no news.
    let announced_at = at - TimeDelta::days(DAYS);
    let is_due = announced_at <= now && now < at;
    if !is_due || active.activated_at.is_some_and(|activated| activated > announced_at) {
        return Ok(());
    }
    // Keys have thumbprints, and notices have UUIDs.
    let digest = sha256(active.kid.as_bytes());
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    let subject = Uuid::from_bytes(id);
    let sql = "SELECT 1 FROM notices WHERE subject = $1 AND kind = $2 AND basis = $3";
    let is_known = tx.q(sql).bind(subject).bind(kind).bind(at).value::<i32>().await?.is_some();
    drop(tx);
    if is_known {
        return Ok(());
    }
    let entry = Entry {
        action: "signing_keys.rotation_due",
        organization: None,
        target: ("signing key", active.kid.clone()),
        before: None,
        after: Some(json!({"rotates_at": at, "days": DAYS})),
        reason: None,
        issued: None,
    };
    let notice = Notice { subject, kind, basis: at, threshold: DAYS, next_at: None, entry };
    store(app, vec![notice]).await
}
