//! The exchange with the SMTP server.

use std::error::Error as _;
use std::io;
use std::time::{Duration, SystemTime};

use lettre::address::{Address, Envelope};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters,
};
use lettre::transport::smtp::extension::ClientId;
use tokio::time::{Instant, timeout_at};

use super::{Letter, MailReceipt, Relay, Security};
use crate::kernel::outbound::posting::DeliveryError;

/// The time for one address of the server.
const CONNECTING: Duration = Duration::from_secs(5);
/// The kept bytes of an answer.
const ANSWER: usize = 1024;

impl Relay {
    pub(super) async fn send_all(&self, letters: &[Letter]) -> Vec<MailReceipt> {
        let end = Instant::now() + self.patience;
        let (mut connection, mut receipts) = (None, Vec::with_capacity(letters.len()));
        for letter in letters {
            let sent = timeout_at(end, self.send_one(&mut connection, letter)).await;
            // A connection in the middle of a message serves no other.
            if !matches!(sent, Ok(Ok(_))) {
                connection = None;
            }
            receipts.push(match sent {
                Ok(Ok(receipt)) | Ok(Err(receipt)) => receipt,
                Err(_) => MailReceipt::failed(DeliveryError::Timeout),
            });
        }
        if let Some(mut connection) = connection {
            let _ = timeout_at(end, connection.quit()).await;
        }
        receipts
    }

    async fn send_one(
        &self,
        connection: &mut Option<AsyncSmtpConnection>,
        letter: &Letter,
    ) -> Result<MailReceipt, MailReceipt> {
        let (envelope, text) = self.written(letter).map_err(|error| {
            let answer = Some(error.to_string());
            MailReceipt { error: Some(DeliveryError::RefusedAddress), code: None, answer }
        })?;
        if connection.is_none() {
            *connection = Some(self.connect().await?);
        }
        let Some(connection) = connection else {
            return Err(MailReceipt::failed(DeliveryError::Connect));
        };
        let response = connection.send(&envelope, &text).await.map_err(|error| failure(&error))?;
        let lines: Vec<&str> = response.message().collect();
        let answer = Some(shortened(&lines.join(" ")));
        Ok(MailReceipt { error: None, code: Some(response.code().into()), answer })
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, MailReceipt> {
        let failed = MailReceipt::failed;
        let addresses = tokio::net::lookup_host((&*self.host, self.port));
        let addresses: Vec<_> =
            addresses.await.map_err(|_| failed(DeliveryError::Dns))?.take(4).collect();
        let hello = ClientId::Domain(self.domain().to_owned());
        let tls = match self.security {
            Security::None => None,
            _ => Some(self.tls().map_err(|_| failed(DeliveryError::Tls))?),
        };
        let wrapper = tls.clone().filter(|_| self.security == Security::Tls);
        let connected = AsyncSmtpConnection::connect_tokio1(
            &*addresses,
            Some(CONNECTING),
            &hello,
            wrapper,
            None,
        );
        let mut connection = connected.await.map_err(|error| failure(&error))?;
        if let Some(tls) = tls.filter(|_| self.security == Security::StartTls) {
            if !connection.can_starttls() {
                let answer = Some("The server does not offer STARTTLS.".to_owned());
                return Err(MailReceipt { answer, ..failed(DeliveryError::Tls) });
            }
            let started = connection.starttls(tls, &hello).await;
            started.map_err(|error| match failure(&error) {
                receipt if receipt.error == Some(DeliveryError::Connect) => {
                    MailReceipt { error: Some(DeliveryError::Tls), ..receipt }
                }
                receipt => receipt,
            })?;
        }
        if let Some(password) = &self.password {
            let credentials = Credentials::new(self.user.clone(), password.expose().clone());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            let accepted = connection.auth(&mechanisms, &credentials).await;
            accepted.map_err(|error| failure(&error))?;
        }
        Ok(connection)
    }

    fn tls(&self) -> Result<TlsParameters, SmtpError> {
        let mut builder = TlsParameters::builder(self.host.clone());
        builder = match &self.authorities {
            None => builder.certificate_store(CertificateStore::WebpkiRoots),
            Some(own) => {
                builder = builder.certificate_store(CertificateStore::None);
                for one in own.iter() {
                    builder =
                        builder.add_root_certificate(Certificate::from_der(one.der().to_vec())?);
                }
                builder
            }
        };
        builder.build_rustls()
    }

    fn domain(&self) -> &str {
        self.from.as_str().rsplit_once('@').map_or("localhost", |(_, domain)| domain)
    }

    /// Writes the message.
    fn written(&self, letter: &Letter) -> anyhow::Result<(Envelope, Vec<u8>)> {
        let from: Address = self.from.as_str().parse()?;
        let to: Address = letter.to.as_str().parse()?;
        let mut message = Message::builder()
            .from(Mailbox::new(None, from.clone()))
            .to(Mailbox::new(None, to.clone()))
            .subject(&*letter.subject)
            .date(SystemTime::from(letter.at))
            .message_id(Some(format!("<{}@{}>", letter.id, self.domain())))
            .header(ContentType::TEXT_PLAIN)
            .body(letter.text.clone())?;
        // No automatic replies (RFC 3834).
        let automatic = HeaderName::new_from_ascii_str("Auto-Submitted");
        message.headers_mut().insert_raw(HeaderValue::new(automatic, "auto-generated".to_owned()));
        Ok((Envelope::new(Some(from), vec![to])?, message.formatted()))
    }
}

/// Describes a failure: a refusal of the server by its code, else what broke.
fn failure(error: &SmtpError) -> MailReceipt {
    if let Some(code) = error.status() {
        let answer = error.source().map_or_else(|| error.to_string(), ToString::to_string);
        let (error, code) = (Some(DeliveryError::Status), Some(code.into()));
        return MailReceipt { error, code, answer: Some(shortened(&answer)) };
    }
    MailReceipt::failed(match () {
        () if error.is_timeout() => DeliveryError::Timeout,
        () if error.is_tls() || is_of_tls(error) => DeliveryError::Tls,
        () => DeliveryError::Connect,
    })
}

/// Whether the handshake failed.
fn is_of_tls(error: &SmtpError) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        let wrapped = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if wrapped.is_some_and(|inner| inner.is::<rustls::Error>()) || cause.is::<rustls::Error>() {
            return true;
        }
        source = cause.source();
    }
    false
}

/// Returns the beginning of an answer. PostgreSQL keeps no U+0000.
fn shortened(answer: &str) -> String {
    let mut end = answer.len().min(ANSWER);
    while !answer.is_char_boundary(end) {
        end -= 1;
    }
    answer[..end].replace('\0', "\u{fffd}")
}
