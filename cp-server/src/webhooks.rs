//! Webhooks: endpoints that receive events, by the Standard Webhooks specification.
//!
//! # Design
//! The log is the queue. `fanout.rs` turns each event with a place in the log into deliveries, so only
//! committed changes are sent, and an event is sent at least once. `claims.rs` gives the due deliveries
//! of an endpoint to one replica and records the results, and `sending.rs` sends them. A replica that
//! ends in between leaves its claims to the others. Every attempt has the same `webhook-id`, by which a
//! receiver ignores what it already has.
//!
//! An endpoint has a URL, or e-mail addresses: `carriers.rs` is the seam. `messages.rs` writes the messages of a
//! URL, and `mails.rs` those of addresses, with the texts of `letters.rs`. `agreements.rs` decides
//! which strangers are asked, and `confirmations.rs` sends their links.
//!
//! An organization chooses the addresses of its endpoints. So they are checked like those of identity
//! providers (`kernel/outbound`), and places for attempts are shared by organization.

pub mod addresses;
mod agreements;
mod carriers;
mod checks;
pub mod claims;
pub mod confirmations;
mod days;
pub mod deliveries;
mod emails;
pub mod fanout;
pub mod headers;
pub mod inputs;
mod letters;
mod mails;
pub mod messages;
mod reach;
pub mod rows;
mod schedule;
mod secrets;
pub mod sending;
pub mod settings;
pub mod signing;
pub mod state;
pub mod trial;
mod values;

use chrono::TimeDelta;
use schemars::JsonSchema;
use serde::Serialize;

use self::checks::{check_url, hold, included, narrowing, refuse_old_headers, refuse_unread};
use self::emails::Destination;
use self::headers::{HEADERS, seal_headers};
use self::inputs::{NewWebhook, SecretRotation, WebhookFilter, WebhookPatch};
use self::reach::load;
use self::rows::{DisabledReason, Ordering, Webhook, WebhookId, WebhookStatus};
use self::secrets::SECRET;
use self::signing::{Signature, SigningSecret};
use self::state::Sending;
use self::trial::test;
use crate::events::rows::head;
use crate::events::types::Types;
use crate::kernel::access::caller::Scope;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::place::Org;
use crate::kernel::access::platform::{AnyOwner, Platform};
use crate::kernel::app::Part;
use crate::kernel::clock::after;
use crate::kernel::db::record::Texts;
use crate::kernel::declaration::{Declaration, Erase, Export, Happening};
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::{Created, NoContent, Resource};
use crate::kernel::http::cx::Cx;
use crate::kernel::http::json::Patch;
use crate::kernel::http::page::{List, Page};
use crate::kernel::secret::ShownOnce;
use crate::kernel::section::Section;
use crate::kernel::text::HttpUrl;

crate::permissions! {
    /// Read webhooks and their deliveries.
    WEBHOOKS_READ = "webhooks:read", held by ["ORGANIZATION_ADMIN"];
    /// Create, change and delete webhooks, and send deliveries again.
    WEBHOOKS_WRITE = "webhooks:write", held by ["ORGANIZATION_ADMIN"];
}

pub static DECLARATION: Declaration = Declaration::of_organization(
    "webhooks",
    "webhook",
    Export::Section(Section::many::<Webhook>("webhooks")),
)
.permissions(PERMISSIONS)
.seals(&[HEADERS])
.erases(Erase::Steps(|tx, user, now| Box::pin(emails::forget(tx, user, now))))
.events(&[Happening {
    action: "webhooks.disabled",
    doc: "The server disabled a webhook whose receiver is gone or has failed for five days.",
}]);

pub static SECRETS: Declaration = Declaration::of_organization(
    "webhook_secrets",
    "webhook secret",
    Export::LeftOut("secrets are not exported"),
)
.seals(&[SECRET]);

pub static DELIVERIES: Declaration = Declaration::of_organization(
    "webhook_deliveries",
    "webhook delivery",
    Export::LeftOut("the audit events are exported; deliveries are kept for some weeks only"),
);

pub static ATTEMPTS: Declaration = Declaration::of_organization(
    "webhook_attempts",
    "webhook attempt",
    Export::LeftOut("the audit events are exported; attempts are kept for some weeks only"),
);

crate::routes! {
    /// The endpoints that receive events over HTTP.
    webhooks declares DECLARATION, SECRETS, DELIVERIES, ATTEMPTS:
    /// Lists the webhooks of the platform.
    GET "/webhooks" WEBHOOKS_READ => list_platforms;
    /// Creates a webhook of the platform, which receives the events of all organizations. Only this
    /// answer contains the secret.
    POST "/webhooks" WEBHOOKS_WRITE => create_for_platform, harmless;
    /// Lists the organization's webhooks.
    GET "/organizations/{org}/webhooks" WEBHOOKS_READ => list;
    /// Creates a webhook of the organization, which receives its events from now on. Only this answer
    /// contains the secret.
    ///
    /// `emails` of no member are asked by a link. An organization asks at most 20 addresses a day, from
    /// midnight UTC (429 `rate_limited`).
    POST "/organizations/{org}/webhooks" WEBHOOKS_WRITE => create, harmless;
    /// Returns a webhook, without its secret.
    GET "/webhooks/{id}" WEBHOOKS_READ => read;
    /// Changes a webhook. Deliveries that are pending go to the new URL.
    ///
    /// Another destination or other events require `audit:read`, as the creation does. `emails` of no member
    /// are asked by a link. An organization asks at most 20 addresses a day (429 `rate_limited`).
    PATCH "/webhooks/{id}" WEBHOOKS_WRITE => update, harmless;
    /// Deletes a webhook and its deliveries.
    DELETE "/webhooks/{id}" WEBHOOKS_WRITE => delete, harmless;
    /// Sends an event of the type `webhooks.test` at once, and returns the result.
    POST "/webhooks/{id}/test" WEBHOOKS_WRITE => test, own_transaction, harmless;
    /// Replaces the secret. Messages have the signatures of both for `overlap_seconds`. Only this answer
    /// contains the new secret.
    POST "/webhooks/{id}/rotate" WEBHOOKS_WRITE => rotate, harmless;
    /// Enables a webhook, which receives the events from now on.
    POST "/webhooks/{id}/enable" WEBHOOKS_WRITE => enable, harmless;
    /// Disables a webhook. Its pending deliveries are skipped, and so are later ones.
    POST "/webhooks/{id}/disable" WEBHOOKS_WRITE => disable, harmless;
}

/// The most endpoints of an organization, and of the platform.
const MOST: i64 = 20;
const MOST_OF_PLATFORM: i64 = 100;

/// A webhook with its new secret, which only this answer contains.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WebhookWithSecret {
    /// The secret that signs, with the prefix `whsec_`; null for `ed25519`, whose private key stays
    /// here.
    secret: Option<ShownOnce>,
    #[serde(flatten)]
    webhook: Webhook,
}

impl WebhookWithSecret {
    fn new(webhook: Webhook, secret: &SigningSecret) -> Self {
        let secret = (webhook.signature == Some(Signature::Hmac)).then(|| secret.shown());
        Self { secret, webhook }
    }
}

impl Resource for WebhookWithSecret {
    const NOUN: &'static str = Webhook::NOUN;
    const PATH: &'static str = Webhook::PATH;
    fn name(&self) -> String {
        self.webhook.name()
    }
}

async fn list_platforms(
    cx: &mut Cx<Scope>,
    _: Platform,
    list: List<WebhookFilter>,
) -> Result<Page<Webhook>> {
    let query = cx.tx.select("WHERE organization_id IS NULL");
    list.page(query.and_some(" AND status = ?", list.filter.status)).await
}

async fn list(cx: &mut Cx, _: Org, list: List<WebhookFilter>) -> Result<Page<Webhook>> {
    let query = cx.tx.select("WHERE organization_id = $1").bind(cx.at);
    list.page(query.and_some(" AND status = ?", list.filter.status)).await
}

async fn create_for_platform(
    cx: &mut Cx<Scope>,
    _: Platform,
    new: NewWebhook,
) -> Result<Created<WebhookWithSecret>> {
    refuse_unread(cx, None)?;
    insert(cx, None, new).await
}

async fn create(cx: &mut Cx, _: Org, new: NewWebhook) -> Result<Created<WebhookWithSecret>> {
    refuse_unread(cx, Some(cx.at))?;
    if new.organizations.is_some() {
        let detail = "`organizations` is for webhooks of the platform: a webhook of an organization \
                      receives its events only.";
        return Err(Error::invalid("organizations", detail));
    }
    let organization = cx.at;
    insert(cx, Some(organization), new).await
}

async fn insert<G>(
    cx: &mut Cx<G>,
    owner: Option<OrganizationId>,
    new: NewWebhook,
) -> Result<Created<WebhookWithSecret>> {
    let destination = emails::destination(&cx.app, &new)?;
    if let Destination::Url(url) = &destination {
        check_url(cx, owner, url)?;
    }
    Types::checked(&cx.app, &new.types.0)?;
    let id = WebhookId::new(&cx.app.random, cx.now);
    let secret = SigningSecret::new(&cx.app.random);
    let public_key = secret.public_key(new.signature).map_err(Error::internal)?;
    let from_seq = head(&mut cx.tx).await?;
    let headers = seal_headers(cx, owner, id, &new.headers).await?;
    hold(cx, owner).await?;
    let sql = "INSERT INTO webhooks
               (id, organization_id, name, url, types, organizations, signature, public_key,
                include, ordering, header_names, headers, status, from_seq, created_at, updated_at)
               SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'enabled', $13, $14, $14
               WHERE (SELECT COUNT(*) FROM webhooks w
                      WHERE w.organization_id = $2 OR $2 IS NULL AND w.organization_id IS NULL)
                     < $15";
    let most = if owner.is_some() { MOST } else { MOST_OF_PLATFORM };
    let insert = cx
        .tx
        .returning(sql)
        .bind(id)
        .bind(owner)
        .bind(new.name)
        .bind(destination.url())
        .bind(Texts::bounded("types", new.types.0)?)
        .bind(narrowing(new.organizations)?)
        .bind(new.signature)
        .bind(public_key)
        .bind(included(new.include)?)
        .bind(new.ordering)
        .bind(new.headers.masked())
        .bind(headers)
        .bind(from_seq)
        .bind(cx.now)
        .bind(most);
    let webhook: Option<Webhook> = insert.opt().await?;
    let webhook = webhook.ok_or_else(|| {
        let whose = if owner.is_some() { "The organization" } else { "The platform" };
        Error::conflict(format!(
            "{whose} has {most} webhooks, the most possible. Delete one first."
        ))
    })?;
    if let Destination::Emails(emails) = &destination {
        let webhook = emails::set(cx, &webhook, &emails.0).await?;
        return Ok(Created(WebhookWithSecret { secret: None, webhook }));
    }
    secrets::keep(cx, &webhook, &secret).await?;
    Ok(Created(WebhookWithSecret::new(webhook, &secret)))
}

async fn read(cx: &mut Cx<Scope>, AnyOwner(id): AnyOwner<WebhookId>) -> Result<Webhook> {
    load(cx, id).await
}

async fn update(
    cx: &mut Cx<Scope>,
    AnyOwner(id): AnyOwner<WebhookId>,
    patch: WebhookPatch,
) -> Result<Webhook> {
    let before = load(cx, id).await?;
    let owner = before.organization_id;
    if patch.redirects() {
        refuse_unread(cx, owner)?;
    }
    if patch.emails.is_some() {
        hold(cx, owner).await?;
    }
    emails::check_patch(&cx.app, &before, &patch)?;
    if let Some(url) = &patch.url {
        check_url(cx, owner, url)?;
        refuse_old_headers(&before, url, &patch)?;
    }
    if let Some(types) = &patch.types {
        Types::checked(&cx.app, &types.0)?;
    }
    let organizations = match patch.organizations {
        Patch::Set(_) if owner.is_some() => {
            let detail = "`organizations` is for webhooks of the platform.";
            return Err(Error::invalid("organizations", detail));
        }
        Patch::Set(ids) => narrowing(Some(ids))?,
        Patch::Clear => None,
        Patch::Keep => before.organizations,
    };
    let include = match patch.include {
        Some(include) => included(include)?,
        None => before.include,
    };
    let types = match patch.types {
        Some(types) => Texts::bounded("types", types.0)?,
        None => before.types,
    };
    let (names, values, keeps) = match &patch.headers {
        Some(new) => (new.masked(), seal_headers(cx, owner, id, new).await?, false),
        None => (before.headers, None, true),
    };
    let sql = "UPDATE webhooks
               SET name = $2, url = $3, types = $4, organizations = $5, include = $6, ordering = $7,
                   header_names = $8, headers = CASE WHEN $9 THEN headers ELSE $10 END,
                   updated_at = $11
               WHERE id = $1";
    let update = cx
        .tx
        .returning(sql)
        .bind(id)
        .bind(patch.name.over(before.name))
        .bind(patch.url.map_or(before.url.unwrap_or_default(), HttpUrl::into_string))
        .bind(types)
        .bind(organizations)
        .bind(include)
        .bind(patch.ordering.unwrap_or(before.ordering))
        .bind(names)
        .bind(keeps)
        .bind(values)
        .bind(after(before.updated_at, cx.now));
    let mut webhook: Webhook = update.one().await?;
    if let Some(emails) = &patch.emails {
        webhook = emails::set(cx, &webhook, &emails.0).await?;
    }
    if webhook.ordering == Ordering::None && before.ordering == Ordering::Subject {
        claims::release(&mut cx.tx, id, webhook.ordering, cx.now).await?;
        Sending::of(&cx.app).wake();
    }
    Ok(webhook)
}

async fn delete(cx: &mut Cx<Scope>, AnyOwner(id): AnyOwner<WebhookId>) -> Result<NoContent> {
    let owner = load(cx, id).await?.organization_id;
    hold(cx, owner).await?;
    cx.tx.q("DELETE FROM webhooks WHERE id = $1").bind(id).exec().await?;
    agreements::refresh(&mut cx.tx, owner, cx.now).await?;
    Ok(NoContent)
}

async fn rotate(
    cx: &mut Cx<Scope>,
    AnyOwner(id): AnyOwner<WebhookId>,
    rotation: SecretRotation,
) -> Result<WebhookWithSecret> {
    let before = load(cx, id).await?;
    let Some(signature) = before.signature else {
        return Err(Error::conflict("The webhook sends mail, which has no signature."));
    };
    let secret = SigningSecret::new(&cx.app.random);
    let public_key = secret.public_key(signature).map_err(Error::internal)?;
    let overlap = TimeDelta::seconds(rotation.overlap_seconds.0);
    secrets::end(&mut cx.tx, id, cx.now, overlap).await?;
    secrets::keep(cx, &before, &secret).await?;
    let sql = "UPDATE webhooks SET public_key = $2, updated_at = $3 WHERE id = $1";
    let update = cx.tx.returning(sql).bind(id).bind(public_key);
    let webhook: Webhook = update.bind(after(before.updated_at, cx.now)).one().await?;
    Ok(WebhookWithSecret::new(webhook, &secret))
}

async fn enable(cx: &mut Cx<Scope>, AnyOwner(id): AnyOwner<WebhookId>) -> Result<Webhook> {
    let before = load(cx, id).await?;
    if before.status == WebhookStatus::Enabled {
        return Ok(before);
    }
    let from_seq = head(&mut cx.tx).await?;
    let sql = "UPDATE webhooks
               SET status = 'enabled', disabled_reason = NULL, failing_since = NULL, failures = 0,
                   from_seq = $2, updated_at = $3
               WHERE id = $1";
    let update = cx.tx.returning(sql).bind(id).bind(from_seq);
    Ok(update.bind(after(before.updated_at, cx.now)).one().await?)
}

async fn disable(cx: &mut Cx<Scope>, AnyOwner(id): AnyOwner<WebhookId>) -> Result<Webhook> {
    let before = load(cx, id).await?;
    if before.status == WebhookStatus::Disabled {
        return Ok(before);
    }
    claims::disable(&mut cx.tx, id, DisabledReason::Requested, cx.now).await?;
    load(cx, id).await
}
