//! The verifier.

use dp_verifier_bindings::{Failure, Verifier, lease_json};
use napi::Result;
use napi::bindgen_prelude::AsyncTask;
use napi_derive::napi;
use serde_json::Value;

use crate::leases::NativeLeases;
use crate::license::NativeLicense;
use crate::task::{Job, error, job};

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
    pub fn create(settings: String) -> AsyncTask<Job<NativeVerifier>> {
        job(move || Ok(Self { verifier: Verifier::from_json(&settings)? }))
    }

    #[napi(catch_unwind)]
    pub fn verify(&self, token: String) -> Result<NativeLicense> {
        license(self.verifier.verify(&token))
    }

    #[napi(catch_unwind)]
    pub fn verify_at(&self, token: String, now: i64) -> Result<NativeLicense> {
        license(self.verifier.verify_at(&token, now))
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
    pub fn wait_for_status(&self, token: String) -> AsyncTask<Job<String>> {
        let verifier = self.verifier.clone();
        job(move || {
            verifier.wait_for_status(&token);
            Ok(String::new())
        })
    }

    #[napi(catch_unwind)]
    pub fn refresh(&self) -> AsyncTask<Job<String>> {
        let verifier = self.verifier.clone();
        job(move || verifier.refresh().map(|()| String::new()))
    }

    #[napi(catch_unwind)]
    pub fn check_in(&self) -> AsyncTask<Job<String>> {
        let verifier = self.verifier.clone();
        job(move || verifier.check_in().map(|()| String::new()))
    }

    #[napi(catch_unwind)]
    pub fn leases(&self, credential: String) -> NativeLeases {
        NativeLeases { leases: self.verifier.leases(&credential) }
    }

    #[napi(catch_unwind)]
    pub fn set_fixed_time(&self, now: i64) -> Result<()> {
        self.verifier.set_fixed_time(now).map_err(error)
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
