//! A vector: settings, a clock, and steps with their expected results.

use dp_verifier::{ErrorCode, LicenseState};
use serde_json::{Value, json};

use crate::support::*;

pub(super) struct Vector {
    name: String,
    about: String,
    settings: Value,
    now: i64,
    build: Value,
    steps: Vec<Value>,
}

/// Adds a member to an object.
fn put(object: &mut Value, name: &str, value: impl Into<Value>) {
    object.as_object_mut().unwrap().insert(name.to_owned(), value.into());
}

impl Vector {
    /// A vector of a verifier with both keys, at [`NOW`].
    pub(super) fn new(name: &str, about: &str) -> Self {
        let settings = json!({
            "issuer": ISSUER, "audience": AUDIENCE, "jwks": { "keys": [KEY.jwk(), OTHER_KEY.jwk()] },
        });
        let (name, about) = (name.to_owned(), about.to_owned());
        let build = json!({ "ok": true });
        Self { name, about, settings, now: NOW, build, steps: Vec::new() }
    }

    /// A vector that refuses one token.
    pub(super) fn refused(name: &str, token: impl Into<String>, code: ErrorCode) -> Self {
        Self::new(name, "").refuses(token, code)
    }

    /// A vector that admits one token.
    pub(super) fn admitted(name: &str, token: impl Into<String>, state: LicenseState) -> Self {
        Self::new(name, "").admits(token, state)
    }

    pub(super) fn about(mut self, text: &str) -> Self {
        self.about = text.to_owned();
        self
    }

    pub(super) fn at(mut self, now: i64) -> Self {
        self.now = now;
        self
    }

    pub(super) fn set(mut self, setting: &str, value: impl Into<Value>) -> Self {
        put(&mut self.settings, setting, value);
        self
    }

    pub(super) fn without(mut self, setting: &str) -> Self {
        self.settings.as_object_mut().unwrap().remove(setting);
        self
    }

    /// Expects that the settings are refused; with a code, if they have one.
    pub(super) fn refuses_settings(mut self, code: Option<ErrorCode>) -> Self {
        self.build = json!({ "ok": false });
        if let Some(code) = code {
            put(&mut self.build, "code", code.as_str());
        }
        self
    }

    pub(super) fn step(mut self, step: &str, members: Value, expect: Value) -> Self {
        let mut line = members;
        put(&mut line, "do", step);
        put(&mut line, "expect", expect);
        self.steps.push(line);
        self
    }

    pub(super) fn admits(self, token: impl Into<String>, state: LicenseState) -> Self {
        self.step("verify", json!({ "token": token.into() }), in_state(state))
    }

    /// Expects more members of the license: its serialized form, or its limits by metric.
    pub(super) fn expects(mut self, member: &str, value: Value) -> Self {
        put(&mut self.steps.last_mut().unwrap()["expect"], member, value);
        self
    }

    pub(super) fn refuses(self, token: impl Into<String>, code: ErrorCode) -> Self {
        self.step("verify", json!({ "token": token.into() }), refusal(code))
    }

    pub(super) fn verifies_with_proof(self, token: &str, proof: &str, expect: Value) -> Self {
        self.step("verify_with_proof", json!({ "token": token, "proof": proof }), expect)
    }

    pub(super) fn takes_list(self, list: impl Into<String>) -> Self {
        self.step("import_status_list", json!({ "document": list.into() }), json!({ "ok": true }))
    }

    pub(super) fn refuses_list(self, list: impl Into<String>, code: ErrorCode) -> Self {
        self.step("import_status_list", json!({ "document": list.into() }), refusal(code))
    }

    pub(super) fn takes_file(self, file: impl Into<String>) -> Self {
        self.step("import_file", json!({ "document": file.into() }), json!({ "ok": true }))
    }

    pub(super) fn refuses_file(self, file: impl Into<String>, code: ErrorCode) -> Self {
        self.step("import_file", json!({ "document": file.into() }), refusal(code))
    }

    pub(super) fn then_at(self, now: i64) -> Self {
        self.step("set_time", json!({ "now": now }), json!({ "ok": true }))
    }

    pub(super) fn restarts(self) -> Self {
        self.step("restart", json!({}), json!({ "ok": true }))
    }

    pub(super) fn into_json(self) -> Value {
        let mut vector = json!({
            "name": self.name, "settings": self.settings, "now": self.now, "build": self.build,
            "steps": self.steps,
        });
        if !self.about.is_empty() {
            put(&mut vector, "about", self.about);
        }
        vector
    }
}

pub(super) fn in_state(state: LicenseState) -> Value {
    json!({ "ok": true, "state": state })
}

pub(super) fn refusal(code: ErrorCode) -> Value {
    json!({ "ok": false, "code": code })
}
