//! Mails: the events of an endpoint with e-mail addresses.
//!
//! # Design
//! Each address gets a letter of its own, so no address sees another. An address gets one letter a day for
//! a type and an object. The row of that day is taken before the letter is sent, by one delivery, so that
//! two endpoints with one address do not both send. A retry sends what is not sent yet, also on a later
//! day: an address gets a delivery once. A delivery fails as long as an address lacks it. The endpoint
//! fails only when all of them do.

use chrono::{DateTime, Utc};
use cp_contracts::Event;
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::agreements;
use super::claims::{Acceptance, Outcome};
use super::days::{Day, hash};
use super::fanout::subject;
use super::letters::{self, Frame};
use super::rows::{DeliveryId, Webhook};
use super::state::Sending;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::error::Result;
use crate::kernel::journal::canonical::Text;
use crate::kernel::outbound::mailing::{Letter, MailReceipt};
use crate::kernel::outbound::posting::DeliveryError;
use crate::kernel::secret::hex;
use crate::kernel::text::Email;

/// The longest reason of a failed address, in characters.
const LONGEST: usize = 120;

/// An endpoint with e-mail addresses, ready to send to.
pub(super) struct Mailbox {
    webhook: Webhook,
    /// The addresses of members, and those that were confirmed.
    addresses: Vec<Email>,
    organization: Option<String>,
}

/// An event for the addresses of an endpoint.
pub(super) struct Mail {
    addresses: Vec<Email>,
    owner: Option<OrganizationId>,
    /// `None` for a test, which is sent each time.
    delivery: Option<DeliveryId>,
    event: Uuid,
    kind: String,
    /// The object of the event.
    about: String,
    subject: String,
    text: String,
}

impl Mailbox {
    pub(super) async fn load(tx: &mut Conn, webhook: Webhook) -> Result<Self> {
        let addresses = agreements::permitted(tx, &webhook).await?;
        let organization = match webhook.organization_id {
            Some(id) => {
                tx.q("SELECT name FROM organizations WHERE id = $1").bind(id).value().await?
            }
            None => None,
        };
        Ok(Self { webhook, addresses, organization })
    }

    /// Returns the mail for an event.
    pub(super) fn mail(
        &self,
        app: &App,
        delivery: Option<DeliveryId>,
        event: &Event,
        after: Option<&Text>,
    ) -> Mail {
        let after = after.map_or(Value::Null, Text::value);
        let id = self.webhook.id.to_string();
        let frame = Frame {
            organization: self.organization.as_deref(),
            base_url: &app.settings.base_url,
            webhook: &id,
        };
        let (line, text) = letters::written(event, &after, &frame);
        Mail {
            addresses: self.addresses.clone(),
            owner: self.webhook.organization_id,
            delivery,
            event: event.id,
            kind: event.kind.clone(),
            about: subject(event),
            subject: line,
            text,
        }
    }
}

impl Mail {
    /// Sends a letter to each address that has none of this day, and describes the result.
    pub(super) async fn send(self, app: &App) -> Outcome {
        let (at, began) = (app.clock.now(), Instant::now());
        let sent = self.send_all(app, at).await;
        let duration_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
        let receipt = sent.unwrap_or_else(|error| {
            // The database failed. The attempt is one that broke, and the next one sends the letters.
            tracing::warn!(%error, "mail was not sent");
            (failed(DeliveryError::Connect, None), Acceptance::None)
        });
        let (MailReceipt { error, code, answer }, acceptance) = receipt;
        // 410 is a status of HTTP, which ends an endpoint.
        let status = code.filter(|code| *code != 410);
        Outcome { at, duration_ms, status, error, acceptance, answer, retry_after: None }
    }

    async fn send_all(&self, app: &App, at: DateTime<Utc>) -> Result<(MailReceipt, Acceptance)> {
        if self.addresses.is_empty() {
            let answer = "No address is confirmed, or belongs to a member.";
            return Ok((failed(DeliveryError::Unconfirmed, Some(answer)), Acceptance::None));
        }
        let Some(relay) = Sending::of(app).relay.clone() else {
            let answer = "CP_SMTP_URL is not set.";
            return Ok((failed(DeliveryError::Connect, Some(answer)), Acceptance::None));
        };
        let day = Day { owner: self.owner, kind: &self.kind, about: &self.about, at };
        let mut due = Vec::new();
        for address in &self.addresses {
            if match self.delivery {
                Some(delivery) => day.take(app, address, delivery.0).await?,
                None => true,
            } {
                due.push(self.letter(address, at));
            }
        }
        if due.is_empty() {
            let answer = Some("The addresses got this mail before.".to_owned());
            return Ok((MailReceipt { error: None, code: None, answer }, Acceptance::Before));
        }
        let receipts = relay.send(&due).await;
        let mut failures = Vec::new();
        let mut accepted = None;
        for (letter, receipt) in due.iter().zip(receipts) {
            if receipt.error.is_some() {
                failures.push((&letter.to, receipt));
                continue;
            }
            if let Some(delivery) = self.delivery {
                day.keep(app, &letter.to, delivery.0).await?;
            }
            accepted = Some(receipt);
        }
        let acceptance = match () {
            () if accepted.is_some() => Acceptance::Now,
            () if due.len() < self.addresses.len() => Acceptance::Before,
            () => Acceptance::None,
        };
        let none = failed(DeliveryError::Connect, None);
        let receipt = self.summary(failures).or(accepted).unwrap_or(none);
        Ok((receipt, acceptance))
    }

    /// Describes the addresses that failed by the first of them; `None` without one.
    fn summary(&self, failures: Vec<(&Email, MailReceipt)>) -> Option<MailReceipt> {
        let lines: Vec<String> =
            failures.iter().map(|(address, receipt)| line(address, receipt)).collect();
        let (_, first) = failures.into_iter().next()?;
        // A single address needs no name.
        let answer = if self.addresses.len() == 1 { first.answer } else { Some(lines.join("\n")) };
        Some(MailReceipt { error: first.error, code: first.code, answer })
    }

    fn letter(&self, address: &Email, at: DateTime<Utc>) -> Letter {
        // The same in every attempt, and another one for each address.
        let address_id = hex(&hash(address)[..8]);
        Letter {
            to: address.clone(),
            id: format!("{}.{address_id}", self.event),
            at,
            subject: self.subject.clone(),
            text: self.text.clone(),
        }
    }
}

fn failed(error: DeliveryError, answer: Option<&str>) -> MailReceipt {
    MailReceipt { error: Some(error), code: None, answer: answer.map(str::to_owned) }
}

/// Names an address and its failure.
fn line(address: &Email, receipt: &MailReceipt) -> String {
    let reason = receipt.error.map_or("", DeliveryError::as_str);
    let reason = receipt.answer.as_deref().unwrap_or(reason);
    let reason = reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST);
    let reason: String = reason.collect();
    match receipt.code {
        Some(code) => format!("{address}: {code} {reason}"),
        None => format!("{address}: {reason}"),
    }
}
