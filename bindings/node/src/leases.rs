//! Seats.

use std::sync::Arc;

use dp_verifier_bindings::{Failure, HeldLease, Leases};
use napi::bindgen_prelude::Object;
use napi::{Env, Result};
use napi_derive::napi;

use crate::license::NativeLicense;
use crate::task::{count, drop_later, job};
use crate::verifier::json;

/// A client that claims seats.
#[napi]
pub struct NativeLeases {
    /// Present until the drop.
    leases: Option<Leases>,
}

impl NativeLeases {
    pub(crate) fn new(leases: Leases) -> Self {
        Self { leases: Some(leases) }
    }

    fn live(&self) -> std::result::Result<Leases, Failure> {
        self.leases.clone().ok_or_else(|| Failure::internal("the leases are gone"))
    }
}

/// The drop of the client waits until its last seats are released.
impl Drop for NativeLeases {
    fn drop(&mut self) {
        drop_later(self.leases.take());
    }
}

#[napi]
impl NativeLeases {
    #[napi(catch_unwind)]
    pub fn acquire<'e>(
        &self,
        env: &'e Env,
        pool: String,
        holder: String,
        options: String,
        license: Option<&NativeLicense>,
    ) -> Result<Object<'e>> {
        let (leases, license) = (self.live(), license.map(|own| own.license.clone()));
        job(env, move || {
            let (holder, options) = (json("holder", &holder)?, json("options", &options)?);
            let lease = leases?.acquire(&pool, &holder, &options, license.as_ref())?;
            Ok(NativeLease { lease: Some(Arc::new(lease)) })
        })
    }

    #[napi(catch_unwind)]
    pub fn send_heartbeats<'e>(&self, env: &'e Env) -> Result<Object<'e>> {
        let leases = self.live();
        job(env, move || {
            leases?.send_heartbeats();
            Ok(())
        })
    }

    #[napi(catch_unwind)]
    pub fn take_usage(&self) -> Result<String> {
        let leases = self.live().map_err(crate::task::error)?;
        Ok(leases.take_usage().to_string())
    }
}

/// A held seat.
#[napi]
pub struct NativeLease {
    /// Present until the drop.
    lease: Option<Arc<HeldLease>>,
}

/// The drop of the last handle may wait for the network.
impl Drop for NativeLease {
    fn drop(&mut self) {
        drop_later(self.lease.take());
    }
}

#[napi]
impl NativeLease {
    #[napi(getter, catch_unwind)]
    pub fn state(&self) -> &'static str {
        self.lease.as_ref().map_or("released", |lease| lease.state())
    }

    #[napi(catch_unwind)]
    pub fn json(&self) -> String {
        self.lease.as_ref().map(|lease| lease.to_json()).unwrap_or_default().to_string()
    }

    #[napi(catch_unwind)]
    pub fn borrow<'e>(&self, env: &'e Env, seconds: f64) -> Result<Object<'e>> {
        let seconds = count("seconds", seconds)?;
        self.run(env, move |lease| lease.borrow(seconds))
    }

    #[napi(catch_unwind)]
    pub fn give_back<'e>(&self, env: &'e Env) -> Result<Object<'e>> {
        self.run(env, HeldLease::give_back)
    }

    #[napi(catch_unwind)]
    pub fn release<'e>(&self, env: &'e Env) -> Result<Object<'e>> {
        self.run(env, HeldLease::release)
    }

    #[napi(catch_unwind)]
    pub fn keep(&self) {
        if let Some(lease) = &self.lease {
            lease.keep();
        }
    }
}

impl NativeLease {
    fn run<'e, T: napi::bindgen_prelude::ToNapiValue + Send + 'static>(
        &self,
        env: &'e Env,
        run: impl FnOnce(&HeldLease) -> std::result::Result<T, Failure> + Send + 'static,
    ) -> Result<Object<'e>> {
        let lease = self.lease.clone();
        let gone = || Failure::internal("the lease is gone");
        job(env, move || lease.as_deref().ok_or_else(gone).and_then(run))
    }
}
