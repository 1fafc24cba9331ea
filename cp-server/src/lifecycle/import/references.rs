//! References to other objects, by ID or by external ID. The objects may come from earlier lines.

use cp_contracts::ProblemCode;

use super::fields::{Fields, id_of, required};
use crate::kernel::access::caller::Scope;
use crate::kernel::access::ids::{DeploymentId, OrganizationId, UserId};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::text::Email;
use crate::licensing::ids::{LicenseId, PlanId, SubscriptionId};
use crate::licensing::plans;

/// Returns the organization that the line names, or that of the deployment that it names by its ID.
pub async fn organization(cx: &mut Cx<Scope>, fields: &mut Fields) -> Result<OrganizationId> {
    let Some(reference) = fields.take::<String>("organization")? else {
        let deployment = fields.get("deployment").and_then(|value| value.as_str());
        let deployment = deployment.and_then(id_of::<DeploymentId>);
        let Some(deployment) = deployment else { return Err(required("organization")) };
        let sql = "SELECT organization_id FROM deployments WHERE id = $1";
        let found = cx.tx.q(sql).bind(deployment).value().await?;
        return found.ok_or_else(|| missing("deployment"));
    };
    if let Some(id) = id_of::<OrganizationId>(&reference) {
        let sql = "SELECT id FROM organizations WHERE id = $1";
        if let Some(id) = cx.tx.q(sql).bind(id).value().await? {
            return Ok(id);
        }
    }
    let sql = "SELECT id FROM organizations WHERE external_id = $1";
    cx.tx.q(sql).bind(reference).value().await?.ok_or_else(|| missing("organization"))
}

/// Returns the user with this ID, external ID or e-mail address. A reference that is the external ID
/// of one person and the e-mail address of another is refused: a choice could name the wrong one.
pub async fn user<G>(cx: &mut Cx<G>, reference: &str) -> Result<UserId> {
    if let Some(id) = id_of::<UserId>(reference) {
        let sql = "SELECT id FROM users WHERE id = $1";
        if let Some(id) = cx.tx.q(sql).bind(id).value().await? {
            return Ok(id);
        }
    }
    let by_external_id = user_by_external_id(cx, reference).await?;
    let by_email = user_by_key(cx, reference.to_lowercase()).await?;
    match (by_external_id, by_email) {
        (Some(one), Some(other)) if one != other => {
            let detail = "`user` is the external ID of one person and the e-mail address of \
                          another. Name the person by ID.";
            Err(Error::invalid("user", detail))
        }
        (one, other) => one.or(other).ok_or_else(|| missing("user")),
    }
}

/// Returns the user with this e-mail address.
pub async fn user_by_email<G>(cx: &mut Cx<G>, email: &Email) -> Result<Option<UserId>> {
    user_by_key(cx, email.key()).await
}

/// Returns the user with this external ID.
pub async fn user_by_external_id<G>(cx: &mut Cx<G>, external_id: &str) -> Result<Option<UserId>> {
    let sql = "SELECT id FROM users WHERE external_id = $1";
    Ok(cx.tx.q(sql).bind(external_id).value().await?)
}

async fn user_by_key<G>(cx: &mut Cx<G>, email_key: String) -> Result<Option<UserId>> {
    let sql = "SELECT id FROM users WHERE email_key = $1";
    Ok(cx.tx.q(sql).bind(email_key).value().await?)
}

/// Returns the code of the plan with this ID or code.
pub async fn plan<G>(cx: &mut Cx<G>, reference: &str) -> Result<String> {
    if let Some(id) = id_of::<PlanId>(reference) {
        let sql = "SELECT code FROM plans WHERE id = $1";
        if let Some(code) = cx.tx.q(sql).bind(id).value().await? {
            return Ok(code);
        }
    }
    plans::newest(cx, reference).await.map(|plan| plan.code).map_err(|_| missing("plan"))
}

/// Returns the organization's deployment that the line names.
pub async fn deployment(cx: &mut Cx, fields: &mut Fields) -> Result<DeploymentId> {
    let reference: String = fields.take_required("deployment")?;
    if let Some(id) = id_of::<DeploymentId>(&reference) {
        let sql = "SELECT id FROM deployments WHERE id = $1 AND organization_id = $2";
        if let Some(id) = cx.tx.q(sql).bind(id).bind(cx.at).value().await? {
            return Ok(id);
        }
    }
    let sql = "SELECT id FROM deployments WHERE organization_id = $1 AND external_id = $2";
    let found = cx.tx.q(sql).bind(cx.at).bind(reference).value().await?;
    found.ok_or_else(|| missing("deployment"))
}

/// Returns the organization's subscription that the line names, or else the one in force.
pub async fn subscription(cx: &mut Cx, fields: &mut Fields) -> Result<SubscriptionId> {
    let Some(reference) = fields.take::<String>("subscription")? else {
        let sql = "SELECT id FROM subscriptions
                   WHERE organization_id = $1 AND status NOT IN ('canceled', 'expired')";
        let found = cx.tx.q(sql).bind(cx.at).value().await?;
        return found.ok_or_else(|| {
            let detail =
                "`subscription` is required: the organization has no subscription in force.";
            Error::invalid("subscription", detail)
        });
    };
    if let Some(id) = id_of::<SubscriptionId>(&reference) {
        let sql = "SELECT id FROM subscriptions WHERE id = $1 AND organization_id = $2";
        if let Some(id) = cx.tx.q(sql).bind(id).bind(cx.at).value().await? {
            return Ok(id);
        }
    }
    let sql = "SELECT id FROM subscriptions WHERE organization_id = $1 AND external_id = $2";
    let found = cx.tx.q(sql).bind(cx.at).bind(reference).value().await?;
    found.ok_or_else(|| missing("subscription"))
}

/// Returns the license of this deployment and subscription. A revoked one is found only if there is
/// no other: an import does not license again what was revoked.
pub async fn license(
    cx: &mut Cx,
    deployment: DeploymentId,
    subscription: SubscriptionId,
) -> Result<Option<LicenseId>> {
    let sql = "SELECT id FROM licenses
               WHERE organization_id = $1 AND deployment_id = $2 AND subscription_id = $3
               ORDER BY status = 'revoked', created_at DESC, id DESC LIMIT 1";
    let found = cx.tx.q(sql).bind(cx.at).bind(deployment).bind(subscription);
    Ok(found.value().await?)
}

/// Returns the license that the line names by its deployment and subscription.
pub async fn licensed(cx: &mut Cx, fields: &mut Fields) -> Result<LicenseId> {
    let deployment = deployment(cx, fields).await?;
    let subscription = subscription(cx, fields).await?;
    license(cx, deployment, subscription).await?.ok_or_else(|| {
        let detail = "The deployment has no license under this subscription.";
        Error::new(ProblemCode::NotFound, detail).at("deployment")
    })
}

/// Returns the refusal of a reference to an object that does not exist.
fn missing(field: &'static str) -> Error {
    Error::not_found(field).at(field)
}
