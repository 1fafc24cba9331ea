//! Events as the log stores them.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use cp_contracts::{Event, EventActor, EventTarget};
use futures_util::TryStreamExt;
use serde_json::Map;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::types::{RECORDED, Types};
use crate::kernel::access::caller::CallerKind;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::db::Conn;
use crate::kernel::db::query::Rows;
use crate::kernel::error::Result;
use crate::kernel::journal::canonical::Text;
use crate::kernel::journal::leaf::Source;
use crate::kernel::journal::store;

/// The events that a reader may read.
#[derive(Clone, Copy, Debug)]
pub enum Reach {
    /// Those of the platform and of all organizations.
    All,
    Organization(OrganizationId),
}

impl Reach {
    /// Returns the organization, if the reader reads only its events.
    pub fn organization(self) -> Option<OrganizationId> {
        match self {
            Self::All => None,
            Self::Organization(id) => Some(id),
        }
    }

    pub fn contains(self, event: &Event) -> bool {
        match self {
            Self::All => true,
            Self::Organization(id) => event.organization_id == Some(id.0),
        }
    }
}

/// Members of a state that change with every change.
const STAMPS: [&str; 2] = ["updated_at", "$whole"];

const COLUMNS: &str = "id, seq, source, action, at, organization_id, actor_kind, actor_id, actor_name, \
     target_type, target_id, before, after, reason, erased_at";

#[derive(sqlx::FromRow)]
struct EventRow {
    id: Uuid,
    seq: i64,
    source: Source,
    action: String,
    at: DateTime<Utc>,
    organization_id: Option<Uuid>,
    actor_kind: CallerKind,
    actor_id: Uuid,
    actor_name: String,
    target_type: String,
    target_id: String,
    before: Text,
    after: Text,
    reason: Option<String>,
    erased_at: Option<DateTime<Utc>>,
}

/// Returns the position of the last event; -1 when there is none.
pub async fn head(tx: &mut Conn) -> Result<i64> {
    Ok(store::size(tx).await? - 1)
}

/// Returns the first events after a position, up to another one.
pub async fn between(
    tx: &mut Conn,
    reach: Reach,
    types: &Types,
    (after, until): (i64, i64),
    limit: i64,
) -> Result<Vec<Event>> {
    let rows: Rows<'_, EventRow> = tx.select_from(COLUMNS, "audit_events WHERE seq > $1");
    let rows = rows.bind(after).and(" AND seq <= ?", until);
    let rows = match reach {
        Reach::All => rows,
        Reach::Organization(id) => rows.and(" AND organization_id = ?", id),
    };
    let rows = types.narrow(rows).sql(" ORDER BY seq").limit(limit).stream().await?;
    // The states are large, and each is dropped with its row.
    Ok(rows.map_ok(|row| row.into_event().0).try_collect().await?)
}

/// Returns events by their IDs, each with the state after the change.
pub async fn of_ids(tx: &mut Conn, ids: &[Uuid]) -> Result<Vec<(Event, Text)>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows: Rows<'_, EventRow> = tx.select_from(COLUMNS, "audit_events WHERE id IN (VALUES ");
    let rows = rows.rows(ids, |query, id| query.bind(*id)).sql(") AND seq IS NOT NULL");
    let rows: Vec<EventRow> = rows.all().await?;
    Ok(rows.into_iter().map(EventRow::into_event).collect())
}

impl EventRow {
    fn into_event(self) -> (Event, Text) {
        let kind = match self.source {
            Source::Server => self.action,
            // The caller chose the name: it must not pass for an event of the server.
            Source::Caller => RECORDED.to_owned(),
        };
        let event = Event {
            id: self.id,
            seq: self.seq,
            kind,
            at: self.at,
            organization_id: self.organization_id,
            actor: EventActor {
                kind: self.actor_kind.to_string(),
                id: self.actor_id,
                name: self.actor_name,
                extra: Map::new(),
            },
            target: EventTarget {
                kind: self.target_type,
                id: Some(self.target_id).filter(|id| !id.is_empty()),
                extra: Map::new(),
            },
            changed: changed(self.before.as_str(), self.after.as_str()),
            reason: self.reason,
            erased: self.erased_at.is_some(),
            after: None,
            truncated: false,
            extra: Map::new(),
        };
        (event, self.after)
    }
}

/// The members of a state, with their values as they are written.
type Members<'a> = BTreeMap<Cow<'a, str>, &'a RawValue>;

/// Returns the names of the members that differ. Both databases write equal values alike, so the
/// values need no parsing.
fn changed(before: &str, after: &str) -> Vec<String> {
    let members = |text| serde_json::from_str::<Members<'_>>(text).ok();
    let (Some(before), Some(after)) = (members(before), members(after)) else { return Vec::new() };
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let differs =
        |name: &str| before.get(name).map(|v| v.get()) != after.get(name).map(|v| v.get());
    let names = names.into_iter().filter(|name| !STAMPS.contains(&&***name) && differs(name));
    names.map(|name| name.clone().into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_names_the_members_that_differ() {
        let before = r#"{"a": 1, "b": {"x": [1]}, "gone": null, "updated_at": 1, "é\n": 1}"#;
        let after = r#"{"a": 1, "b": {"x": [2]}, "new": null, "updated_at": 2, "é\n": 2}"#;
        assert_eq!(changed(before, after), ["b", "gone", "new", "é\n"]);
        for (before, after) in [("null", "{}"), ("{}", "null"), ("[1]", "[2]"), ("{}", "{}")] {
            assert_eq!(changed(before, after), Vec::<String>::new());
        }
    }
}
