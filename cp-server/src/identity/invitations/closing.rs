//! The open invitations to people who have a seat, or who left.
//!
//! An open invitation would give its role to a leaver who logs in again. So a seat that a person has in
//! another way revokes the invitation of the organization to the person, and so does the end of a seat.

use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;

/// Revokes the open invitations of the organization to the person.
pub(in crate::identity) async fn revoke<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    user: UserId,
) -> Result<()> {
    let sql = "SELECT email_key FROM users WHERE id = $1";
    let key: Option<String> = cx.tx.q(sql).bind(user).value().await?;
    match key {
        Some(key) => revoke_to(cx, organization, &key).await,
        None => Ok(()),
    }
}

/// Revokes the open invitations of the organization to an address in lower case. An expired one can no
/// longer be sent again.
pub(in crate::identity) async fn revoke_to<G>(
    cx: &mut Cx<G>,
    organization: OrganizationId,
    email_key: &str,
) -> Result<()> {
    let sql = "UPDATE invitations
               SET status = CASE WHEN expires_at > $3 THEN 'revoked' ELSE 'expired' END,
                   updated_at = $3
               WHERE organization_id = $1 AND email_key = $2 AND status = 'pending'";
    cx.tx.q(sql).bind(organization).bind(email_key).bind(cx.now).exec().await?;
    Ok(())
}
