//! Leavers: people whose seat in an organization or whose login has ended.
//!
//! # Design
//! The `role_map` of a provider admits logins without a link. A leaver's login is such a login again,
//! because the link ends with the seat. So the seats and logins that ended are recorded here, and no
//! role of a provider counts for them. A new seat or a new link of the same login deletes the record.
//!
//! A login is recorded as a hash. The hash stays when the person's record is deleted, without a
//! reference to the person: an erasure must not admit a leaver again. Rejected: disabled links, which
//! each look-up of a link would have to leave out.

use chrono::{DateTime, Utc};

use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::db::Conn;
use crate::kernel::declaration::{Declaration, Export};
use crate::kernel::error::Result;
use crate::kernel::secret::sha256;

pub static LEAVERS: Declaration = Declaration::of_organization(
    "leavers",
    "leaver",
    Export::LeftOut("a leaver has no seat any more, and a hash describes no person"),
);

/// A login that is linked to no person who is a member.
pub struct Stranger<'a> {
    /// The organization that owns the provider; `None` for one of the platform.
    pub authority: Option<OrganizationId>,
    pub provider: &'a str,
    pub subject: &'a str,
    /// The verified address, in the form that is compared.
    pub email_key: Option<String>,
    /// Whether links of the platform count at the provider.
    pub has_platform_links: bool,
}

fn seat(organization: OrganizationId, user: UserId) -> Vec<u8> {
    sha256(format!("seat\n{organization}\n{user}").as_bytes()).to_vec()
}

fn login(authority: Option<OrganizationId>, provider: &str, subject: &str) -> Vec<u8> {
    let authority = authority.map_or_else(String::new, |organization| organization.to_string());
    sha256(format!("login\n{authority}\n{provider}\n{subject}").as_bytes()).to_vec()
}

/// Records that the person's seat in the organization has ended.
pub async fn end_seat(
    tx: &mut Conn,
    organization: OrganizationId,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<()> {
    let sql = "INSERT INTO leavers (hash, organization_id, user_id, is_login, ended_at)
               VALUES ($1, $2, $3, FALSE, $4) ON CONFLICT DO NOTHING";
    let insert = tx.q(sql).bind(seat(organization, user)).bind(organization).bind(user);
    insert.bind(now).exec().await?;
    Ok(())
}

/// Records that an authority has unlinked the login of the person. A link of the platform also
/// counted at the providers of the person's organizations.
pub async fn end_login(
    tx: &mut Conn,
    authority: Option<OrganizationId>,
    user: UserId,
    (provider, subject): (&str, &str),
    now: DateTime<Utc>,
) -> Result<()> {
    let mut authorities = vec![authority];
    if authority.is_none() {
        let sql = "SELECT organization_id FROM memberships WHERE user_id = $1
                   UNION
                   SELECT organization_id FROM leavers
                   WHERE user_id = $1 AND organization_id IS NOT NULL";
        let organizations: Vec<(OrganizationId,)> = tx.q(sql).bind(user).all().await?;
        authorities.extend(organizations.into_iter().map(|(organization,)| Some(organization)));
    }
    for authority in authorities {
        let sql = "INSERT INTO leavers (hash, organization_id, user_id, is_login, ended_at)
                   VALUES ($1, $2, $3, TRUE, $4) ON CONFLICT DO NOTHING";
        let insert = tx.q(sql).bind(login(authority, provider, subject)).bind(authority);
        insert.bind(user).bind(now).exec().await?;
    }
    Ok(())
}

/// Deletes the records of the person's seats, because the person's record is about to be deleted. The
/// logins stay.
pub async fn forget_seats(tx: &mut Conn, user: UserId) -> Result<()> {
    tx.q("DELETE FROM leavers WHERE user_id = $1 AND NOT is_login").bind(user).exec().await?;
    Ok(())
}

/// Deletes the records of a leaver to whom the organization has given a seat again. The logins of a
/// person who has not left stay unlinked.
pub async fn readmit(tx: &mut Conn, organization: OrganizationId, user: UserId) -> Result<()> {
    let sql = "DELETE FROM leavers WHERE hash = $1";
    if tx.q(sql).bind(seat(organization, user)).exec().await? > 0 {
        let sql = "DELETE FROM leavers WHERE organization_id = $1 AND user_id = $2";
        tx.q(sql).bind(organization).bind(user).exec().await?;
    }
    Ok(())
}

/// Deletes the records of a login that an authority links again.
pub async fn relink(
    tx: &mut Conn,
    authority: Option<OrganizationId>,
    user: UserId,
    (provider, subject): (&str, &str),
) -> Result<()> {
    let mut authorities = vec![authority];
    if authority.is_none() {
        let sql = "SELECT DISTINCT organization_id FROM leavers
                   WHERE user_id = $1 AND is_login AND organization_id IS NOT NULL";
        let organizations: Vec<(OrganizationId,)> = tx.q(sql).bind(user).all().await?;
        authorities.extend(organizations.into_iter().map(|(organization,)| Some(organization)));
    }
    for authority in authorities {
        let hash = login(authority, provider, subject);
        tx.q("DELETE FROM leavers WHERE hash = $1").bind(hash).exec().await?;
    }
    Ok(())
}

/// Returns whether roles of a provider count for the person in the organization. They do not for a
/// person whose seat there is suspended, or has ended.
pub async fn admits(tx: &mut Conn, organization: OrganizationId, user: UserId) -> Result<bool> {
    let sql = "SELECT NOT EXISTS (SELECT 1 FROM memberships
                                  WHERE organization_id = $1 AND user_id = $2
                                    AND scope = 'organization' AND status = 'suspended')
                  AND (EXISTS (SELECT 1 FROM memberships
                               WHERE organization_id = $1 AND user_id = $2
                                 AND status <> 'suspended')
                       OR NOT EXISTS (SELECT 1 FROM leavers
                                      WHERE organization_id = $1 AND user_id = $2))";
    Ok(tx.q(sql).bind(organization).bind(user).value().await?.unwrap_or(false))
}

/// Returns whether roles of a provider count for a login that no member of the organization has. They
/// do not for a login that has ended. Nor do they for a person whose seat has ended or is suspended,
/// or who is inactive: known by a link that counts at the provider, or by the verified address.
///
/// A person whom only the platform knows is unknown to an organization's provider. So the provider
/// cannot find out whether the person exists.
pub async fn admits_stranger(
    tx: &mut Conn,
    organization: OrganizationId,
    known: &Stranger<'_>,
) -> Result<bool> {
    let sql = "SELECT NOT EXISTS (SELECT 1 FROM leavers WHERE hash = $1)
               AND NOT EXISTS (
                   SELECT 1 FROM users u
                   LEFT JOIN memberships m ON m.organization_id = $3 AND m.user_id = u.id
                                          AND m.scope = 'organization'
                   WHERE u.id IN (SELECT id FROM users WHERE email_key = $4
                                  UNION
                                  SELECT user_id FROM auth_accounts
                                  WHERE NOT $2 AND provider = $5 AND subject = $6
                                    AND (organization_id = $3 OR organization_id IS NULL AND $7))
                     AND (m.status = 'suspended'
                          OR m.id IS NULL
                             AND EXISTS (SELECT 1 FROM leavers l
                                         WHERE l.organization_id = $3 AND l.user_id = u.id)
                          OR NOT u.is_active
                             AND ($2 OR m.id IS NOT NULL
                                  OR EXISTS (SELECT 1 FROM auth_accounts a
                                             WHERE a.user_id = u.id AND a.organization_id = $3))))";
    let query = tx.q(sql).bind(login(known.authority, known.provider, known.subject));
    let query = query.bind(known.authority.is_none()).bind(organization);
    let query = query.bind(known.email_key.as_deref()).bind(known.provider).bind(known.subject);
    Ok(query.bind(known.has_platform_links).value().await?.unwrap_or(false))
}
