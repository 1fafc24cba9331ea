//! The rows of status lists for other slices: the list and the entry of a token, and the lists that
//! a change concerns.

use chrono::{DateTime, TimeDelta, Utc};
use cp_contracts::StatusListRef;

use crate::kernel::app::App;
use crate::kernel::db::values::Value;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::line::BASE;
use crate::licensing::ids::StatusListId;

/// The time for which a token is in its list after its end, because clocks differ.
pub const LEEWAY: TimeDelta = TimeDelta::minutes(10);

/// Returns the address of a list.
pub fn uri(app: &App, id: StatusListId) -> String {
    format!("{}{BASE}/status-lists/{id}", app.settings.base_url)
}

/// Returns the list and the entry that a reference of this server names.
pub fn place(entry: &StatusListRef) -> Option<(StatusListId, i64)> {
    let id = entry.uri.rsplit('/').next()?.parse().ok()?;
    Some((id, i64::try_from(entry.idx).ok()?))
}

/// The object whose bundles have changed.
#[derive(Clone, Copy)]
pub enum Of<T> {
    Bundle(T),
    License(T),
    Organization(T),
    Key(T),
}

impl<T> Of<T> {
    /// Returns the statement that finds the lists with these bundles. The statement reads no other bundle
    /// of the lists.
    pub fn lists(&self) -> &'static str {
        macro_rules! lists {
            ($column:literal) => {
                concat!(
                    "SELECT DISTINCT status_list_id FROM bundles
                     WHERE status_list_id IS NOT NULL AND over_at > $1 AND ",
                    $column,
                    " = $2 ORDER BY status_list_id"
                )
            };
        }
        match self {
            Self::Bundle(_) => lists!("id"),
            Self::License(_) => lists!("license_id"),
            Self::Organization(_) => lists!("organization_id"),
            Self::Key(_) => lists!("key_id"),
        }
    }
}

/// Marks the lists with these bundles for a new signature, in the transaction of the change.
pub async fn touch<G, T>(cx: &mut Cx<G>, of: Of<T>) -> Result<()>
where
    T: for<'q> Value<'q>,
{
    let sql = of.lists();
    let (Of::Bundle(value) | Of::License(value) | Of::Organization(value) | Of::Key(value)) = of;
    let lists: Vec<(StatusListId,)> = cx.tx.q(sql).bind(cx.now - LEEWAY).bind(value).all().await?;
    // One by one and in order, so that two changes never wait for each other.
    for (id,) in lists {
        let sql = "UPDATE status_lists SET version = version + 1 WHERE id = $1";
        cx.tx.q(sql).bind(id).exec().await?;
    }
    Ok(())
}

/// Revokes the entry of a token that is no bundle until the token's end. An entry that is revoked
/// already stays revoked until the later end.
pub async fn revoke_entry<G>(
    cx: &mut Cx<G>,
    (list, idx): (StatusListId, i64),
    over_at: DateTime<Utc>,
) -> Result<()> {
    let sql = "INSERT INTO status_revocations (status_list_id, status_idx, over_at)
               VALUES ($1, $2, $3)
               ON CONFLICT (status_list_id, status_idx) DO UPDATE SET over_at = excluded.over_at
               WHERE status_revocations.over_at < excluded.over_at";
    cx.tx.q(sql).bind(list).bind(idx).bind(over_at).exec().await?;
    cx.tx
        .q("UPDATE status_lists SET version = version + 1 WHERE id = $1")
        .bind(list)
        .exec()
        .await?;
    Ok(())
}

/// Keeps the entries of the organization's bundles revoked when the bundles themselves are purged.
pub async fn revoke_for_ever(cx: &mut Cx) -> Result<()> {
    touch(cx, Of::Organization(cx.at)).await?;
    let sql = "INSERT INTO status_revocations (status_list_id, status_idx, over_at)
               SELECT status_list_id, status_idx, over_at FROM bundles
               WHERE organization_id = $1 AND over_at > $2 AND status_list_id IS NOT NULL";
    cx.tx.q(sql).bind(cx.at).bind(cx.now - LEEWAY).exec().await?;
    Ok(())
}
