//! The rows of notices, each written with its event.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use uuid::Uuid;

use crate::kernel::access::caller::Caller;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::db::record::Object;
use crate::kernel::effect::Effect;
use crate::kernel::error::Result;
use crate::kernel::journal::record::{Entry, append};

/// Ends that are further back are not announced any more.
pub(super) const LOOKBACK: TimeDelta = TimeDelta::days(90);
/// How long notices are kept, so that no end is announced twice.
pub(super) const KEPT: TimeDelta = TimeDelta::days(400);

/// The settings of an organization for its notices.
#[derive(Default, Deserialize)]
pub(super) struct Wishes {
    /// The days before an end.
    pub(super) days: Option<Vec<i64>>,
    /// Types that are not wanted.
    #[serde(default)]
    off: Vec<String>,
}

impl Wishes {
    /// Reads them in the organization's settings.
    pub(super) fn of(settings: Option<&Object>) -> Self {
        let own = settings.and_then(|settings| settings.get("notifications"));
        own.and_then(|own| serde_json::from_value(own.clone()).ok()).unwrap_or_default()
    }
}

/// Returns the longest time before an end that an organization has chosen, in days.
pub(super) async fn longest(tx: &mut Conn) -> Result<i64> {
    let sql = "SELECT settings FROM organizations WHERE settings ->> 'notifications' IS NOT NULL";
    let settings: Vec<(Object,)> = tx.q(sql).all().await?;
    let days = settings.iter().flat_map(|(own,)| Wishes::of(Some(own)).days.unwrap_or_default());
    Ok(days.max().unwrap_or(0))
}

/// Returns whether the organization wants notices of this type.
pub(super) async fn is_wanted(
    tx: &mut Conn,
    organization: Option<OrganizationId>,
    action: &str,
) -> Result<bool> {
    let Some(organization) = organization else { return Ok(true) };
    let sql = "SELECT settings FROM organizations WHERE id = $1";
    let settings: Option<Object> = tx.q(sql).bind(organization).value().await?;
    Ok(!Wishes::of(settings.as_ref()).off.iter().any(|off| off == action))
}

/// A notice that is due, with its event.
pub(super) struct Notice {
    pub(super) subject: Uuid,
    pub(super) kind: &'static str,
    pub(super) basis: DateTime<Utc>,
    pub(super) threshold: i64,
    /// The instant of the next notice of this basis.
    pub(super) next_at: Option<DateTime<Utc>>,
    pub(super) entry: Entry<'static>,
}

/// Stores notices with their events, those left out that another replica has stored.
pub(super) async fn store(app: &App, notices: Vec<Notice>) -> Result<()> {
    if notices.is_empty() {
        return Ok(());
    }
    let mut cx = app.change(Caller::system("notices")).await?;
    let mut entries = Vec::new();
    for Notice { subject, kind, basis, threshold, next_at, entry } in notices {
        let sql = "INSERT INTO notices
                   (id, organization_id, subject, kind, basis, threshold, next_at, created_at)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                   ON CONFLICT (subject, kind, basis, threshold) DO NOTHING";
        let now = cx.now;
        let insert = cx
            .tx
            .q(sql)
            .bind(app.random.uuid(now))
            .bind(entry.organization)
            .bind(subject)
            .bind(kind)
            .bind(basis)
            .bind(i32::try_from(threshold).unwrap_or(i32::MAX))
            .bind(next_at)
            .bind(now);
        if insert.exec().await? > 0
            && is_wanted(&mut cx.tx, entry.organization, entry.action).await?
        {
            entries.push(entry);
        }
    }
    append(&mut cx, entries).await?;
    cx.commit(Effect::Harmless).await
}

/// Deletes notices of ends that are long past.
pub(super) async fn forget(app: &App, now: DateTime<Utc>) -> Result<()> {
    let mut tx = app.db.begin().await?;
    let sql = "DELETE FROM notices WHERE created_at < $1 AND basis < $2";
    tx.q(sql).bind(now - KEPT).bind(now - LOOKBACK).exec().await?;
    tx.commit().await?;
    Ok(())
}
