//! Long polls: a data plane with a credential learns of a revocation when its list changes.
//!
//! # Design
//! The request names the list that it has (`If-None-Match`) and the seconds it waits (`Prefer: wait`, RFC
//! 7240, section 4.3). The answer says `Preference-Applied` if the server waited, so a data plane knows
//! whether to ask again at once. Only a data plane waits: anyone may read lists, and strangers must not
//! hold sockets.

use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, VARY};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use tokio::time::{Instant, timeout};

use super::StatusLists;
use crate::kernel::access::authentication;
use crate::kernel::access::caller::Scope;
use crate::kernel::app::{App, Part};
use crate::kernel::error::Result;
use crate::kernel::http::waiting::{Slot, Waiting};
use crate::licensing::ids::StatusListId;

/// The longest wait, in seconds.
const LONGEST: u64 = 25;
/// The time after which a waiting request looks at the list again.
const GLANCE: Duration = Duration::from_millis(250);

/// Waits until the list differs from the one that the request names. `None` when the request does not
/// wait.
pub(super) async fn changed(
    app: &App,
    parts: &Parts,
    id: StatusListId,
) -> Result<Option<Response>> {
    let headers = &parts.headers;
    let Some(seconds) = wanted(headers) else { return Ok(None) };
    let lists = StatusLists::of(app);
    if !lists.find(app, id).await?.document.is_known(headers) {
        return Ok(None);
    }
    let Some(_slot) = place(app, parts).await else { return Ok(None) };
    let mut changes = lists.changes.subscribe();
    let end = Instant::now() + Duration::from_secs(seconds);
    let found = loop {
        let found = lists.find(app, id).await?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || !found.document.is_known(headers) || app.is_stopping() {
            break found;
        }
        // Another replica may have signed the list.
        let _ = timeout(left.min(GLANCE), changes.changed()).await;
    };
    let applied = HeaderValue::try_from(format!("wait={seconds}"));
    let mut response = found.document.render(headers);
    // A cache would answer the next request at once.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert(VARY, HeaderValue::from_static("prefer"));
    if let Ok(applied) = applied {
        response.headers_mut().insert("preference-applied", applied);
    }
    Ok(Some(response.into_response()))
}

/// Returns the seconds in `Prefer: wait=25`, at most the longest wait.
fn wanted(headers: &HeaderMap) -> Option<u64> {
    let sent = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let mut preferences = sent.flat_map(|value| value.split(',')).filter_map(|one| {
        let (name, value) = one.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
    });
    let seconds: u64 = preferences.next()?.parse().ok()?;
    (seconds > 0).then_some(seconds.min(LONGEST))
}

/// Takes a place for the token or key of a deployment. Other callers, and bad credentials, do not wait.
async fn place(app: &App, parts: &Parts) -> Option<Slot> {
    if !parts.headers.contains_key(AUTHORIZATION) {
        return None;
    }
    let caller = authentication::again(app, parts).await.ok()?;
    let Scope::Deployment { .. } = caller.scope else { return None };
    Waiting::of(app).place(caller.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_is_read_from_a_list_of_preferences() {
        let seconds = |sent: &[&str]| {
            let values = sent.iter().map(|value| {
                let value = HeaderValue::from_str(value).unwrap();
                (axum::http::HeaderName::from_static("prefer"), value)
            });
            wanted(&values.collect())
        };
        assert_eq!(seconds(&["wait=25"]), Some(25));
        assert_eq!(seconds(&["respond-async, Wait = \"3\"; foo"]), Some(3));
        assert_eq!(seconds(&["respond-async", "wait=100"]), Some(25));
        for none in [&["wait=0"][..], &["wait"], &["wait=-1"], &["wait=x"], &["waiting=3"], &[]] {
            assert_eq!(seconds(none), None);
        }
    }
}
