//! Where the private halves of keys are: in the database, or at a signing service.

use std::sync::Arc;

use anyhow::Context;

use super::row::{KeyRow, purpose};
use super::service::ServiceKey;
use super::settings::KeySettings;
use super::signer::{LocalKey, Signer};
use crate::kernel::app::{App, Part};
use crate::kernel::error::{Error, Result};

/// Makes a key at the signing service, or in this process if there is none. Takes up to some seconds.
pub(super) async fn make(app: &App, bits: u32) -> Result<Arc<dyn Signer>> {
    let Some(service) = KeySettings::of(app).service.clone() else {
        let made = tokio::task::spawn_blocking(move || LocalKey::generate(bits)).await;
        let key = made.map_err(Error::internal)?.map_err(Error::internal)?;
        return Ok(Arc::new(key));
    };
    let made = tokio::task::spawn_blocking(move || ServiceKey::make(service, bits)).await;
    let key = made.map_err(Error::internal)?.map_err(|cause| {
        let detail = "The signing service made no key. The server's log has the reason. Try again.";
        Error::unavailable_because(detail, 5, cause)
    })?;
    Ok(Arc::new(key))
}

/// Opens a stored key.
pub(super) fn open(app: &App, row: &KeyRow) -> anyhow::Result<Arc<dyn Signer>> {
    let kid = &row.kid;
    let Some(name) = &row.service_key else {
        let der = app.kek.open(&purpose(kid), &row.sealed).with_context(|| row.sealed_shut())?;
        return Ok(Arc::new(LocalKey::from_pkcs8(&der)?));
    };
    let service = KeySettings::of(app).service.clone().with_context(|| {
        format!("the key {kid} is at a signing service; set CP_SIGNING_SERVICE_URL to sign with it")
    })?;
    Ok(Arc::new(ServiceKey::new(service, name.clone(), row.jwk())))
}
