//! The checks of endpoints: their owner, their URL and their organizations.

use cp_contracts::ProblemCode;
use url::Url;

use super::inputs::WebhookPatch;
use super::reach::chosen_by;
use super::rows::{Include, Includes, Organizations, Webhook};
use super::state::Sending;
use crate::kernel::access::caller::Permission;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::Part;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::text::HttpUrl;

/// Locks the owner, so that concurrent creations count each other's webhooks.
pub(super) async fn hold<G>(cx: &mut Cx<G>, owner: Option<OrganizationId>) -> Result<()> {
    let lock = match owner {
        Some(owner) => cx
            .tx
            .q2(
                "SELECT 1 FROM organizations WHERE id = $1",
                "SELECT 1 FROM organizations WHERE id = $1 FOR NO KEY UPDATE",
            )
            .bind(owner),
        None => cx.tx.q2(
            "SELECT 1 FROM webhook_feed WHERE id = 1",
            "SELECT 1 FROM webhook_feed WHERE id = 1 FOR NO KEY UPDATE",
        ),
    };
    lock.exec().await?;
    Ok(())
}

/// Refuses a caller that may not read the audit events that the webhook receives.
pub(super) fn refuse_unread<G>(cx: &Cx<G>, owner: Option<OrganizationId>) -> Result<()> {
    let Some(owner) = owner else { return cx.caller.on_platform(Permission::AUDIT_READ) };
    if cx.caller.may_throughout(owner, Permission::AUDIT_READ) {
        return Ok(());
    }
    let detail = "A webhook receives audit events, so its destination and its events require the \
                  permission audit:read.";
    let code = Permission::AUDIT_READ.as_str();
    Err(Error::new(ProblemCode::Forbidden, detail).with("permission", code))
}

/// Refuses another origin for headers that are stored: their values are write-only, and a caller could
/// read them at an address of its own.
pub(super) fn refuse_old_headers(
    before: &Webhook,
    url: &HttpUrl,
    patch: &WebhookPatch,
) -> Result<()> {
    let origin = |text: &str| Url::parse(text).map(|url| url.origin()).ok();
    let is_same = before.url.as_deref().and_then(origin) == origin(url.as_str());
    if is_same || before.headers.is_empty() || patch.headers.is_some() {
        return Ok(());
    }
    let detail = "`headers` is required when the origin of `url` changes: the stored values are not \
                  sent to another address. Send the headers again, or `{}` to remove them.";
    Err(Error::invalid("headers", detail))
}

pub(super) fn check_url<G>(cx: &Cx<G>, owner: Option<OrganizationId>, url: &HttpUrl) -> Result<()> {
    let checked = Sending::of(&cx.app).poster.check(url.as_str(), chosen_by(owner));
    checked.map_err(|reason| {
        let detail = format!("`url` must be an https URL of a public address ({reason}).");
        Error::invalid("url", detail)
    })
}

pub(super) fn narrowing(ids: Option<Vec<OrganizationId>>) -> Result<Option<Organizations>> {
    match ids {
        Some(ids) if ids.is_empty() => {
            let detail =
                "`organizations` must have at least one organization. Leave it out for all.";
            Err(Error::invalid("organizations", detail))
        }
        Some(ids) => Organizations::bounded("organizations", ids).map(Some),
        None => Ok(None),
    }
}

pub(super) fn included(mut include: Vec<Include>) -> Result<Includes> {
    include.sort();
    include.dedup();
    Includes::bounded("include", include)
}
