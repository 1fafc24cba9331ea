//! Admission: how many requests an organization may make in a time, told in every answer.
//!
//! The kernel does not know what the limit is or where it is kept: a slice does, as [`Admit`].
//! Header fields: draft-ietf-httpapi-ratelimit-headers-10.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::caller::Caller;
use super::error::{Error, Result};
use super::ids::OrganizationId;
use crate::App;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STANDING: HeaderName = HeaderName::from_static("ratelimit");

/// Counts a request, and says where the organization stands; `None` when nothing bounds it.
pub trait Admit: Send + Sync {
    fn admit<'a>(&'a self, app: &'a App, organization: OrganizationId) -> AdmitFuture<'a>;

    /// An operation was committed on this replica: what was remembered may be over.
    fn committed(&self, action: &str);
}

pub type AdmitFuture<'a> = Pin<Box<dyn Future<Output = Result<Option<Standing>>> + Send + 'a>>;

/// Where an organization stands in its window.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    /// What is counted.
    pub metric: &'static str,
    pub limit: i64,
    /// The window's length, in seconds.
    pub window: u32,
    /// `None` when there was no room for this request.
    pub remaining: Option<i64>,
    /// Seconds until the window begins anew.
    pub resets_in: u32,
}

/// What the outermost layer lays out for the standing that authentication finds.
#[derive(Clone, Debug, Default)]
pub struct Desk(Arc<OnceLock<Standing>>);

impl Desk {
    /// Tells the standing in the answer's headers.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let Some(Standing { metric, limit, window, remaining, resets_in }) = self.0.get() else {
            return;
        };
        let remaining = remaining.unwrap_or(0);
        for (name, value) in [
            (POLICY, format!("\"{metric}\";q={limit};w={window}")),
            (STANDING, format!("\"{metric}\";r={remaining};t={resets_in}")),
        ] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        }
    }
}

/// Counts the request of an organization's own caller; platform callers are not counted.
pub(super) async fn admit(app: &App, caller: &Caller, parts: &Parts) -> Result<()> {
    let Some(organization) = caller.scope.organization() else { return Ok(()) };
    if !app.settings.rate_limits {
        return Ok(());
    }
    let Some(standing) = app.admission.admit(app, organization).await? else { return Ok(()) };
    if let Some(desk) = parts.extensions.get::<Desk>() {
        // Set once: a request is counted once.
        let _ = desk.0.set(standing);
    }
    let Standing { metric, limit, remaining, resets_in, .. } = standing;
    if remaining.is_some() {
        return Ok(());
    }
    let detail = format!("request quota exceeded: {limit} of {limit} made; wait {resets_in} s.");
    Err(Error::rate_limited(detail, resets_in)
        .with("metric", metric)
        .with("organization_id", organization.to_string())
        .with("limit", limit)
        .with("used", limit)
        .with("requested", 1))
}
