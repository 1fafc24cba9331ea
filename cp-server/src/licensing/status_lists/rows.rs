//! The rows of status lists, as other slices use them: which list and entry a token has, and which
//! lists a change concerns.

use chrono::TimeDelta;
use cp_contracts::StatusListRef;

use crate::kernel::app::App;
use crate::kernel::db::values::Value;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::line::BASE;
use crate::licensing::ids::StatusListId;

/// A token is looked at for a little longer than it is valid: clocks differ.
pub const LEEWAY: TimeDelta = TimeDelta::minutes(10);

/// The address of a list.
pub fn uri(app: &App, id: StatusListId) -> String {
    format!("{}{BASE}/status-lists/{id}", app.settings.base_url)
}

/// The list and the entry that a reference of ours names.
pub fn place(entry: &StatusListRef) -> Option<(StatusListId, i64)> {
    let id = entry.uri.rsplit('/').next()?.parse().ok()?;
    Some((id, i64::try_from(entry.idx).ok()?))
}

/// Whose bundles have changed.
#[derive(Clone, Copy)]
pub enum Of<T> {
    Bundle(T),
    License(T),
    Organization(T),
    Key(T),
}

/// Says that the lists with these bundles are to be signed anew; in the transaction of the change.
pub async fn touch<G, T>(cx: &mut Cx<G>, of: Of<T>) -> Result<()>
where
    T: for<'q> Value<'q>,
{
    let (column, value) = match of {
        Of::Bundle(id) => (" AND id = ?", id),
        Of::License(id) => (" AND license_id = ?", id),
        Of::Organization(id) => (" AND organization_id = ?", id),
        Of::Key(kid) => (" AND key_id = ?", kid),
    };
    let sql = "SELECT DISTINCT status_list_id FROM bundles
               WHERE status_list_id IS NOT NULL AND over_at > $1";
    let query = cx.tx.q(sql).bind(cx.now - LEEWAY).and(column, value);
    let lists: Vec<(StatusListId,)> = query.sql(" ORDER BY status_list_id").all().await?;
    // One by one and in order, so that two changes never wait for each other.
    for (id,) in lists {
        let sql = "UPDATE status_lists SET version = version + 1 WHERE id = $1";
        cx.tx.q(sql).bind(id).exec().await?;
    }
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
