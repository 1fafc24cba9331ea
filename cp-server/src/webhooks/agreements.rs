//! Agreements: which strangers an owner's endpoints may send mail to.
//!
//! # Design
//! An agreement belongs to the owner and the address: it counts for all endpoints of the owner. It stays
//! for a day after the last endpoint lost the address. So a link that was sent still works, and an address
//! that was removed by mistake need not agree again. The rows of an owner change under the owner's lock.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::days::{self, Day, Quota};
use super::rows::Webhook;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::db::query::Query;
use crate::kernel::db::record::Texts;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::text::Email;

/// The type of a confirmation, of which an address gets one a day from an owner.
pub(super) const KIND: &str = "webhooks.confirm";
/// The most confirmations of an organization on one day.
const A_DAY: i64 = 20;
/// The time for which an agreement stays after the last endpoint lost the address.
const STAYS: TimeDelta = TimeDelta::hours(24);

/// What is known of an address.
#[derive(sqlx::FromRow)]
struct Known {
    id: Uuid,
    address: String,
    agreed_at: Option<DateTime<Utc>>,
    unwanted_at: Option<DateTime<Utc>>,
}

/// Asks the addresses that need an agreement, and returns them. The caller holds the owner.
///
/// # Errors
/// Fails with 429 `rate_limited` when the organization has asked too many addresses on this day.
pub(super) async fn ask<G>(
    cx: &mut Cx<G>,
    owner: Option<OrganizationId>,
    addresses: &[Email],
) -> Result<Vec<String>> {
    let members = members(&mut cx.tx, owner, addresses).await?;
    let known = known(&mut cx.tx, owner).await?;
    let about = format!("organization/{}", owner.map_or_else(String::new, |one| one.to_string()));
    let day = Day { owner, kind: KIND, about: &about, at: cx.now };
    let (mut asked, mut refused) = (Vec::new(), 0);
    for address in addresses {
        let key = address.key();
        if members.contains(&key) {
            continue;
        }
        let mut before = known.iter().find(|one| one.address == key);
        if let Some(one) = before
            && one.unwanted_at.is_some_and(|at| at + STAYS <= cx.now)
        {
            let sql = "DELETE FROM webhook_agreements WHERE id = $1";
            cx.tx.q(sql).bind(one.id).exec().await?;
            before = None;
        }
        if before.is_some_and(|one| one.agreed_at.is_some()) {
            continue;
        }
        asked.push(address.to_string());
        let id = before.map_or_else(|| cx.app.random.uuid(cx.now), |one| one.id);
        let quota = day.take_of(&mut cx.tx, address, id, A_DAY).await?;
        let (sql, next) = match (quota, before) {
            (Quota::Exhausted, _) => {
                refused += 1;
                continue;
            }
            // The link of this day was sent, or is being sent.
            (Quota::Taken, Some(_)) => continue,
            // The letter of this day was that of a request that is gone.
            (Quota::Taken, None) => (INSERT, day.next()),
            (Quota::Free, None) => (INSERT, cx.now),
            (Quota::Free, Some(_)) => (UPDATE, cx.now),
        };
        let query = cx.tx.q(sql).bind(id).bind(next);
        let query = match before {
            Some(_) => query,
            None => query.bind(owner).bind(key).bind(cx.now),
        };
        query.exec().await?;
    }
    if refused > 0 { Err(exhausted(&day, refused)) } else { Ok(asked) }
}

const INSERT: &str = "INSERT INTO webhook_agreements
     (id, next_at, organization_id, address, created_at, attempts) VALUES ($1, $2, $3, $4, $5, 0)";
const UPDATE: &str = "UPDATE webhook_agreements SET next_at = $2, attempts = 0 WHERE id = $1";

/// The refusal of a request that asks too many addresses.
fn exhausted(day: &Day<'_>, refused: usize) -> Error {
    let detail = format!(
        "An organization asks at most {A_DAY} addresses a day for their agreement, and `emails` has {refused} \
         more. Retry after midnight UTC, or leave out addresses that belong to no member."
    );
    let wait = (day.next() - day.at).num_seconds() + 1;
    let wait = u32::try_from(wait).unwrap_or(1);
    Error::rate_limited("webhook_confirmations", detail, wait).at("emails").with("limit", A_DAY)
}

/// Notes which addresses of the owner's agreements have an endpoint. The caller holds the owner.
pub(super) async fn refresh(
    tx: &mut Conn,
    owner: Option<OrganizationId>,
    now: DateTime<Utc>,
) -> Result<()> {
    let sql = "SELECT emails FROM webhooks WHERE emails IS NOT NULL AND ";
    let endpoints: Vec<(Texts,)> = of_owner(tx.q(sql), owner).all().await?;
    let wanted: HashSet<String> = endpoints
        .iter()
        .flat_map(|(emails,)| emails.iter())
        .map(|one| one.to_lowercase())
        .collect();
    for one in known(tx, owner).await? {
        let is_wanted = wanted.contains(&one.address);
        if is_wanted == one.unwanted_at.is_none() {
            continue;
        }
        let sql = "UPDATE webhook_agreements SET unwanted_at = $2 WHERE id = $1";
        tx.q(sql).bind(one.id).bind((!is_wanted).then_some(now)).exec().await?;
    }
    Ok(())
}

/// Appends the condition of the owner's rows.
fn of_owner(query: Query<'_>, owner: Option<OrganizationId>) -> Query<'_> {
    match owner {
        Some(owner) => query.and("organization_id = ?", owner),
        None => query.sql("organization_id IS NULL"),
    }
}

async fn known(tx: &mut Conn, owner: Option<OrganizationId>) -> Result<Vec<Known>> {
    let sql = "SELECT id, address, agreed_at, unwanted_at FROM webhook_agreements WHERE ";
    Ok(of_owner(tx.q(sql), owner).all().await?)
}

/// Returns which of the addresses belong to active members of the organization that have an account. For
/// the platform these are its superadmins.
///
/// An organization adds any address as a member. The account of an identity provider shows that the
/// address has a person.
async fn members(
    tx: &mut Conn,
    owner: Option<OrganizationId>,
    addresses: &[Email],
) -> Result<Vec<String>> {
    let query = match owner {
        Some(owner) => {
            let sql = "SELECT u.email_key FROM users u JOIN memberships m ON m.user_id = u.id
                       WHERE m.organization_id = $1 AND m.scope = 'organization'
                         AND m.status = 'active' AND u.is_active
                         AND EXISTS (SELECT 1 FROM auth_accounts a WHERE a.user_id = u.id)
                         AND u.email_key IN ";
            tx.q(sql).bind(owner)
        }
        None => tx.q(
            "SELECT u.email_key FROM users u WHERE u.is_superadmin AND u.is_active AND u.email_key IN ",
        ),
    };
    let query = query.rows([addresses], |query, addresses| {
        addresses.iter().fold(query, |query, address| query.bind(address.key()))
    });
    let rows: Vec<(String,)> = query.all().await?;
    Ok(rows.into_iter().map(|(key,)| key).collect())
}

/// Returns the addresses of an endpoint that get mail now: those of members, and those that agreed.
pub(super) async fn permitted(tx: &mut Conn, webhook: &Webhook) -> Result<Vec<Email>> {
    let all = webhook.emails.iter().flat_map(|all| all.iter());
    let all: Vec<Email> = all.filter_map(|address| address.parse().ok()).collect();
    if all.is_empty() {
        return Ok(all);
    }
    let members = members(tx, webhook.organization_id, &all).await?;
    let known = known(tx, webhook.organization_id).await?;
    let is_permitted = |address: &Email| {
        let key = address.key();
        let has_agreed = |one: &Known| one.address == key && one.agreed_at.is_some();
        members.contains(&key) || known.iter().any(has_agreed)
    };
    Ok(all.into_iter().filter(is_permitted).collect())
}

/// Notes in the owner's endpoints that an address, in lower case, has agreed. Returns those that have it.
pub(super) async fn note_agreed(
    tx: &mut Conn,
    owner: Option<OrganizationId>,
    address: &str,
) -> Result<Vec<Webhook>> {
    let all = match owner {
        Some(owner) => tx.select("WHERE emails IS NOT NULL AND organization_id = $1").bind(owner),
        None => tx.select("WHERE emails IS NOT NULL AND organization_id IS NULL"),
    };
    let all: Vec<Webhook> = all.sql(" ORDER BY id").locked().all().await?;
    let has = |list: &Option<Texts>| {
        list.iter().flat_map(|all| all.iter()).any(|one| one.to_lowercase() == address)
    };
    let with: Vec<Webhook> = all.into_iter().filter(|webhook| has(&webhook.emails)).collect();
    for webhook in with.iter().filter(|webhook| has(&webhook.unconfirmed)) {
        let before = webhook.unconfirmed.iter().flat_map(|all| all.iter());
        let waiting = before.filter(|one| one.to_lowercase() != address).cloned().collect();
        let sql = "UPDATE webhooks SET unconfirmed = $2 WHERE id = $1";
        let update = tx.q(sql).bind(webhook.id);
        update.bind(Texts::bounded("emails", waiting)?).exec().await?;
    }
    Ok(with)
}

/// Deletes what is known of an address, in lower case.
pub(super) async fn erase(tx: &mut Conn, key: &str) -> Result<()> {
    tx.q("DELETE FROM webhook_agreements WHERE address = $1").bind(key).exec().await?;
    days::erase(tx, key).await
}

/// Deletes links that have ended, and agreements of addresses that no endpoint has had for a day.
pub(super) async fn forget(app: &App) -> Result<()> {
    let now = app.clock.now();
    let mut tx = app.db.begin().await?;
    tx.q("DELETE FROM webhook_links WHERE expires_at <= $1").bind(now).exec().await?;
    let sql = "DELETE FROM webhook_agreements WHERE unwanted_at <= $1";
    tx.q(sql).bind(now - STAYS).exec().await?;
    tx.commit().await?;
    Ok(())
}
