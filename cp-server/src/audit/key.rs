//! The log's own key: Ed25519 (RFC 8032), sealed under the key-encryption key.
//!
//! It signs checkpoints and nothing else. Its name is the log's origin: where the log was first
//! served. Both last as long as the log: whoever keeps checkpoints knows it by them.

use anyhow::Context;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use signed_note::{Note, Signer, StandardSigner, StandardVerifier, VerifierList, key_id};
use tlog_tiles::{Checkpoint, Hash};
use zeroize::Zeroizing;

use crate::App;
use crate::kernel::db::Conn;
use crate::kernel::secret::Kek;
use crate::kernel::table::BASE;
use crate::kernel::{installation, kek};

const KEY: &str = "log key";
const ORIGIN: &str = "log origin";
const PURPOSE: &str = "log key v1";
/// What stands before an Ed25519 key in a note's texts (C2SP signed-note).
const ED25519: u8 = 1;

pub struct LogKey {
    origin: String,
    signer: StandardSigner,
    verifier: String,
}

/// A checkpoint that the log's key signed.
#[derive(Clone, Debug)]
pub struct Signed {
    pub size: u64,
    pub root: Hash,
    /// The signed note (C2SP tlog-checkpoint).
    pub note: String,
}

impl LogKey {
    /// # Errors
    /// When the origin is no name of a key: empty, or with blanks or a `+`.
    fn new(origin: String, seed: &[u8]) -> anyhow::Result<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed)?;
        let encoded = |key: &[u8]| Zeroizing::new(STANDARD.encode([&[ED25519], key].concat()));
        let public = pair.public_key().as_ref();
        let id = key_id(&origin, &[&[ED25519], public].concat());
        let text = Zeroizing::new(format!("PRIVATE+KEY+{origin}+{id:08x}+{}", *encoded(seed)));
        let signer = StandardSigner::new(&text)
            .with_context(|| format!("{origin:?} cannot name the log's key"))?;
        let verifier = format!("{origin}+{id:08x}+{}", *encoded(public));
        Ok(Self { origin, signer, verifier })
    }

    /// What verifies the log's checkpoints (C2SP signed-note): `name+hash+base64`.
    pub fn verifier(&self) -> &str {
        &self.verifier
    }

    pub fn sign(&self, size: u64, root: Hash) -> anyhow::Result<Signed> {
        let text = format!("{}\n{size}\n{root}\n", self.origin);
        let mut note = Note::new(text.as_bytes(), &[])?;
        note.add_sigs(&[&self.signer as &dyn Signer])?;
        Ok(Signed { size, root, note: String::from_utf8(note.to_bytes())? })
    }

    /// Reads a checkpoint that this key signed.
    pub fn read(&self, note: &str) -> anyhow::Result<Signed> {
        let parsed = Note::from_bytes(note.as_bytes()).context("it is no signed note")?;
        let verifier = StandardVerifier::new(&self.verifier).context("the log's own key")?;
        parsed
            .verify(&VerifierList::new(vec![Box::new(verifier)]))
            .context("the log's key did not sign it")?;
        let checkpoint = Checkpoint::from_bytes(parsed.text())
            .map_err(|_| anyhow::anyhow!("it is no checkpoint"))?;
        anyhow::ensure!(checkpoint.origin() == self.origin, "it is another log's checkpoint");
        Ok(Signed { size: checkpoint.size(), root: *checkpoint.hash(), note: note.to_owned() })
    }
}

/// Makes the key where there is none. The caller holds the tree.
pub async fn make(app: &App, tx: &mut Conn) -> anyhow::Result<()> {
    kek::hold(app, tx).await?;
    let seed = Zeroizing::new(app.random.bytes::<32>());
    // The log's address without the scheme, as C2SP tlog-tiles recommends.
    let base = &app.settings.base_url;
    let host = base.split_once("://").map_or(base.as_str(), |(_, rest)| rest);
    let origin = format!("{host}{BASE}/log");
    LogKey::new(origin.clone(), seed.as_slice())?;
    let sealed = app.kek.seal(&app.random, PURPOSE, seed.as_slice());
    installation::set_first(tx, KEY, &sealed).await?;
    installation::set_first(tx, ORIGIN, origin.as_bytes()).await?;
    Ok(())
}

pub async fn is_made(tx: &mut Conn) -> anyhow::Result<bool> {
    Ok(installation::value(tx, KEY).await?.is_some())
}

pub async fn load(kek: &Kek, tx: &mut Conn) -> anyhow::Result<LogKey> {
    let sealed = installation::value(tx, KEY).await?.context("the log has not begun")?;
    let origin = installation::value(tx, ORIGIN).await?.context("the log has no origin")?;
    let seed = kek
        .open(PURPOSE, &sealed)
        .context("the log key does not open with the key-encryption key")?;
    LogKey::new(String::from_utf8(origin)?, &seed)
}

/// Seals the key anew.
pub async fn reseal(app: &App, tx: &mut Conn, new: &Kek) -> anyhow::Result<()> {
    let Some(sealed) = installation::value(tx, KEY).await? else { return Ok(()) };
    let sealed = app
        .kek
        .reseal(new, &app.random, PURPOSE, &sealed)
        .context("the log key does not open with the key-encryption key")?;
    Ok(installation::replace(tx, KEY, &sealed).await?)
}
