//! Confirmations: the links by which a stranger agrees to receive mail.
//!
//! # Design
//! An address that belongs to no member of the organization gets a mail with a link, at most one a day. The
//! link leads to a page with a button, because mail scanners open links. The server keeps the hash of a
//! link's token only, so each attempt sends another token. A mail may have arrived although its attempt
//! failed, so each link is good for 24 hours. The first one that is used ends the others.

use std::fmt::Write;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::agreements::{self, KIND};
use super::checks::hold;
use super::letters::quoted;
use super::rows::Webhook;
use super::schedule;
use super::state::Sending;
use crate::kernel::access::caller::Caller;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::declaration::{Declaration, Export, Happening};
use crate::kernel::effect::Effect;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Resource;
use crate::kernel::http::line::BASE;
use crate::kernel::http::raw::Raw;
use crate::kernel::journal::record::{self, Entry};
use crate::kernel::outbound::mailing::Letter;
use crate::kernel::secret::sha256;
use crate::kernel::text::Email;

pub static AGREEMENTS: Declaration = Declaration::of_organization(
    "webhook_agreements",
    "agreement",
    Export::LeftOut("the webhooks are exported with their addresses"),
)
.events(&[Happening {
    action: "webhooks.confirm",
    doc: "The owner of an e-mail address agreed to receive notices.",
}]);

pub static LINKS: Declaration = Declaration::of_organization(
    "webhook_links",
    "confirmation link",
    Export::LeftOut("the rows have the hashes of tokens, which are good for a day"),
);

pub static MAILS: Declaration = Declaration::of_organization(
    "webhook_mails",
    "mail of a day",
    Export::LeftOut("the rows count the mail of a day and contain no address"),
);

crate::routes! {
    /// The agreement of strangers to receive mail.
    webhook_confirmations declares AGREEMENTS, LINKS, MAILS:
    /// Returns the page of a confirmation link, with a button. It changes nothing: mail scanners open links.
    GET "/webhook-confirmations" PUBLIC => show, raw, strict
        returns "text/html";
    /// Confirms an e-mail address by the `token` of the link. A link is good for 24 hours and once.
    ///
    /// The agreement counts for all webhooks of the organization.
    POST "/webhook-confirmations" PUBLIC => confirm, raw, strict
        returns "text/html";
}

/// The life of a link.
const LIFE: TimeDelta = TimeDelta::hours(24);
/// The time after which another replica may send a claimed confirmation.
const CLAIMED: TimeDelta = TimeDelta::seconds(60);
/// The most confirmations of one look.
const BATCH: i64 = 20;
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'";

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
               FROM webhook_agreements a LEFT JOIN organizations o ON o.id = a.organization_id
               WHERE a.next_at <= $1 AND a.unwanted_at IS NULL ORDER BY a.next_at LIMIT $2";
    let due: Vec<Due> = app.db.read().q(sql).bind(now).bind(BATCH).all().await?;
    let is_any = !due.is_empty();
    for one in due {
        let token = URL_SAFE_NO_PAD.encode(app.random.bytes::<32>());
        if !claim(app, &one, &token, now).await? {
            continue;
        }
        let Ok(to) = one.address.parse::<Email>() else { continue };
        let letter = letter(app, &one, to, &token, now);
        let receipts = relay.send(std::slice::from_ref(&letter)).await;
        let next = receipts.first().and_then(|receipt| receipt.error).and_then(|error| {
            tracing::warn!(%error, "a confirmation was not sent");
            schedule::next_attempt(&app.random, now, one.attempts + 1, None)
        });
        let mut tx = app.db.begin().await?;
        let sql = "UPDATE webhook_agreements SET next_at = $2 WHERE id = $1 AND next_at = $3";
        tx.q(sql).bind(one.id).bind(next).bind(now + CLAIMED).exec().await?;
        tx.commit().await?;
    }
    Ok(is_any)
}

/// Takes a confirmation, with a new token. Returns whether this replica has it.
async fn claim(app: &App, one: &Due, token: &str, now: DateTime<Utc>) -> Result<bool> {
    let mut tx = app.db.begin().await?;
    let sql = "UPDATE webhook_agreements SET next_at = $3, attempts = attempts + 1
               WHERE id = $1 AND next_at = $2 AND agreed_at IS NULL AND unwanted_at IS NULL";
    let claim = tx.q(sql).bind(one.id).bind(one.next_at).bind(now + CLAIMED);
    let is_claimed = claim.exec().await? > 0;
    if is_claimed {
        let sql =
            "INSERT INTO webhook_links (token_hash, organization_id, agreement_id, expires_at)
                   VALUES ($1, $2, $3, $4)";
        let link = tx.q(sql).bind(sha256(token.as_bytes()).to_vec()).bind(one.organization_id);
        link.bind(one.id).bind(now + LIFE).exec().await?;
    }
    tx.commit().await?;
    Ok(is_claimed)
}

fn letter(app: &App, one: &Due, to: Email, token: &str, now: DateTime<Utc>) -> Letter {
    let base = &app.settings.base_url;
    let request = match &one.organization {
        None => "The platform asks to send notices to this address.".to_owned(),
        Some(name) => format!(
            "An organization asks to send notices to this address. It calls itself:\n\n    {}\n\nThe name \
             is its own choice.",
            quoted(name)
        ),
    };
    let text = format!(
        "This message comes from the license authority at {base}.\n\n\
         {request}\n\n\
         To agree, open this page within 24 hours and press the button:\n\n\
         {base}{BASE}/webhook-confirmations?token={token}\n\n\
         To refuse, do nothing.\n"
    );
    // Mail programs show one of several messages with an ID, and each message has another link.
    let id = format!("{}.{}", one.id, now.timestamp());
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

const GONE: &str = "<p>This link was used, is older than 24 hours, or is for an address that was \
                    removed.</p>";

async fn confirm(raw: Raw) -> Result<Response> {
    let link = link(&raw)?;
    let mut cx = raw.app.change(Caller::system("e-mail confirmation")).await?;
    let now = cx.now;
    let Some(found) = find(&mut cx.tx, &link.token, now).await? else {
        return Ok(page(GONE));
    };
    // The agreements of an owner change under its lock.
    hold(&mut cx, found.organization_id).await?;
    let sql = "UPDATE webhook_agreements SET agreed_at = $2, next_at = NULL
               WHERE id = $1 AND agreed_at IS NULL AND unwanted_at IS NULL";
    if cx.tx.q(sql).bind(found.id).bind(now).exec().await? == 0 {
        return Ok(page(GONE));
    }
    cx.tx.q("DELETE FROM webhook_links WHERE agreement_id = $1").bind(found.id).exec().await?;
    let owner = found.organization_id;
    let endpoints = agreements::note_agreed(&mut cx.tx, owner, &found.address).await?;
    if endpoints.is_empty() {
        return Ok(page(GONE));
    }
    let entries = endpoints.iter().map(|webhook| Entry {
        action: KIND,
        organization: owner,
        target: (Webhook::NOUN, webhook.id.to_string()),
        before: None,
        after: None,
        reason: None,
        issued: None,
    });
    record::append(&mut cx, entries.collect()).await?;
    cx.commit(Effect::Harmless).await?;
    Ok(page("<p>Thank you. This address receives notices from now on.</p>"))
}

/// An address with a link that is good.
#[derive(sqlx::FromRow)]
struct Found {
    id: Uuid,
    organization_id: Option<OrganizationId>,
    address: String,
}

async fn find(tx: &mut Conn, token: &str, now: DateTime<Utc>) -> Result<Option<Found>> {
    let sql = "SELECT a.id, a.organization_id, a.address
               FROM webhook_links l JOIN webhook_agreements a ON a.id = l.agreement_id
               WHERE l.token_hash = $1 AND l.expires_at > $2
                 AND a.agreed_at IS NULL AND a.unwanted_at IS NULL";
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
