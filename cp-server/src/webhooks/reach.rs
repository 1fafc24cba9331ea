//! Reach: the endpoints that a caller reaches, and the addresses that an endpoint may have.

use cp_contracts::ProblemCode;

use super::rows::{Webhook, WebhookId};
use crate::kernel::access::caller::Scope;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Resource;
use crate::kernel::http::cx::Cx;
use crate::kernel::outbound::ChosenBy;

/// Returns a webhook that the caller may reach: one of the organization, or of the platform.
pub(super) async fn load(cx: &mut Cx<Scope>, id: WebhookId) -> Result<Webhook> {
    let query = cx.tx.select("WHERE id = $1").bind(id);
    let query = query.and_some(" AND organization_id = ?", cx.at.organization());
    let found: Option<Webhook> = query.opt().await?;
    let found = found.ok_or_else(|| Error::not_found(Webhook::NOUN))?;
    cx.audit.organization = found.organization_id;
    Ok(found)
}

/// The operator chose the endpoints of the platform, which may be private.
pub(super) fn chosen_by(owner: Option<OrganizationId>) -> ChosenBy {
    if owner.is_some() { ChosenBy::Organization } else { ChosenBy::Operator }
}

/// The refusal of an action on a disabled webhook.
pub(super) fn disabled() -> Error {
    let detail = "The webhook is disabled: it receives no events. Enable it first.";
    Error::new(ProblemCode::WebhookDisabled, detail)
}
