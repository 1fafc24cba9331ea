//! The levels of limits.

use serde_json::json;
use uuid::Uuid;

use super::levels::{self, Change, Known};
use crate::kernel::app::App;
use crate::kernel::error::Result;
use crate::kernel::journal::record::Entry;
use crate::metering::ids::LimitId;
use crate::metering::limits::levels::{LimitLevel, page};

const KIND: &str = "limits";
/// The most limits that are read at once.
const PAGE: i64 = 200;
/// The percentage at which a limit is reached, whatever its others are.
const WHOLE: i64 = 100;

/// Announces the limits that have reached a percentage of theirs.
pub(super) async fn announce(app: &App) -> Result<()> {
    let mut after = LimitId(Uuid::nil());
    loop {
        let mut tx = app.db.read();
        let (limits, last) = page(&mut tx, after, PAGE, app.clock.now()).await?;
        let ids: Vec<Uuid> = limits.iter().map(|one| one.limit.0).collect();
        let mut known = levels::known(&mut tx, KIND, &ids).await?;
        drop(tx);
        let changes = limits.into_iter().map(|one| {
            let known = known.remove(&one.limit.0);
            change(one, known)
        });
        levels::store(app, changes.collect()).await?;
        let Some(last) = last else { return Ok(()) };
        after = last;
    }
}

fn change(one: LimitLevel, known: Option<Known>) -> Change {
    let mut percentages = one.percentages.clone();
    percentages.push(WHOLE);
    let before = Known::level(known.as_ref(), &one.basis);
    let level = levels::next(before, &percentages, |percent| one.compared_to(percent));
    let action = if level == WHOLE { "limits.reach" } else { "limits.near" };
    let after = json!({"percent": level, "used": one.used, "quantity": one.most});
    Change {
        subject: one.limit.0,
        kind: KIND,
        basis: one.basis,
        level,
        known,
        entry: Entry {
            action,
            organization: Some(one.organization),
            target: ("limit", one.limit.to_string()),
            before: None,
            after: Some(after),
            reason: None,
            issued: None,
        },
    }
}
