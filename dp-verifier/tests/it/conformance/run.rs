//! The runner of a vector.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use dp_verifier::{
    BuildError, ErrorCode, Fingerprint, Holder, KeySet, LicenseContext, Limit, Verifier,
};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::support::write_private;

/// The result of a step: the members that a vector can expect.
type Outcome = Map<String, Value>;

struct Run {
    settings: Value,
    clock: Arc<AtomicI64>,
    dir: TempDir,
    verifier: Option<Verifier>,
}

/// Runs a vector. Returns the first difference.
pub(super) fn vector(vector: &Value) -> Result<(), String> {
    let settings = vector["settings"].clone();
    let dir = tempfile::tempdir().unwrap();
    // Unreachable keys need the network code, which the default features do not have.
    if cfg!(not(feature = "fetch")) && settings.get("jwks_url").is_some() {
        return Ok(());
    }
    let clock = Arc::new(AtomicI64::new(vector["now"].as_i64().unwrap()));
    let mut run = Run { settings, clock, dir, verifier: None };
    let built = run.build();
    compare("build", &vector["build"], &built)?;
    for (n, step) in vector["steps"].as_array().unwrap().iter().enumerate() {
        let outcome = run.step(step);
        compare(&format!("step {n}"), &step["expect"], &outcome)?;
    }
    Ok(())
}

/// Compares the expected members with those of the outcome.
fn compare(at: &str, expect: &Value, outcome: &Outcome) -> Result<(), String> {
    for (name, expected) in expect.as_object().unwrap() {
        let actual = outcome.get(name).unwrap_or(&Value::Null);
        if !includes(actual, expected) {
            let outcome = json!(outcome);
            return Err(format!("{at}: `{name}` must be {expected}, but the result is {outcome}"));
        }
    }
    Ok(())
}

/// Returns whether a value has all expected members; arrays and others must be equal.
fn includes(actual: &Value, expected: &Value) -> bool {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => expected
            .iter()
            .all(|(name, value)| actual.get(name).is_some_and(|own| includes(own, value))),
        _ => actual == expected,
    }
}

fn admitted(members: Value) -> Outcome {
    let Value::Object(mut members) = members else { return Outcome::new() };
    members.insert("ok".to_owned(), json!(true));
    members
}

fn refused(code: Option<ErrorCode>) -> Outcome {
    let mut members = Outcome::from_iter([("ok".to_owned(), json!(false))]);
    if let Some(code) = code {
        members.insert("code".to_owned(), json!(code));
    }
    members
}

fn license(license: &LicenseContext) -> Outcome {
    let limits = ["max_workspaces", "api_calls_per_month", "projects", "seats_extra"];
    let limits = limits.into_iter().map(|metric| {
        let limit = match license.limit(metric) {
            Limit::Unlimited => json!("unlimited"),
            Limit::AtMost(limit) => json!(limit),
            Limit::NotIncluded => json!("not_included"),
        };
        (metric.to_owned(), limit)
    });
    admitted(json!({
        "state": license.state(), "license": license, "limits": Map::from_iter(limits),
        "log_index": license.log_index(),
    }))
}

impl Run {
    fn state_path(&self) -> PathBuf {
        self.dir.path().join("state.json")
    }

    /// Builds the verifier of the settings.
    fn build(&mut self) -> Outcome {
        self.verifier = None;
        let text = |name: &str| self.settings.get(name).and_then(Value::as_str);
        let number = |name: &str| self.settings.get(name).and_then(Value::as_i64);
        let is_set = |name: &str| self.settings[name] == true;
        let clock = Arc::clone(&self.clock);
        let mut builder = Verifier::builder()
            .issuer(text("issuer").unwrap())
            .audience(text("audience").unwrap())
            .clock(move || clock.load(Relaxed));
        if let Some(jwks) = self.settings.get("jwks") {
            let text = jwks.as_str().map_or_else(|| jwks.to_string(), str::to_owned);
            builder = builder.jwks(text);
        }
        #[cfg(feature = "fetch")]
        if let Some(url) = text("jwks_url") {
            builder = builder.jwks_url(url);
        }
        if let Some(file) = text("license_file") {
            let path = self.dir.path().join("license.lic");
            std::fs::write(&path, file).unwrap();
            builder = builder.bundle_file(path);
        }
        if let Some(seconds) = number("leeway") {
            builder = builder.leeway(u32::try_from(seconds).unwrap());
        }
        if let Some(seconds) = number("time_floor") {
            builder = builder.time_floor(seconds);
        }
        if let Some(key) = text("log_key") {
            builder = builder.log_key(key);
        }
        if is_set("state_file") {
            builder = builder.state_path(self.state_path());
        }
        if is_set("strict_clock") {
            builder = builder.strict_clock();
        }
        if is_set("allow_unlogged") {
            builder = builder.allow_unlogged();
        }
        match builder.build() {
            Ok(verifier) => {
                self.verifier = Some(verifier);
                admitted(json!({}))
            }
            Err(BuildError::BundleRefused { error, .. }) => refused(Some(error.code())),
            Err(_) => refused(None),
        }
    }

    fn step(&mut self, step: &Value) -> Outcome {
        let text = |name: &str| step[name].as_str().unwrap_or_default();
        let verified = match text("do") {
            "restart" => return self.build(),
            "set_time" => {
                self.clock.store(step["now"].as_i64().unwrap(), Relaxed);
                return admitted(json!({}));
            }
            "damage_state_file" => {
                write_private(&self.state_path(), "{");
                return admitted(json!({}));
            }
            "verify" => self.verifier().verify(text("token")),
            "verify_with_proof" => self.verifier().verify_with_proof(text("token"), text("proof")),
            "replace_keys" => {
                let keys = KeySet::from_json(step["jwks"].to_string().as_bytes()).unwrap();
                self.verifier().replace_keys(keys);
                return admitted(json!({}));
            }
            "import_file" => {
                let taken = self.verifier().import(text("document"));
                return taken
                    .map_or_else(|error| refused(Some(error.code())), |_| admitted(json!({})));
            }
            "import_status_list" => {
                let taken = self.verifier().import_status_list(text("document"));
                return taken
                    .map_or_else(|error| refused(Some(error.code())), |_| admitted(json!({})));
            }
            "verify_lease" => return self.lease(step),
            other => panic!("the step {other:?} is not known"),
        };
        verified.map_or_else(|error| refused(Some(error.code())), |context| license(&context))
    }

    /// Checks a lease beside its license, which must be admitted at its own time.
    fn lease(&self, step: &Value) -> Outcome {
        let (token, at) = (step["token"].as_str().unwrap(), step["license_at"].as_i64());
        let verifier = self.verifier();
        let license = match at {
            Some(at) => verifier.verify_at(token, at),
            None => verifier.verify(token),
        };
        let license = match license {
            Ok(license) => license,
            Err(error) => return refused(Some(error.code())),
        };
        let holder = holder(&step["holder"], &license);
        match verifier.verify_lease(step["lease"].as_str().unwrap(), &license, &holder) {
            Ok(lease) => admitted(json!({
                "pool": lease.pool(), "expires_at": lease.expires_at(), "borrowed": lease.is_borrowed(),
            })),
            Err(error) => refused(Some(error.code())),
        }
    }

    fn verifier(&self) -> &Verifier {
        self.verifier.as_ref().unwrap()
    }
}

fn holder(holder: &Value, license: &LicenseContext) -> Holder {
    let text = |name: &str| holder.get(name).and_then(Value::as_str);
    if let Some(id) = text("user_id") {
        return Holder::user(id.parse().unwrap());
    }
    if let Some(address) = text("email") {
        return Holder::email(address);
    }
    if let (Some(provider), Some(subject)) = (text("provider"), text("subject")) {
        return Holder::subject(provider, subject);
    }
    if let Some(components) = holder.get("components").and_then(Value::as_object) {
        let print = Fingerprint::of(license);
        let print = components
            .iter()
            .fold(print, |print, (name, value)| print.component(name, value.as_str().unwrap()));
        return Holder::machine(&print);
    }
    Holder::id(text("id").unwrap())
}
