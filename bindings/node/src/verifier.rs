//! The verifier.

use dp_verifier_bindings::{Failure, Verifier, lease_json};
use napi::bindgen_prelude::Object;
use napi::{Env, Result};
use napi_derive::napi;
use serde_json::Value;

use crate::leases::NativeLeases;
use crate::license::NativeLicense;
use crate::task::{error, job, whole};

/// A verifier.
#[napi]
pub struct NativeVerifier {
    verifier: Verifier,
}

#[napi]
impl NativeVerifier {
    /// Creates a verifier from the JSON of its settings. Waits for keys from a URL.
    #[napi(constructor, catch_unwind)]
    pub fn new(settings: String) -> Result<Self> {
        let verifier = Verifier::from_json(&settings).map_err(error)?;
        Ok(Self { verifier })
    }

    /// Creates a verifier without blocking.
    #[napi(catch_unwind)]
    pub fn create(env: &Env, settings: String) -> Result<Object<'_>> {
        job(env, move || Ok(Self { verifier: Verifier::from_json(&settings)? }))
    }

    #[napi(catch_unwind)]
    pub fn verify(&self, token: String) -> Result<NativeLicense> {
        license(self.verifier.verify(&token))
    }

    #[napi(catch_unwind)]
    pub fn verify_at(&self, token: String, now: f64) -> Result<NativeLicense> {
        license(self.verifier.verify_at(&token, whole("now", now)?))
    }

    #[napi(catch_unwind)]
    pub fn verify_with_proof(&self, token: String, proof: String) -> Result<NativeLicense> {
        license(self.verifier.verify_with_proof(&token, &proof))
    }

    #[napi(catch_unwind)]
    pub fn verify_lease(
        &self,
        lease: String,
        license: &NativeLicense,
        holder: String,
    ) -> Result<String> {
        let holder = json("holder", &holder).map_err(error)?;
        let lease = self.verifier.verify_lease(&lease, &license.license, &holder);
        Ok(lease_json(&lease.map_err(error)?).to_string())
    }

    #[napi(catch_unwind)]
    pub fn verify_lease_at(
        &self,
        lease: String,
        license: &NativeLicense,
        holder: String,
        now: f64,
    ) -> Result<String> {
        let (holder, now) = (json("holder", &holder).map_err(error)?, whole("now", now)?);
        let lease = self.verifier.verify_lease_at(&lease, &license.license, &holder, now);
        Ok(lease_json(&lease.map_err(error)?).to_string())
    }

    #[napi(catch_unwind)]
    pub fn state_of(&self, license: &NativeLicense) -> &'static str {
        self.verifier.state_of(&license.license).as_str()
    }

    #[napi(catch_unwind)]
    pub fn current(&self) -> Result<NativeLicense> {
        license(self.verifier.current())
    }

    #[napi(getter, catch_unwind)]
    pub fn current_token(&self) -> Option<String> {
        self.verifier.current_token()
    }

    /// Imports write the state file, but in a few milliseconds.
    #[napi(catch_unwind)]
    pub fn import_file(&self, document: String) -> Result<String> {
        Ok(self.verifier.import_file(&document).map_err(error)?.to_string())
    }

    #[napi(catch_unwind)]
    pub fn import_status_list(&self, document: String) -> Result<String> {
        Ok(self.verifier.import_status_list(&document).map_err(error)?.to_string())
    }

    #[napi(catch_unwind)]
    pub fn replace_keys(&self, jwks: String) -> Result<()> {
        self.verifier.replace_keys(&jwks).map_err(error)
    }

    #[napi(catch_unwind)]
    pub fn readiness(&self) -> String {
        self.verifier.readiness().to_string()
    }

    #[napi(catch_unwind)]
    pub fn health(&self) -> String {
        self.verifier.health().to_string()
    }

    #[napi(catch_unwind)]
    pub fn usage_report(&self, counters: String, leases: String) -> Result<String> {
        let report = || {
            let (counters, leases) = (json("counters", &counters)?, json("leases", &leases)?);
            self.verifier.usage_report(&counters, &leases)
        };
        report().map_err(error)
    }

    #[napi(catch_unwind)]
    pub fn wait_for_status<'e>(&self, env: &'e Env, token: String) -> Result<Object<'e>> {
        let verifier = self.verifier.clone();
        job(env, move || {
            verifier.wait_for_status(&token);
            Ok(())
        })
    }

    #[napi(catch_unwind)]
    pub fn refresh<'e>(&self, env: &'e Env) -> Result<Object<'e>> {
        let verifier = self.verifier.clone();
        job(env, move || verifier.refresh())
    }

    #[napi(catch_unwind)]
    pub fn check_in<'e>(&self, env: &'e Env) -> Result<Object<'e>> {
        let verifier = self.verifier.clone();
        job(env, move || verifier.check_in())
    }

    #[napi(catch_unwind)]
    pub fn leases(&self, credential: String) -> NativeLeases {
        NativeLeases::new(self.verifier.leases(&credential))
    }

    #[napi(catch_unwind)]
    pub fn leases_of_license_key(&self, license_key: String) -> NativeLeases {
        NativeLeases::new(self.verifier.leases_of_license_key(&license_key))
    }

    #[napi(catch_unwind)]
    pub fn set_fixed_time(&self, now: f64) -> Result<()> {
        self.verifier.set_fixed_time(whole("now", now)?).map_err(error)
    }
}

fn license(
    verified: std::result::Result<dp_verifier_bindings::dp_verifier::LicenseContext, Failure>,
) -> Result<NativeLicense> {
    verified.map(|license| NativeLicense { license }).map_err(error)
}

/// Reads an argument of JSON.
pub(crate) fn json(name: &str, text: &str) -> std::result::Result<Value, Failure> {
    serde_json::from_str(text).map_err(|_| Failure::argument(format!("`{name}` is not JSON")))
}
