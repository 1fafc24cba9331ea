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
use axum::response::Response;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::kernel::access::authentication;
use crate::kernel::access::caller::Scope;
use crate::kernel::app::{App, Part};
use crate::kernel::http::answer::Document;
use crate::kernel::http::waiting::{Slot, Waiting};

/// The longest wait, in seconds.
const LONGEST: u64 = 25;
/// The time after which a waiting request looks at the list again.
const GLANCE: Duration = Duration::from_millis(250);

/// A request that waits.
pub(super) struct Wait {
    seconds: u64,
    end: Instant,
    _slot: Slot,
}

impl Wait {
    /// Begins to wait for another list than this one. `None` when the request does not wait.
    pub(super) async fn begin(app: &App, parts: &Parts, list: &Document) -> Option<Self> {
        let seconds = wanted(&parts.headers)?;
        if !list.is_known(&parts.headers) {
            return None;
        }
        let slot = place(app, parts).await?;
        Some(Self { seconds, end: Instant::now() + Duration::from_secs(seconds), _slot: slot })
    }

    /// Waits for a change, or for the next look at the list: another replica may have signed it. Returns
    /// whether there is time left.
    pub(super) async fn glance(&self, changes: &mut watch::Receiver<()>) -> bool {
        let left = self.end.saturating_duration_since(Instant::now());
        let _ = timeout(left.min(GLANCE), changes.changed()).await;
        !left.is_zero()
    }

    /// Completes the answer. A cache must not answer the next request at once.
    pub(super) fn answer(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(VARY, HeaderValue::from_static("prefer"));
        if let Ok(applied) = HeaderValue::try_from(format!("wait={}", self.seconds)) {
            headers.insert("preference-applied", applied);
        }
        response
    }
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
    let Scope::Deployment { organization_id, .. } = caller.scope else { return None };
    Waiting::of(app).place(&caller, Some(organization_id))
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
