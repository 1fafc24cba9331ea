//! Parsers of setting values. A parser's message is a predicate that follows the name of the
//! setting.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, bail};
use chrono::TimeDelta;

use crate::kernel::secret::Secret;

/// A secret setting; clap needs it to be shareable.
pub type Hidden = Arc<Secret<String>>;

/// The age at which keys are rotated; never when `None`.
pub type Rotation = Option<TimeDelta>;

pub(super) fn hidden(text: &str) -> Result<Hidden, std::convert::Infallible> {
    Ok(Arc::new(Secret::new(text.to_owned())))
}

pub(super) fn base_url(text: &str) -> anyhow::Result<String> {
    let text = text.trim();
    let example = "such as https://licenses.example.com";
    let url =
        url::Url::parse(text).with_context(|| format!("must be an absolute URL {example}"))?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if !plain {
        bail!("must be an http or https URL without a user, query or fragment, {example}");
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Parses an address and port. Names are not resolved: they may change while the server runs.
pub(super) fn listen(text: &str) -> anyhow::Result<SocketAddr> {
    let text = text.trim();
    let address = match text.rsplit_once(':') {
        Some(("", port)) => format!("0.0.0.0:{port}"),
        Some((host, port)) if host.eq_ignore_ascii_case("localhost") => format!("127.0.0.1:{port}"),
        _ => text.to_owned(),
    };
    let example = "must be an address and a port, such as 0.0.0.0:8801, localhost:8801 or :8801";
    address.parse().map_err(|_| anyhow::anyhow!(example))
}

pub(super) fn boolean(text: &str) -> anyhow::Result<bool> {
    match &*text.trim().to_ascii_lowercase() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => bail!("must be one of true, false, 1, 0, yes, no, on, off"),
    }
}

pub(super) fn audience(text: &str) -> anyhow::Result<String> {
    let text = text.trim();
    if text.is_empty() || text.len() > 255 || text.chars().any(char::is_control) {
        bail!("must be 1 to 255 printable characters, such as data-plane");
    }
    Ok(text.to_owned())
}

pub(super) fn license_key_prefix(text: &str) -> anyhow::Result<String> {
    if !(1..=16).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        bail!("must be 1 to 16 letters and digits, such as ACME");
    }
    Ok(text.to_owned())
}

pub(super) fn key_bits(text: &str) -> anyhow::Result<u32> {
    match text.parse() {
        Ok(bits @ (2048 | 3072 | 4096)) => Ok(bits),
        _ => bail!("must be 2048, 3072 or 4096"),
    }
}

// clap treats a bare `Option` as a setting that may be absent.
pub(super) fn rotation(text: &str) -> anyhow::Result<Rotation> {
    match text {
        "never" => Ok(None),
        text => span(text, "1d", "3650d").map(Some),
    }
}

pub(super) fn span(text: &str, least: &str, most: &str) -> anyhow::Result<TimeDelta> {
    let total = seconds(text).filter(|total| {
        (seconds(least).unwrap_or(0)..=seconds(most).unwrap_or(i64::MAX)).contains(total)
    });
    total.map(TimeDelta::seconds).with_context(|| {
        format!("must be a whole number with s, m, h or d, from {least} to {most}")
    })
}

/// Parses a span such as `30d`, in seconds.
pub fn seconds(text: &str) -> Option<i64> {
    let unit = match text.chars().next_back()? {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    text[..text.len() - 1].parse::<i64>().ok()?.checked_mul(unit)
}

pub(super) fn log_filter(text: &str) -> anyhow::Result<String> {
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    // A bare word that is not a level is a target of the filter, which then silences all others.
    let is_level = |word: &str| LEVELS.contains(&&*word.trim().to_ascii_lowercase());
    let is_bare =
        |part: &&str| !part.trim().is_empty() && !part.contains(['=', '[', ']', '{', '}']);
    if text.split(',').filter(is_bare).any(|word| !is_level(word)) {
        bail!("must be {}, or a filter such as info,sqlx=debug", LEVELS.join(", "));
    }
    tracing_subscriber::EnvFilter::try_new(text)
        .map_err(|_| anyhow::anyhow!("must be a filter such as info or info,sqlx=debug"))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn booleans_have_four_spellings_each() {
        for text in ["true", "1", "yes", "on", "TRUE", " On "] {
            assert_eq!(boolean(text).ok(), Some(true), "{text}");
        }
        for text in ["false", "0", "no", "off", "No"] {
            assert_eq!(boolean(text).ok(), Some(false), "{text}");
        }
        for text in ["", "2", "y", "wahr", "truefalse"] {
            let error = boolean(text).unwrap_err().to_string();
            assert_eq!(error, "must be one of true, false, 1, 0, yes, no, on, off", "{text}");
        }
    }

    #[test]
    fn listen_address_may_be_the_loopback_name_or_a_port() {
        for (text, address) in [
            ("127.0.0.1:8801", "127.0.0.1:8801"),
            ("localhost:8801", "127.0.0.1:8801"),
            ("LOCALHOST:0", "127.0.0.1:0"),
            (":8801", "0.0.0.0:8801"),
            (" [::1]:8801\n", "[::1]:8801"),
        ] {
            assert_eq!(listen(text).unwrap().to_string(), address, "{text}");
        }
        for text in
            ["", "8801", ":", ":x", ":65536", "localhost", "example.com:80", "::1:", "localhost:"]
        {
            let error = listen(text).unwrap_err().to_string();
            assert!(error.contains("localhost:8801 or :8801"), "{text}: {error}");
        }
    }

    #[test]
    fn log_filter_with_an_unknown_level_is_refused() {
        for text in ["info", "INFO", "off", "info,sqlx=debug", "warn,cp_server=trace"] {
            assert!(log_filter(text).is_ok(), "{text}");
        }
        for text in ["inf", "inof,sqlx=debug", "info,sqlx", "verbose", "info,sqlx=loud"] {
            let error = log_filter(text).unwrap_err().to_string();
            assert!(error.contains("info,sqlx=debug"), "{text}: {error}");
        }
    }

    #[test]
    fn base_url_is_trimmed() {
        for text in [" https://a.example", "https://a.example/ ", "https://a.example\r\n"] {
            assert_eq!(base_url(text).unwrap(), "https://a.example");
        }
        assert_eq!(audience(" data-plane\n").unwrap(), "data-plane");
        assert!(audience(" ").is_err());
    }
}
