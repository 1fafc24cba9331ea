//! The operator's local commands: the first key, and keys from files.

use std::path::Path;

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;
use zeroize::Zeroizing;

use super::pem;
use super::signer::Signer;
use super::store::{self, InitialState};
use super::{KeyState, custody, import, rotation};
use crate::kernel::access::caller::Caller;
use crate::kernel::app::{App, Part};
use crate::kernel::declaration::Happening;
use crate::kernel::effect::Effect;
use crate::kernel::secret::Secret;
use crate::licensing::keys::KeySettings;
use crate::licensing::keys::keyring::Keyring;

/// The events of changes by the server's start and by commands of the operator.
pub(super) const EVENTS: &[Happening] = &[
    Happening { action: "keys.import", doc: "A signing key was imported." },
    Happening { action: "issuer.accept", doc: "The operator accepted another issuer." },
    Happening { action: "clock.accept", doc: "The operator accepted a clock that was set back." },
];

/// Ensures that an active key exists and that its successor is published. The imported key becomes
/// active when no key is.
pub async fn prepare(
    app: &App,
    file: Option<&Path>,
    passphrase: Option<&Secret<String>>,
) -> anyhow::Result<()> {
    if let Some(path) = file {
        let imported = import_file(app, path, passphrase).await?;
        if let Some(at) = imported.activate_at {
            let kid = imported.kid;
            let at = at.to_rfc3339_opts(SecondsFormat::Secs, true);
            tracing::info!(kid, %at, "the imported key is published, and signs from that instant");
        }
    }
    let mut tx = app.db.read();
    let active = store::active(&mut tx).await?;
    drop(tx);
    if active.is_none() {
        let key = custody::make(app, KeySettings::of(app).bits).await?;
        // When replicas start together, one of them creates the key.
        insert_key(app, key.as_ref(), InitialState::in_state(KeyState::Active), "keys.create")
            .await?;
    }
    rotation::tick(app).await?;
    Keyring::of(app).refresh(app).await
}

/// The result of the import of a key.
pub struct Imported {
    pub kid: String,
    /// The instant at which the key becomes active automatically; `None` if it is active.
    pub activate_at: Option<DateTime<Utc>>,
}

/// Imports a PEM file. The first key of an installation becomes active at once. Any other key is
/// published, and becomes active when every data plane has had time to fetch it.
pub async fn import_file(
    app: &App,
    path: &Path,
    passphrase: Option<&Secret<String>>,
) -> anyhow::Result<Imported> {
    let refused = || refusal(path);
    let text = read_file(path)?;
    let key = import::read_pem(&text, passphrase).with_context(refused)?;
    let kid = key.jwk().kid.clone();
    let mut tx = app.db.read();
    let known = store::all(&mut tx).await?;
    drop(tx);
    if let Some(row) = known.iter().find(|row| row.kid == kid) {
        anyhow::ensure!(
            matches!(row.state, KeyState::Active | KeyState::Published),
            "{}: the key exists already; it is {}, and a key cannot be imported twice",
            refused(),
            row.state
        );
        return Ok(Imported { kid, activate_at: row.activate_at });
    }
    let is_first = !known.iter().any(|row| row.state == KeyState::Active);
    let activate_at = (!is_first).then(|| app.clock.now() + KeySettings::of(app).propagation());
    let state = if is_first { KeyState::Active } else { KeyState::Published };
    insert_key(app, &key, InitialState { state, activate_at, reason: None }, "keys.import").await?;
    Keyring::of(app).refresh(app).await?;
    Ok(Imported { kid, activate_at })
}

/// Reads the text of a file with a private key, which only its owner may be able to read.
pub fn read_file(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let refused = || refusal(path);
    let text = crate::kernel::files::read_private(path).with_context(refused)?;
    let is_der = pem::is_der(&text);
    let text = String::from_utf8(text).map_err(|error| {
        // The error contains the file's bytes, which must be wiped.
        drop(Zeroizing::new(error.into_bytes()));
        let why = match is_der {
            true => {
                "it is DER; convert it with `openssl pkey -inform DER -in OLD.der -out NEW.pem`"
            }
            false => "it is not UTF-8 text",
        };
        anyhow::anyhow!("{}: {why}", refused())
    })?;
    Ok(Zeroizing::new(text))
}

fn refusal(path: &Path) -> String {
    format!("the signing key {} is refused", path.display())
}

async fn insert_key(
    app: &App,
    key: &dyn Signer,
    initial: InitialState,
    action: &'static str,
) -> anyhow::Result<()> {
    let (mut cx, state) = (app.change(Caller::system("server")).await?, initial.state);
    if store::insert(app, &mut cx.tx, cx.now, key, initial).await? {
        let kid = key.jwk().kid.clone();
        cx.audit.after = Some(json!({"kid": kid, "state": state}));
        cx.finish(action, None, ("signing key", kid), Effect::Parts).await?;
    }
    Ok(())
}
