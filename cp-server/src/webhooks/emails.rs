//! The checks of endpoints with e-mail addresses.

use chrono::{DateTime, Utc};

use super::addresses::Emails;
use super::agreements;
use super::claims;
use super::inputs::{NewWebhook, WebhookPatch};
use super::letters;
use super::rows::{DisabledReason, Webhook, WebhookStatus};
use super::signing::Signature;
use super::state::Sending;
use crate::events::types::{TypeNames, Types};
use crate::kernel::access::ids::UserId;
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::db::record::Texts;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::kernel::outbound::mailing::IS_BUILT;
use crate::kernel::text::{Email, HttpUrl};

/// The destination of a new endpoint.
pub(super) enum Destination {
    Url(HttpUrl),
    Emails(Emails),
}

/// Returns the destination of a new endpoint: a URL or addresses.
pub(super) fn destination(app: &App, new: &NewWebhook) -> Result<Destination> {
    match (new.url.clone(), new.emails.clone()) {
        (Some(url), None) => Ok(Destination::Url(url)),
        (None, Some(emails)) => {
            check(app, &new.types)?;
            refuse_http(new)?;
            Ok(Destination::Emails(emails))
        }
        (None, None) => Err(Error::invalid("url", "`url` or `emails` is required.")),
        (Some(_), Some(_)) => {
            Err(Error::invalid("emails", "`emails` must not be sent with `url`. Send one of them."))
        }
    }
}

impl Destination {
    /// Returns the URL as it is stored: empty for addresses.
    pub(super) fn url(&self) -> String {
        match self {
            Self::Url(url) => url.to_string(),
            Self::Emails(_) => String::new(),
        }
    }
}

/// Sets the addresses of an endpoint, and asks those that belong to no member. The caller holds the owner.
pub(super) async fn set<G>(cx: &mut Cx<G>, webhook: &Webhook, emails: &[Email]) -> Result<Webhook> {
    let owner = webhook.organization_id;
    let asked = agreements::ask(cx, owner, emails).await?;
    let emails = emails.iter().map(ToString::to_string).collect();
    let sql = "UPDATE webhooks SET emails = $2, unconfirmed = $3 WHERE id = $1";
    let update = cx.tx.returning(sql).bind(webhook.id).bind(Texts::bounded("emails", emails)?);
    let webhook = update.bind(Texts::bounded("emails", asked)?).one().await?;
    agreements::refresh(&mut cx.tx, owner, cx.now).await?;
    Ok(webhook)
}

/// Removes the address of a person whose data is erased. An endpoint without another address is
/// disabled.
pub(super) async fn forget(tx: &mut Conn, user: UserId, now: DateTime<Utc>) -> Result<()> {
    let sql = "SELECT email_key FROM users WHERE id = $1";
    let Some(key) = tx.q(sql).bind(user).value::<String>().await? else { return Ok(()) };
    agreements::erase(tx, &key).await?;
    let escaped = key.replace('!', "!!").replace('%', "!%").replace('_', "!_");
    let tail = "WHERE emails IS NOT NULL AND LOWER(CAST(emails AS TEXT)) LIKE $1 ESCAPE '!'";
    let found: Vec<Webhook> =
        tx.select(tail).bind(format!("%\"{escaped}\"%")).sql(" ORDER BY id").locked().all().await?;
    for webhook in found {
        let others = |all: &Option<Texts>| -> Vec<String> {
            let all = all.iter().flat_map(|all| all.iter());
            all.filter(|one| one.to_lowercase() != key).cloned().collect()
        };
        let (emails, unconfirmed) = (others(&webhook.emails), others(&webhook.unconfirmed));
        let is_over = emails.is_empty() && webhook.status == WebhookStatus::Enabled;
        let sql = "UPDATE webhooks SET emails = $2, unconfirmed = $3 WHERE id = $1";
        let update = tx.q(sql).bind(webhook.id).bind(Texts::bounded("emails", emails)?);
        update.bind(Texts::bounded("emails", unconfirmed)?).exec().await?;
        if is_over {
            claims::disable(tx, webhook.id, DisabledReason::Gone, now).await?;
        }
    }
    // An answer names the addresses that failed.
    let sql = "UPDATE webhook_attempts SET answer = NULL
               WHERE delivery_id IN (SELECT d.id FROM webhook_deliveries d
                                     JOIN webhooks w ON w.id = d.webhook_id
                                     WHERE w.emails IS NOT NULL)
                 AND LOWER(answer) LIKE $1 ESCAPE '!'";
    tx.q(sql).bind(format!("%{escaped}%")).exec().await?;
    Ok(())
}

/// Refuses what a patch changes of the other kind of endpoint.
pub(super) fn check_patch(app: &App, webhook: &Webhook, patch: &WebhookPatch) -> Result<()> {
    let refused = |field: &str, reason: &str| {
        Err(Error::invalid(field.to_owned(), format!("`{field}` {reason}")))
    };
    if webhook.emails.is_none() {
        let reason = "must not be sent: the webhook has a `url`. Create another webhook for mail.";
        return if patch.emails.is_some() { refused("emails", reason) } else { Ok(()) };
    }
    let to_url = "must not be sent: the webhook has `emails`. Create another webhook for a URL.";
    let of_http = "is for webhooks with a `url`, and the webhook has `emails`.";
    match () {
        () if patch.url.is_some() => refused("url", to_url),
        () if patch.include.is_some() => refused("include", of_http),
        () if patch.headers.is_some() => refused("headers", of_http),
        () => patch.types.as_ref().map_or(Ok(()), |types| check(app, types)),
    }
}

/// Checks that the server sends mail, and that it sends events of these types by mail.
pub(super) fn check(app: &App, types: &TypeNames) -> Result<()> {
    if Sending::of(app).relay.is_none() {
        return Err(Error::invalid("emails", without_mail(IS_BUILT)));
    }
    let selected = Types::checked(app, &types.0)?;
    let all = crate::events::types::all(app).iter();
    let other = all.filter(|one| selected.selects(one.r#type));
    match other.map(|one| one.r#type).find(|one| letters::types().all(|kind| kind != *one)) {
        None => Ok(()),
        Some(other) => {
            let detail = format!(
                "`types` of a webhook with `emails` must be notices or webhooks.disabled (got \
                 `{other}`). docs/events.md lists the notices."
            );
            Err(Error::invalid("types", detail))
        }
    }
}

/// Returns why this server sends no mail.
fn without_mail(is_built: bool) -> &'static str {
    match is_built {
        true => {
            "`emails` requires an SMTP server. Set CP_SMTP_URL and CP_MAIL_FROM of this server."
        }
        false => "`emails` is not possible: this server was built without mail.",
    }
}

/// Refuses the fields of HTTP messages.
fn refuse_http(new: &NewWebhook) -> Result<()> {
    let refused = |field: &str| {
        let detail = format!("`{field}` is for webhooks with a `url`.");
        Err(Error::invalid(field.to_owned(), detail))
    };
    match () {
        () if new.signature != Signature::Hmac => refused("signature"),
        () if !new.include.is_empty() => refused("include"),
        () if !new.headers.is_empty() => refused("headers"),
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusal_names_the_setting_or_the_build() {
        assert!(without_mail(true).contains("CP_SMTP_URL"));
        assert!(without_mail(false).contains("built without mail"));
        // A build without mail also refuses the setting at its start.
        let relay =
            crate::kernel::outbound::mailing::Relay::new("smtps://h.example", "a@b.c", None);
        assert_eq!(relay.is_ok(), IS_BUILT);
    }
}
