//! The members of an organization, as provisioning reads them.

use std::collections::BTreeSet;

use super::plan::{OrganizationRole, OrganizationRoles};
use crate::kernel::access::ids::UserId;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;

/// The most members of one run.
const MOST: i64 = 5000;

/// An active member with the role, and the ID of the account that is linked at the provider.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct Member {
    pub user_id: UserId,
    pub email: String,
    pub email_key: String,
    pub role: String,
    pub rank: i64,
    pub subject: Option<String>,
}

/// The account that the organization linked comes before that of the platform.
const MEMBERS: &str = "SELECT m.user_id, u.email, u.email_key, r.code AS role, r.rank,
        (SELECT a.subject FROM auth_accounts a
         WHERE a.user_id = m.user_id AND a.provider = $2
           AND (a.organization_id IS NULL OR a.organization_id = m.organization_id)
         ORDER BY CASE WHEN a.organization_id IS NULL THEN 1 ELSE 0 END, a.id LIMIT 1) AS subject
    FROM memberships m
    JOIN users u ON u.id = m.user_id
    JOIN roles r ON r.id = m.role_id
    WHERE m.organization_id = $1 AND m.scope = 'organization' AND m.status = 'active' AND u.is_active";

/// Returns the active members of at least this rank, by address.
///
/// # Errors
/// 422 at `grants` when there are too many for one run.
pub async fn of_rank(cx: &mut Cx, provider: &str, rank: i64) -> Result<Vec<Member>> {
    let query = cx.tx.q(MEMBERS).bind(cx.at).bind(provider).and(" AND r.rank >= ?", rank);
    let query = query.sql(" ORDER BY u.email_key, m.id").limit(MOST + 1);
    let members: Vec<Member> = query.all().await?;
    if i64::try_from(members.len()).is_ok_and(|count| count > MOST) {
        let detail = format!("`grants` selects more than {MOST} members. List some of them.");
        return Err(Error::invalid("grants", detail));
    }
    Ok(members)
}

/// Returns the active members with these IDs or addresses.
pub async fn named(
    cx: &mut Cx,
    provider: &str,
    ids: &BTreeSet<UserId>,
    addresses: &BTreeSet<String>,
) -> Result<Vec<Member>> {
    let mut found: Vec<Member> = Vec::new();
    if !ids.is_empty() {
        let query = cx.tx.q(MEMBERS).bind(cx.at).bind(provider).sql(" AND m.user_id IN (VALUES ");
        found.extend(query.rows(ids, |query, id| query.bind(*id)).sql(")").all::<Member>().await?);
    }
    if !addresses.is_empty() {
        let query = cx.tx.q(MEMBERS).bind(cx.at).bind(provider).sql(" AND u.email_key IN (VALUES ");
        let query = query.rows(addresses, |query, address| query.bind(address.as_str()));
        found.extend(query.sql(")").all::<Member>().await?);
    }
    Ok(found)
}

/// Returns the roles that members of the organization can have.
pub async fn roles(cx: &mut Cx) -> Result<OrganizationRoles> {
    let sql = "SELECT code, rank, is_system FROM roles
               WHERE scope = 'organization' AND (organization_id IS NULL OR organization_id = $1)
               ORDER BY rank, code";
    let roles: Vec<OrganizationRole> = cx.tx.q(sql).bind(cx.at).all().await?;
    Ok(OrganizationRoles(roles))
}
