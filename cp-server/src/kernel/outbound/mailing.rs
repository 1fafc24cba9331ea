//! Mail: plain text to one address each, over the SMTP server of the operator.
//!
//! # Design
//! The operator chose the server, so its address may be private. The connection is encrypted unless the URL
//! says otherwise: a server without STARTTLS gets neither a password nor a message. An address is ASCII, and
//! the parts of a message come from templates, so no value becomes a header or a command.

#[cfg(feature = "mail")]
mod smtp;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Utc};
use ureq::tls::Certificate;
use url::Url;

use super::posting::DeliveryError;
use crate::kernel::secret::Secret;
use crate::kernel::text::Email;

/// Whether this server was built to send mail.
pub const IS_BUILT: bool = cfg!(feature = "mail");
/// The time for all letters of one attempt.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// The SMTP server that sends mail; `None` when none is set.
#[derive(Clone, Debug, Default)]
pub struct MailSettings(pub Option<Arc<Relay>>);

/// The encryption of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Security {
    /// From the first byte.
    Tls,
    /// After STARTTLS, which the server must offer.
    StartTls,
    None,
}

/// An SMTP server, and the sender of messages.
#[cfg_attr(not(feature = "mail"), expect(dead_code, reason = "this build sends no mail"))]
pub struct Relay {
    host: String,
    port: u16,
    security: Security,
    user: String,
    password: Option<Secret<String>>,
    from: Email,
    authorities: Option<Arc<Vec<Certificate<'static>>>>,
    patience: Duration,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Relay({}:{}, {:?})", self.host, self.port, self.security)
    }
}

/// A message to one address.
#[derive(Clone, Debug)]
pub struct Letter {
    pub to: Email,
    /// The beginning of the `Message-ID`: the same in every attempt.
    pub id: String,
    pub at: DateTime<Utc>,
    pub subject: String,
    pub text: String,
}

/// The server's answer to a letter.
#[derive(Debug)]
pub struct MailReceipt {
    pub error: Option<DeliveryError>,
    /// The SMTP code of the answer.
    pub code: Option<u16>,
    pub answer: Option<String>,
}

impl Relay {
    /// Reads `smtps://USER:PASSWORD@HOST:PORT`, or `smtp://` for STARTTLS; `?tls=none` is not encrypted.
    ///
    /// # Errors
    /// The reason, without the URL, which contains a password.
    pub fn new(
        url: &str,
        from: &str,
        authorities: Option<Arc<Vec<Certificate<'static>>>>,
    ) -> anyhow::Result<Self> {
        ensure!(IS_BUILT, "this server was built without mail (the cargo feature `mail`)");
        let url =
            Url::parse(url).ok().context("must be a URL such as smtps://USER:PASSWORD@HOST")?;
        let is_plain = match url.query() {
            None => false,
            Some("tls=none") => true,
            Some(_) => bail!("must have no query but `tls=none`"),
        };
        let (security, port) = match (url.scheme(), is_plain) {
            ("smtps", false) => (Security::Tls, 465),
            ("smtp", false) => (Security::StartTls, 587),
            ("smtp", true) => (Security::None, 25),
            _ => bail!("must begin with smtps:// or smtp://"),
        };
        let host = url.host_str().filter(|host| !host.is_empty()).context("must have a host")?;
        ensure!(matches!(url.path(), "" | "/"), "must have no path");
        let password = url.password().map(|password| Secret::new(decoded(password)));
        ensure!(
            password.is_none() || security != Security::None,
            "must not have a password without encryption"
        );
        let from = from.parse().map_err(|rule| anyhow::anyhow!("CP_MAIL_FROM {rule}"))?;
        Ok(Self {
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: url.port().unwrap_or(port),
            security,
            user: decoded(url.username()),
            password,
            from,
            authorities,
            patience: PATIENCE,
        })
    }

    /// Sets the time for all letters of one attempt.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Sends letters, and returns the answer to each.
    pub async fn send(&self, letters: &[Letter]) -> Vec<MailReceipt> {
        #[cfg(feature = "mail")]
        return self.send_all(letters).await;
        #[cfg(not(feature = "mail"))]
        return letters.iter().map(|_| MailReceipt::failed(DeliveryError::Connect)).collect();
    }
}

impl MailReceipt {
    /// A failure without an answer.
    fn failed(error: DeliveryError) -> Self {
        Self { error: Some(error), code: None, answer: None }
    }
}

/// Replaces `%40` and the like.
fn decoded(text: &str) -> String {
    let query = format!("v={}", text.replace('+', "%2B").replace('&', "%26"));
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.next().map_or(String::new(), |(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<(Security, u16, String), String> {
        let relay =
            Relay::new(url, "cp@vendor.example", None).map_err(|error| error.to_string())?;
        Ok((relay.security, relay.port, relay.host))
    }

    #[cfg(feature = "mail")]
    #[test]
    fn relay_is_encrypted_unless_its_url_says_otherwise() {
        let host = "mail.vendor.example".to_owned();
        for (url, security, port) in [
            ("smtps://mail.vendor.example", Security::Tls, 465),
            ("smtp://mail.vendor.example", Security::StartTls, 587),
            ("smtp://mail.vendor.example:2525", Security::StartTls, 2525),
            ("smtp://mail.vendor.example?tls=none", Security::None, 25),
        ] {
            assert_eq!(read(url), Ok((security, port, host.clone())), "{url}");
        }
        for bad in [
            "mail.vendor.example",
            "http://mail.vendor.example",
            "smtps://",
            "smtp://u:p@mail.vendor.example?tls=none",
            "smtps://mail.vendor.example?tls=none",
            "smtp://mail.vendor.example?tls=opportunistic",
            "smtps://mail.vendor.example/path",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let from = Relay::new("smtps://mail.vendor.example", "a@b\r\nBcc: c@d", None);
        assert!(from.is_err());
        let relay = Relay::new("smtps://a%40b:p%26+%25@h.example", "cp@v.example", None).unwrap();
        assert_eq!(relay.user, "a@b");
        assert_eq!(relay.password.as_ref().unwrap().expose(), "p&+%");
        assert!(!format!("{relay:?}").contains("p&"), "{relay:?}");
    }
}
