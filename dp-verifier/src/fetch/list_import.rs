//! The fetching of one status list, and its import.

use std::sync::Weak;

use super::keys::Refresher;
use super::source::{Answer, Source};
use crate::ErrorCode::KidUnknown;
use crate::status_list::{Slot, StatusLists};

/// Fetches one list and imports it.
pub(super) fn fetch(
    source: &mut Source,
    slot: &Slot,
    lists: &Weak<StatusLists>,
    keys: &Refresher,
) -> Result<(), String> {
    let Answer::Body { body, etag } = source.fetch()? else { return Ok(()) };
    let refused = |why: &str| format!("{}: {why}", slot.uri);
    let text = std::str::from_utf8(&body).map_err(|_| refused("is not UTF-8"))?;
    let Some(lists) = lists.upgrade() else { return Ok(()) };
    lists.take_fetched(text, slot).map_err(|error| {
        if error.code() == KidUnknown {
            keys.report_unknown(error.detail());
        }
        refused(&error.to_string())
    })?;
    source.remember(body, etag);
    Ok(())
}
