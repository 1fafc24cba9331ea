//! Carriers: how an endpoint gets its events, by HTTP or by mail.

use cp_contracts::Event;
use tokio::time::Instant;

use super::claims::{Acceptance, Outcome};
use super::mails::{Mail, Mailbox};
use super::messages::Receiver;
use super::rows::{DeliveryId, Webhook, WebhookId};
use super::state::Sending;
use crate::kernel::app::{App, Part};
use crate::kernel::db::Conn;
use crate::kernel::error::Result;
use crate::kernel::journal::canonical::Text;
use crate::kernel::outbound::posting::{DeliveryError, Message};

/// The kept bytes of an answer.
const ANSWER: usize = 1024;

/// An endpoint, ready to send to.
pub(super) enum Carrier {
    Http(Box<Receiver>),
    Mail(Box<Mailbox>),
}

/// What one attempt sends.
pub(super) enum Parcel {
    Http(Message),
    Mail(Box<Mail>),
}

impl Carrier {
    /// Reads the endpoint with what its carrier needs.
    pub(super) async fn load(app: &App, tx: &mut Conn, id: WebhookId) -> Result<Self> {
        let webhook: Webhook = tx.select("WHERE id = $1").bind(id).one().await?;
        Ok(match webhook.emails {
            None => Self::Http(Box::new(Receiver::load(app, tx, webhook).await?)),
            Some(_) => Self::Mail(Box::new(Mailbox::load(tx, webhook).await?)),
        })
    }

    /// Returns what an attempt sends for an event, at this instant.
    pub(super) fn parcel(
        &self,
        app: &App,
        delivery: Option<DeliveryId>,
        event: Event,
        after: Option<&Text>,
    ) -> Result<Parcel> {
        Ok(match self {
            Self::Http(receiver) => Parcel::Http(receiver.message(app, event, after)?),
            Self::Mail(mailbox) => {
                Parcel::Mail(Box::new(mailbox.mail(app, delivery, &event, after)))
            }
        })
    }
}

impl Parcel {
    /// Makes the attempt, and describes the result.
    pub(super) async fn send(self, app: &App) -> Outcome {
        match self {
            Self::Http(message) => post(app, message).await,
            Self::Mail(mail) => mail.send(app).await,
        }
    }
}

/// Sends a message, and describes the result.
async fn post(app: &App, message: Message) -> Outcome {
    let (at, began) = (app.clock.now(), Instant::now());
    let answered = Sending::of(app).poster.post(message).await;
    let duration_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
    let receipt = match answered {
        Ok(receipt) => receipt,
        Err(error) => {
            let (status, error, answer, retry_after) = (None, Some(error), None, None);
            let acceptance = Acceptance::None;
            return Outcome { at, duration_ms, status, error, acceptance, answer, retry_after };
        }
    };
    let error = match receipt.status {
        status if status.is_success() => None,
        status if status.is_redirection() => Some(DeliveryError::Redirect),
        _ => Some(DeliveryError::Status),
    };
    let text = &receipt.body[..receipt.body.len().min(ANSWER)];
    // PostgreSQL keeps no U+0000.
    let answer = Some(String::from_utf8_lossy(text).replace('\0', "\u{fffd}"));
    let retry_after = receipt.retry_after.map(|after| after.from(app.clock.now()));
    let acceptance = if error.is_none() { Acceptance::Now } else { Acceptance::None };
    let status = Some(receipt.status.as_u16());
    Outcome { at, duration_ms, status, error, acceptance, answer, retry_after }
}
