//! Seats.

use std::sync::Arc;

use dp_verifier_bindings::{HeldLease, Leases};
use napi::bindgen_prelude::AsyncTask;
use napi_derive::napi;

use crate::license::NativeLicense;
use crate::task::{Job, job};
use crate::verifier::json;

/// A client that claims seats.
#[napi]
pub struct NativeLeases {
    pub(crate) leases: Leases,
}

#[napi]
impl NativeLeases {
    #[napi(catch_unwind)]
    pub fn acquire(
        &self,
        pool: String,
        holder: String,
        options: String,
        license: Option<&NativeLicense>,
    ) -> AsyncTask<Job<NativeLease>> {
        let (leases, license) = (self.leases.clone(), license.map(|own| own.license.clone()));
        job(move || {
            let (holder, options) = (json("holder", &holder)?, json("options", &options)?);
            let lease = leases.acquire(&pool, &holder, &options, license.as_ref())?;
            Ok(NativeLease { lease: Some(Arc::new(lease)) })
        })
    }

    #[napi(catch_unwind)]
    pub fn send_heartbeats(&self) -> AsyncTask<Job<String>> {
        let leases = self.leases.clone();
        job(move || {
            leases.send_heartbeats();
            Ok(String::new())
        })
    }

    #[napi(catch_unwind)]
    pub fn take_usage(&self) -> String {
        self.leases.take_usage().to_string()
    }
}

/// A held seat.
#[napi]
pub struct NativeLease {
    /// Present until the drop.
    lease: Option<Arc<HeldLease>>,
}

/// The drop of the last handle may wait for the network, so it runs on a thread of its own.
impl Drop for NativeLease {
    fn drop(&mut self) {
        let lease = self.lease.take();
        if lease.as_ref().is_some_and(|lease| lease.state() != "released") {
            // Without a thread, the closure is dropped here.
            drop(std::thread::Builder::new().spawn(move || drop(lease)));
        }
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
    pub fn borrow(&self, seconds: u32) -> AsyncTask<Job<String>> {
        self.run(move |lease| lease.borrow(seconds.into()))
    }

    #[napi(catch_unwind)]
    pub fn give_back(&self) -> AsyncTask<Job<String>> {
        self.run(|lease| lease.give_back().map(|()| String::new()))
    }

    #[napi(catch_unwind)]
    pub fn release(&self) -> AsyncTask<Job<String>> {
        self.run(|lease| lease.release().map(|()| String::new()))
    }

    #[napi(catch_unwind)]
    pub fn keep(&self) {
        if let Some(lease) = &self.lease {
            lease.keep();
        }
    }
}

impl NativeLease {
    fn run(
        &self,
        run: impl FnOnce(&HeldLease) -> Result<String, dp_verifier_bindings::Failure> + Send + 'static,
    ) -> AsyncTask<Job<String>> {
        let lease = self.lease.clone();
        let gone = || dp_verifier_bindings::Failure::internal("the lease is gone");
        job(move || lease.as_deref().ok_or_else(gone).and_then(run))
    }
}
