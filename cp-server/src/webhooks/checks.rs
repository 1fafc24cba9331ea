//! The checks of endpoints: their owner, their URL and their organizations.

use super::reach::chosen_by;
use super::rows::{Include, Includes, Organizations};
use super::state::Sending;
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
