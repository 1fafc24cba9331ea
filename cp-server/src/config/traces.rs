//! The settings of traces: the standard variables of OpenTelemetry.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use clap::Args;
use url::Url;

use super::authorities::authorities;
use super::secret_file::secret_or_file;
use super::values::{Hidden, hidden};
use crate::kernel::traces::IS_BUILT;
use crate::telemetry::traces::TraceSettings;

/// The settings of traces.
#[derive(Args, Clone, Debug)]
pub struct TraceConfig {
    /// The URL of an OpenTelemetry collector that gets traces as OTLP over HTTP, such as
    /// http://127.0.0.1:4318. The server adds `/v1/traces`. Without it, no trace is recorded.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_parser = collector, global = true)]
    pub otel_exporter_otlp_endpoint: Option<Url>,

    /// The whole URL for traces, instead of OTEL_EXPORTER_OTLP_ENDPOINT.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value_parser = collector, global = true)]
    pub otel_exporter_otlp_traces_endpoint: Option<Url>,

    /// Headers for the collector, such as a credential: NAME=VALUE, separated by commas. Values are
    /// percent-encoded.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_HEADERS", hide_env_values = true, value_parser = hidden, global = true)]
    pub otel_exporter_otlp_headers: Option<Hidden>,

    /// A file with these headers.
    #[arg(
        long,
        env = "OTEL_EXPORTER_OTLP_HEADERS_FILE",
        global = true,
        conflicts_with = "otel_exporter_otlp_headers"
    )]
    pub otel_exporter_otlp_headers_file: Option<PathBuf>,

    /// A PEM file with certificate authorities that replace the public ones for the collector.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE", global = true)]
    pub otel_exporter_otlp_certificate: Option<PathBuf>,

    /// The name of this service in traces.
    #[arg(long, env = "OTEL_SERVICE_NAME", default_value = "cp-server", global = true)]
    pub otel_service_name: String,

    /// More attributes of this service in traces: NAME=VALUE, separated by commas. Values are
    /// percent-encoded.
    #[arg(long, env = "OTEL_RESOURCE_ATTRIBUTES", global = true)]
    pub otel_resource_attributes: Option<String>,

    /// The part of the traces that is recorded, from 0 to 1. A request with a `traceparent` follows its
    /// client instead.
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", default_value = "1", value_parser = ratio, global = true)]
    pub otel_traces_sampler_arg: f64,
}

impl TraceConfig {
    /// Returns the URL of the collector, as it is set.
    pub(super) fn collector(&self) -> Option<&Url> {
        let whole = self.otel_exporter_otlp_traces_endpoint.as_ref();
        whole.or(self.otel_exporter_otlp_endpoint.as_ref())
    }

    /// Whether headers for the collector are set.
    pub(super) fn has_headers(&self) -> bool {
        self.otel_exporter_otlp_headers.is_some() || self.otel_exporter_otlp_headers_file.is_some()
    }

    /// Checks the settings and returns them; `None` without a collector.
    pub fn settings(&self) -> anyhow::Result<Option<TraceSettings>> {
        let (url, name) =
            match (&self.otel_exporter_otlp_traces_endpoint, &self.otel_exporter_otlp_endpoint) {
                (Some(whole), _) => (whole.clone(), "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
                (None, Some(base)) => {
                    let mut url = base.clone();
                    url.set_path(&format!("{}/v1/traces", base.path().trim_end_matches('/')));
                    (url, "OTEL_EXPORTER_OTLP_ENDPOINT")
                }
                (None, None) => return Ok(None),
            };
        ensure!(
            IS_BUILT,
            "{name}: this server was built without traces (the cargo feature `otlp`)"
        );
        let name = "OTEL_EXPORTER_OTLP_HEADERS";
        let (own, file) = (&self.otel_exporter_otlp_headers, &self.otel_exporter_otlp_headers_file);
        let headers = secret_or_file(name, own.as_ref(), file.as_ref())?;
        let name = if file.is_some() { "OTEL_EXPORTER_OTLP_HEADERS_FILE" } else { name };
        let mut given = HeaderMap::new();
        let texts = headers.as_ref().map(|text| text.expose().trim());
        for (key, value) in pairs(texts.unwrap_or_default()).context(name)? {
            // The parser's own messages would quote the secret.
            let key = HeaderName::from_str(&key).ok().context("the name of a header is malformed");
            let value = HeaderValue::from_str(&value).ok().context("a header's value is malformed");
            let mut value = value.context(name)?;
            value.set_sensitive(true);
            given.insert(key.context(name)?, value);
        }
        let attributes = self.otel_resource_attributes.as_deref().unwrap_or_default();
        let authority = |path: &PathBuf| authorities("OTEL_EXPORTER_OTLP_CERTIFICATE", path);
        Ok(Some(TraceSettings {
            url,
            headers: given,
            authorities: self.otel_exporter_otlp_certificate.as_ref().map(authority).transpose()?,
            service: self.otel_service_name.clone(),
            attributes: pairs(attributes).context("OTEL_RESOURCE_ATTRIBUTES")?,
            ratio: self.otel_traces_sampler_arg,
        }))
    }
}

fn collector(text: &str) -> anyhow::Result<Url> {
    let rule = "must be an http or https URL without a user, query or fragment, such as \
                http://127.0.0.1:4318";
    let url = Url::parse(text.trim()).ok().context(rule)?;
    let is_plain = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    ensure!(is_plain, rule);
    Ok(url)
}

fn ratio(text: &str) -> anyhow::Result<f64> {
    match text.trim().parse::<f64>() {
        Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(ratio),
        _ => bail!("must be a number from 0 to 1, such as 0.1"),
    }
}

/// Reads `a=1,b=two%20words`.
fn pairs(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    let pair = |part: &str| {
        let (name, value) =
            part.split_once('=').context("must be NAME=VALUE, separated by commas")?;
        // A plus is no blank here: tokens contain it.
        let encoded = format!("v={}", value.trim().replace('+', "%2B").replace('&', "%26"));
        let mut decoded = url::form_urlencoded::parse(encoded.as_bytes());
        let value = decoded.next().map_or(String::new(), |(_, value)| value.into_owned());
        Ok((name.trim().to_owned(), value))
    };
    parts.map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded() {
        let read = |text| pairs(text).unwrap();
        let owned = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read(""), []);
        assert_eq!(
            read("authorization=Basic%20YTpi+/=, x-tenant = a,"),
            [owned("authorization", "Basic YTpi+/="), owned("x-tenant", "a")]
        );
        assert!(pairs("canary").is_err_and(|error| !error.to_string().contains("canary")));
    }

    #[test]
    fn collector_is_a_plain_url() {
        for url in ["http://127.0.0.1:4318", "https://otel.example/base/ "] {
            assert!(collector(url).is_ok(), "{url}");
        }
        for url in [
            "127.0.0.1:4318",
            "grpc://127.0.0.1:4317",
            "http://user@otel.example",
            "https://otel.example?token=canary",
        ] {
            let error = collector(url).unwrap_err().to_string();
            assert!(error.starts_with("must be an http or https URL"), "{url}: {error}");
        }
    }

    #[test]
    fn ratio_is_between_0_and_1() {
        for (text, value) in [("0", 0.0), ("0.25", 0.25), (" 1 ", 1.0)] {
            assert_eq!(ratio(text).unwrap(), value);
        }
        for text in ["", "-0.1", "1.1", "NaN", "half"] {
            assert!(ratio(text).is_err(), "{text}");
        }
    }
}
