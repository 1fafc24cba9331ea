//! Confirmations: the links by which a stranger agrees to receive mail.
//!
//! # Design
//! An address that belongs to no member of the organization gets one mail with a link, which is good for 24
//! hours and once. The link leads to a page with a button, because mail scanners open links. The server
//! keeps the hash of the link's token only: a retry sends another token.

use std::fmt::Write;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::days::Day;
use super::rows::{Webhook, WebhookId};
use super::schedule;
use super::state::Sending;
use crate::kernel::access::caller::Caller;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::db::record::Texts;
use crate::kernel::declaration::{Declaration, Export, Happening};
use crate::kernel::effect::Effect;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Resource;
use crate::kernel::http::cx::Cx;
use crate::kernel::http::line::BASE;
use crate::kernel::http::raw::Raw;
use crate::kernel::outbound::mailing::Letter;
use crate::kernel::secret::sha256;
use crate::kernel::text::Email;

pub static ADDRESSES: Declaration = Declaration::of_organization(
    "webhook_addresses",
    "webhook address",
    Export::LeftOut("the webhooks are exported with their addresses"),
)
.events(&[Happening {
    action: "webhooks.confirm",
    doc: "The owner of an e-mail address agreed to receive notices.",
}]);

pub static MAILS: Declaration = Declaration::of_organization(
    "webhook_mails",
    "mail of a day",
    Export::LeftOut("the rows count the mail of one day and contain no address"),
);

crate::routes! {
    /// The agreement of strangers to receive mail.
    webhook_confirmations declares ADDRESSES, MAILS:
    /// Returns the page of a confirmation link, with a button. It changes nothing: mail scanners open links.
    GET "/webhook-confirmations" PUBLIC => show, raw, strict
        returns "text/html";
    /// Confirms an e-mail address by the `token` of the link. A link is good for 24 hours and once.
    POST "/webhook-confirmations" PUBLIC => confirm, raw, strict
        returns "text/html";
}

/// The life of a link.
const LIFE: TimeDelta = TimeDelta::hours(24);
/// The time after which another replica may send a claimed confirmation.
const CLAIMED: TimeDelta = TimeDelta::seconds(60);
/// The most confirmations of one look.
const BATCH: i64 = 20;
/// The type of a confirmation, of which an address gets one a day from an organization.
const KIND: &str = "webhooks.confirm";
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'";

/// Asks the addresses of an endpoint that need a confirmation, and returns them. Addresses that it no
/// longer has are forgotten.
pub(super) async fn ask<G>(
    cx: &mut Cx<G>,
    id: WebhookId,
    owner: Option<OrganizationId>,
    addresses: &[Email],
) -> Result<Vec<String>> {
    let members = members(&mut cx.tx, owner, addresses).await?;
    let known = known(&mut cx.tx, id).await?;
    for one in &known {
        if !addresses.iter().any(|address| address.key() == one.address) {
            let sql = "DELETE FROM webhook_addresses WHERE webhook_id = $1 AND address = $2";
            cx.tx.q(sql).bind(id).bind(&*one.address).exec().await?;
        }
    }
    let mut asked = Vec::new();
    for address in addresses {
        let key = address.key();
        let before = known.iter().find(|one| one.address == key);
        if members.contains(&key) || before.is_some_and(|one| one.confirmed_at.is_some()) {
            continue;
        }
        let sql = "INSERT INTO webhook_addresses
                   (id, organization_id, webhook_id, address, next_at, attempts, created_at)
                   VALUES ($1, $2, $3, $4, $5, 0, $5)
                   ON CONFLICT (webhook_id, address) DO UPDATE
                   SET next_at = excluded.next_at, attempts = 0
                   WHERE webhook_addresses.expires_at <= excluded.created_at
                      OR webhook_addresses.expires_at IS NULL";
        let row = cx.app.random.uuid(cx.now);
        let ask = cx.tx.q(sql).bind(row).bind(owner).bind(id).bind(&*key);
        ask.bind(cx.now).exec().await?;
        asked.push(address.to_string());
    }
    Ok(asked)
}

/// What is known of an address.
#[derive(sqlx::FromRow)]
struct Known {
    address: String,
    confirmed_at: Option<DateTime<Utc>>,
}

async fn known(tx: &mut Conn, id: WebhookId) -> Result<Vec<Known>> {
    let sql = "SELECT address, confirmed_at FROM webhook_addresses WHERE webhook_id = $1";
    Ok(tx.q(sql).bind(id).all().await?)
}

/// Returns which of the addresses belong to active members of the organization. For the platform these are
/// its superadmins.
async fn members(
    tx: &mut Conn,
    owner: Option<OrganizationId>,
    addresses: &[Email],
) -> Result<Vec<String>> {
    let query = match owner {
        Some(owner) => {
            let sql = "SELECT u.email_key FROM users u JOIN memberships m ON m.user_id = u.id
                       WHERE m.organization_id = $1 AND m.scope = 'organization'
                         AND m.status = 'active' AND u.is_active AND u.email_key IN ";
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
    let known = known(tx, webhook.id).await?;
    let is_permitted = |address: &Email| {
        let key = address.key();
        let has_agreed = |one: &Known| one.address == key && one.confirmed_at.is_some();
        members.contains(&key) || known.iter().any(has_agreed)
    };
    Ok(all.into_iter().filter(is_permitted).collect())
}

/// A confirmation that is due.
#[derive(sqlx::FromRow)]
struct Due {
    id: Uuid,
    organization_id: Option<OrganizationId>,
    address: String,
    next_at: DateTime<Utc>,
    attempts: i32,
    organization: Option<String>,
}

/// Sends the confirmations that are due. Every replica may call it. Returns whether there was one.
pub(super) async fn send_due(app: &App) -> Result<bool> {
    let now = app.clock.now();
    let Some(relay) = Sending::of(app).relay.clone() else { return Ok(false) };
    let sql =
        "SELECT a.id, a.organization_id, a.address, a.next_at, a.attempts, o.name AS organization
               FROM webhook_addresses a LEFT JOIN organizations o ON o.id = a.organization_id
               WHERE a.next_at <= $1 ORDER BY a.next_at LIMIT $2";
    let due: Vec<Due> = app.db.read().q(sql).bind(now).bind(BATCH).all().await?;
    let is_any = !due.is_empty();
    for one in due {
        let token = URL_SAFE_NO_PAD.encode(app.random.bytes::<32>());
        if !claim(app, &one, &token, now).await? {
            continue;
        }
        let Ok(to) = one.address.parse::<Email>() else { continue };
        let owner = one.organization_id.map_or_else(String::new, |owner| owner.to_string());
        let about = format!("organization/{owner}");
        let day = Day { owner: one.organization_id, kind: KIND, about: &about, at: now };
        let next = match day.take(app, &to, one.id).await? {
            // Another endpoint of the organization has asked this address today.
            false => None,
            true => {
                let letter = letter(app, &one, to.clone(), &token, now);
                let receipts = relay.send(std::slice::from_ref(&letter)).await;
                match receipts.first().and_then(|receipt| receipt.error) {
                    None => {
                        day.keep(app, &to, one.id).await?;
                        None
                    }
                    Some(error) => {
                        tracing::warn!(%error, "a confirmation was not sent");
                        schedule::next_attempt(&app.random, now, one.attempts + 1, None)
                    }
                }
            }
        };
        let mut tx = app.db.begin().await?;
        let sql = "UPDATE webhook_addresses SET next_at = $2 WHERE id = $1 AND next_at = $3";
        tx.q(sql).bind(one.id).bind(next).bind(now + CLAIMED).exec().await?;
        tx.commit().await?;
    }
    Ok(is_any)
}

/// Takes a confirmation, with a new token. Returns whether this replica has it.
async fn claim(app: &App, one: &Due, token: &str, now: DateTime<Utc>) -> Result<bool> {
    let mut tx = app.db.begin().await?;
    let sql = "UPDATE webhook_addresses
               SET next_at = $3, attempts = attempts + 1, token_hash = $4, expires_at = $5
               WHERE id = $1 AND next_at = $2 AND confirmed_at IS NULL";
    let claim = tx.q(sql).bind(one.id).bind(one.next_at).bind(now + CLAIMED);
    let claimed = claim.bind(sha256(token.as_bytes()).to_vec()).bind(now + LIFE).exec().await?;
    tx.commit().await?;
    Ok(claimed > 0)
}

fn letter(app: &App, one: &Due, to: Email, token: &str, now: DateTime<Utc>) -> Letter {
    let base = &app.settings.base_url;
    let name: String = one
        .organization
        .as_deref()
        .unwrap_or("the platform")
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    let text = format!(
        "The license authority at {base} is asked to send notices of {name} to this address.\n\n\
         To agree, open this page within 24 hours and press the button:\n\n\
         {base}{BASE}/webhook-confirmations?token={token}\n\n\
         To refuse, do nothing.\n"
    );
    let id = format!("{}.{}", one.id, one.attempts);
    Letter { to, id, at: now, subject: "Confirm your e-mail address".to_owned(), text }
}

#[derive(Deserialize)]
struct Link {
    token: String,
}

async fn show(raw: Raw) -> Result<Response> {
    let link = link(&raw)?;
    let found = find(&mut raw.app.db.read(), &link.token, raw.app.clock.now()).await?;
    let text = match found {
        None => GONE.to_owned(),
        Some(_) => {
            let mut text = String::from("<p>Do you agree to receive notices at this address?</p>");
            let action = format!("{}{BASE}/webhook-confirmations", raw.app.settings.base_path());
            // The token is base64, as its hash was found.
            let _ = write!(
                text,
                "<form method=post action=\"{action}?token={}\"><button>Agree</button></form>",
                link.token
            );
            text
        }
    };
    Ok(page(&text))
}

const GONE: &str = "<p>This link was used, or is older than 24 hours.</p>";

async fn confirm(raw: Raw) -> Result<Response> {
    let link = link(&raw)?;
    let mut cx = raw.app.change(Caller::system("e-mail confirmation")).await?;
    let now = cx.now;
    let Some(found) = find(&mut cx.tx, &link.token, now).await? else {
        return Ok(page(GONE));
    };
    // Changes of an endpoint's addresses happen under its lock.
    let lock = cx.tx.q2(
        "SELECT 1 FROM webhooks WHERE id = $1",
        "SELECT 1 FROM webhooks WHERE id = $1 FOR UPDATE",
    );
    lock.bind(found.webhook_id).exec().await?;
    let sql = "UPDATE webhook_addresses SET confirmed_at = $2, token_hash = NULL, next_at = NULL
               WHERE id = $1 AND token_hash = $3 AND confirmed_at IS NULL";
    let update = cx.tx.q(sql).bind(found.id).bind(now);
    if update.bind(sha256(link.token.as_bytes()).to_vec()).exec().await? == 0 {
        return Ok(page(GONE));
    }
    let webhook: Webhook = cx.tx.select("WHERE id = $1").bind(found.webhook_id).one().await?;
    let waiting = webhook.unconfirmed.iter().flat_map(|all| all.iter());
    let waiting: Vec<String> =
        waiting.filter(|address| address.to_lowercase() != found.address).cloned().collect();
    let sql = "UPDATE webhooks SET unconfirmed = $2 WHERE id = $1";
    let update = cx.tx.q(sql).bind(found.webhook_id);
    update.bind(Texts::bounded("emails", waiting)?).exec().await?;
    let target = (Webhook::NOUN, found.webhook_id.to_string());
    cx.finish(KIND, webhook.organization_id, target, Effect::Harmless).await?;
    Ok(page("<p>Thank you. This address receives notices from now on.</p>"))
}

/// An address with a link that is good.
#[derive(sqlx::FromRow)]
struct Found {
    id: Uuid,
    webhook_id: WebhookId,
    address: String,
}

async fn find(tx: &mut Conn, token: &str, now: DateTime<Utc>) -> Result<Option<Found>> {
    let sql = "SELECT id, webhook_id, address FROM webhook_addresses
               WHERE token_hash = $1 AND expires_at > $2 AND confirmed_at IS NULL";
    let query = tx.q(sql).bind(sha256(token.as_bytes()).to_vec()).bind(now);
    Ok(query.opt().await?)
}

fn link(raw: &Raw) -> Result<Link> {
    serde_urlencoded::from_str(raw.parts.uri.query().unwrap_or_default()).map_err(|_| {
        Error::invalid("token", "`token` is required: open the whole link of the mail.")
    })
}

fn page(text: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><title>E-mail notices</title>\
         <style>body{{font:16px/1.5 sans-serif;max-width:36em;margin:4em auto;padding:0 1em}}</style>\
         <h1>E-mail notices</h1>{text}</html>\n"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    let mut response = (headers, html).into_response();
    let policy = HeaderValue::from_static(POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}
