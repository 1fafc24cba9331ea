//! The settings of a verifier, from JSON.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use dp_verifier::{Credential, VerifierBuilder};
use serde::Deserialize;
use serde_json::Value;

use crate::json::object_member;
use crate::{Failure, Verifier};

/// The maximum size of the cache, in tokens: they need about 5 GB. A larger number would end the process,
/// because the memory for it is missing.
const MAX_CACHE: usize = 1_000_000;

/// The settings of a verifier. Names and defaults are those of the builder of [`dp_verifier`], and
/// times are in seconds.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Exactly the `iss` of every token. Required.
    pub issuer: String,
    /// Exactly the `aud` of every token. Required.
    pub audience: String,
    /// The issuer's key set: an object, or the text of one.
    pub jwks: Option<Value>,
    /// A file with the issuer's key set.
    pub jwks_file: Option<PathBuf>,
    /// The issuer's key set URL. Keys, status lists and the log are then fetched in the background.
    pub jwks_url: Option<String>,
    /// A file that keeps the fetched key set over restarts.
    pub jwks_store: Option<PathBuf>,
    /// A file with the only trusted certificate authorities of the control plane.
    pub jwks_ca_file: Option<PathBuf>,
    /// The maximum age of a fetched key set.
    pub jwks_max_stale: Option<u64>,
    /// The minimum time between two requests for keys.
    pub jwks_cooldown: Option<u64>,
    /// The license file with which the verifier starts.
    pub bundle_file: Option<PathBuf>,
    /// A file that keeps the verifier's state over restarts.
    pub state_path: Option<PathBuf>,
    /// The allowed difference of clocks.
    pub leeway: Option<u32>,
    /// The time floor of an earlier run, in seconds since 1970.
    pub time_floor: Option<i64>,
    /// Whether a clock that is behind refuses every token.
    pub strict_clock: bool,
    /// The time before its end for which a license is expiring.
    pub expiring_period: Option<u64>,
    /// The size of the cache, in tokens.
    pub cache: Option<usize>,
    /// The public key of the issuer's log.
    pub log_key: Option<String>,
    /// Whether a log key is required.
    pub require_inclusion: bool,
    /// Whether tokens without a proof are admitted.
    pub allow_unlogged: bool,
    /// The URL and the credential of the check-ins.
    #[serde(deserialize_with = "object_member")]
    pub check_in: Option<CheckIn>,
    /// A file that keeps the token of the last check-in.
    pub token_store: Option<PathBuf>,
    /// A clock that stands still, in seconds since 1970: for tests only.
    pub fixed_time: Option<i64>,
}

/// The check-ins of a data plane.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckIn {
    /// The URL of the deployment's check-in.
    pub url: String,
    /// The token of the deployment, or a license key.
    pub credential: String,
}

/// Hides the credential.
impl std::fmt::Debug for CheckIn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckIn").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Settings {
    /// Reads settings from the text of a JSON object.
    ///
    /// # Errors
    ///
    /// Returns the failure `settings_invalid`, also for an unknown member.
    pub fn from_json(text: &str) -> Result<Self, Failure> {
        if !text.trim_start().starts_with('{') {
            return Err(Failure::settings("the settings are no JSON object"));
        }
        serde_json::from_str(text).map_err(|error| {
            // The message of another fault may quote a value, such as a credential.
            let detail = error.to_string();
            match detail.starts_with("unknown field") || detail.starts_with("missing field") {
                true => Failure::settings(detail.split(" at line ").next().unwrap_or_default()),
                false => {
                    let (line, column) = (error.line(), error.column());
                    Failure::settings(format!(
                        "the settings are no JSON object of the right types (line {line}, column {column})"
                    ))
                }
            }
        })
    }

    /// Builds the verifier. Waits for the first response when keys come from a URL.
    ///
    /// # Errors
    ///
    /// Returns the failure `settings_invalid`, or the code of a refused license file.
    pub fn build(self) -> Result<Verifier, Failure> {
        let mut builder =
            dp_verifier::Verifier::builder().issuer(self.issuer).audience(self.audience);
        let sources = [self.jwks.is_some(), self.jwks_file.is_some(), self.jwks_url.is_some()];
        if sources.into_iter().filter(|is_set| *is_set).count() > 1 {
            let detail = "only one of `jwks`, `jwks_file` and `jwks_url` can be set";
            return Err(Failure::settings(detail));
        }
        if self.cache.is_some_and(|tokens| tokens > MAX_CACHE) {
            return Err(Failure::settings(format!("`cache` must be at most {MAX_CACHE}")));
        }
        builder = match self.jwks {
            Some(Value::String(text)) => builder.jwks(text),
            Some(jwks) => builder.jwks(jwks.to_string()),
            None => builder,
        };
        builder = with(builder, self.jwks_file, VerifierBuilder::jwks_file);
        builder = with(builder, self.jwks_url, VerifierBuilder::jwks_url);
        builder = with(builder, self.jwks_store, VerifierBuilder::jwks_store);
        builder = with(builder, self.jwks_ca_file, VerifierBuilder::jwks_ca_file);
        builder = with(builder, seconds(self.jwks_max_stale), VerifierBuilder::jwks_max_stale);
        builder = with(builder, seconds(self.jwks_cooldown), VerifierBuilder::jwks_cooldown);
        builder = with(builder, self.bundle_file, VerifierBuilder::bundle_file);
        builder = with(builder, self.state_path, VerifierBuilder::state_path);
        builder = with(builder, self.leeway, VerifierBuilder::leeway);
        builder = with(builder, self.time_floor, VerifierBuilder::time_floor);
        builder = with(builder, seconds(self.expiring_period), VerifierBuilder::expiring_period);
        builder = with(builder, self.cache, VerifierBuilder::cache);
        builder = with(builder, self.log_key, VerifierBuilder::log_key);
        builder = with(builder, self.check_in, |builder, CheckIn { url, credential }| {
            builder.check_in(url, Credential::from(credential))
        });
        builder = with(builder, self.token_store, VerifierBuilder::token_store);
        if self.strict_clock {
            builder = builder.strict_clock();
        }
        if self.require_inclusion {
            builder = builder.require_inclusion();
        }
        if self.allow_unlogged {
            builder = builder.allow_unlogged();
        }
        let fixed = self.fixed_time.map(|now| Arc::new(AtomicI64::new(now)));
        if let Some(clock) = fixed.clone() {
            builder = builder.clock(move || clock.load(Relaxed));
        }
        Ok(Verifier { inner: builder.build()?, fixed })
    }
}

fn seconds(seconds: Option<u64>) -> Option<Duration> {
    seconds.map(Duration::from_secs)
}

/// Applies a setting if it is present.
fn with<T>(
    builder: VerifierBuilder,
    setting: Option<T>,
    apply: impl FnOnce(VerifierBuilder, T) -> VerifierBuilder,
) -> VerifierBuilder {
    match setting {
        Some(value) => apply(builder, value),
        None => builder,
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

    fn refusal(settings: &str) -> String {
        let refused = Settings::from_json(settings).and_then(Settings::build).err();
        let failure = refused.map(|failure| failure.to_string()).unwrap_or_default();
        assert!(failure.starts_with("settings_invalid: "), "{failure}");
        failure
    }

    #[test]
    fn unknown_setting_is_named_with_the_known_ones() {
        let failure = refusal(r#"{"issuer":"x","audiance":"y"}"#);
        assert!(failure.contains("unknown field `audiance`"), "{failure}");
        assert!(failure.contains("`audience`") && !failure.contains("column"), "{failure}");
    }

    #[test]
    fn refusal_quotes_no_value() {
        for settings in [
            r#"{"leeway":"s3cr3t"}"#,
            r#"{"check_in":"s3cr3t"}"#,
            r#"{"check_in":["s3cr3t","s3cr3t"]}"#,
            r#"["s3cr3t","s3cr3t"]"#,
            r#"{"check_in":{"url":"x","credential":{"s3cr3t":1}}}"#,
            r#""s3cr3t""#,
        ] {
            let failure = refusal(settings);
            assert!(!failure.contains("s3cr3t"), "{failure}");
        }
        let check_in = r#"{"check_in":{"url":"x","credential":"s3cr3t"}}"#;
        let shown = format!("{:?}", Settings::from_json(check_in));
        assert!(!shown.contains("s3cr3t"), "{shown}");
    }

    #[test]
    fn settings_have_one_source_of_keys() {
        let failure = refusal(r#"{"issuer":"x","audience":"y","jwks":{},"jwks_file":"z"}"#);
        assert!(failure.ends_with("only one of `jwks`, `jwks_file` and `jwks_url` can be set"));
        let failure = refusal(r#"{"issuer":"x","audience":"y"}"#);
        assert!(failure.ends_with("a source of keys is required"), "{failure}");
    }
}
