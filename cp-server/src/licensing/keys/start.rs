//! What the operator does at the machine: the first key, and keys from files.

use std::path::Path;

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde_json::json;

use super::pem;
use super::signer::{LocalKey, Signer};
use super::store::{self, Beginning};
use super::{KeyState, import, rotation};
use crate::kernel::access::caller::Caller;
use crate::kernel::app::{App, Part};
use crate::kernel::effect::Effect;
use crate::kernel::secret::Secret;
use crate::licensing::keys::KeySettings;
use crate::licensing::keys::keyring::Keyring;

/// Makes sure that there is an active key, the imported one where there was none before, and that
/// its successor is published.
pub async fn prepare(
    app: &App,
    file: Option<&Path>,
    passphrase: Option<&Secret<String>>,
) -> anyhow::Result<()> {
    if let Some(path) = file {
        let imported = import_file(app, path, passphrase).await?;
        if let Some(at) = imported.activate_at {
            let kid = imported.kid;
            tracing::info!(kid, %at, "the imported key is published, and signs from then on");
        }
    }
    let mut tx = app.db.read();
    let active = store::active(&mut tx).await?;
    drop(tx);
    if active.is_none() {
        let key = LocalKey::generated(KeySettings::of(app).bits).await?;
        // Of several replicas that start together, one makes it.
        begin_with(app, &key, Beginning::in_state(KeyState::Active), "keys.create").await?;
    }
    rotation::tick(app).await?;
    Keyring::of(app).refresh(app).await
}

/// What became of a key from a file.
pub struct Imported {
    pub kid: String,
    /// When it signs by itself; it does so already when absent.
    pub activate_at: Option<DateTime<Utc>>,
}

/// Imports a PEM file. The first key of an installation signs at once; any other is published, and
/// signs when every data plane has had the time to fetch it.
pub async fn import_file(
    app: &App,
    path: &Path,
    passphrase: Option<&Secret<String>>,
) -> anyhow::Result<Imported> {
    let refused = || format!("the signing key {} is refused", path.display());
    let text = crate::kernel::files::read_private(path).with_context(refused)?;
    let is_der = pem::is_der(&text);
    let text = String::from_utf8(text).map_err(|error| {
        // The error has the file's bytes, which nobody sees and nobody wipes.
        drop(zeroize::Zeroizing::new(error.into_bytes()));
        let why = match is_der {
            true => {
                "it is DER; convert it with `openssl pkey -inform DER -in OLD.der -out NEW.pem`"
            }
            false => "it is not text",
        };
        anyhow::anyhow!("{}: {why}", refused())
    })?;
    let text = zeroize::Zeroizing::new(text);
    let key = import::read_pem(&text, passphrase).with_context(refused)?;
    let kid = key.jwk().kid.clone();
    let mut tx = app.db.read();
    let known = store::all(&mut tx).await?;
    drop(tx);
    if let Some(row) = known.iter().find(|row| row.kid == kid) {
        anyhow::ensure!(
            matches!(row.state, KeyState::Active | KeyState::Published),
            "{}: it is known here already, and {}; a key never comes back",
            refused(),
            row.state
        );
        return Ok(Imported { kid, activate_at: row.activate_at });
    }
    let is_first = !known.iter().any(|row| row.state == KeyState::Active);
    let activate_at = (!is_first).then(|| app.clock.now() + KeySettings::of(app).propagation());
    let state = if is_first { KeyState::Active } else { KeyState::Published };
    begin_with(app, &key, Beginning { state, activate_at, reason: None }, "keys.import").await?;
    Keyring::of(app).refresh(app).await?;
    Ok(Imported { kid, activate_at })
}

async fn begin_with(
    app: &App,
    key: &LocalKey,
    beginning: Beginning,
    action: &'static str,
) -> anyhow::Result<()> {
    let (mut cx, state) = (app.change(Caller::system("server")).await?, beginning.state);
    if store::insert(app, &mut cx.tx, cx.now, key, beginning).await? {
        let kid = key.jwk().kid.clone();
        cx.trail.after = Some(json!({"kid": kid, "state": state}));
        cx.finish(action, None, ("signing key", kid), Effect::Parts).await?;
    }
    Ok(())
}
