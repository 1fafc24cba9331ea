//! The log's own key: Ed25519 (RFC 8032), sealed under the key-encryption key.
//!
//! It signs checkpoints and nothing else. Its name is the origin of the log: the address at which
//! the log was first served. The name lasts as long as the log; another key may replace the key
//! ([`rotation`](super::rotation)).

use anyhow::Context;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use signed_note::{Note, Signer, StandardSigner, StandardVerifier, Verifier, VerifierList, key_id};
use tlog_tiles::{Checkpoint, Hash};
use zeroize::Zeroizing;

use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::http::line::BASE;
use crate::kernel::secret::Kek;
use crate::kernel::{db::installation, kek};

const KEY: &str = "log key";
/// The previous key, while it still signs.
const BEFORE: &str = "log key before";
/// The public keys of a log that has had more than one: one per line, the newest last.
const KEYS: &str = "log keys";
const ORIGIN: &str = "log origin";
/// The suffix of a public key that no longer signs.
const RETIRED: &str = " retired";
/// The purpose that sealed every log key in earlier versions, before each seal was bound to its
/// row.
const BEFORE_ROWS: &str = "log key v1";
/// The type byte of an Ed25519 key in a signed note (C2SP signed-note).
const ED25519: u8 = 1;

pub struct LogKey {
    origin: String,
    /// The signing keys: the current key, and for some time also the previous one.
    pairs: Vec<Pair>,
    /// The stored list of public keys.
    known: Option<String>,
}

struct Pair {
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

impl Pair {
    /// # Errors
    /// Fails when the origin is not a valid key name: empty, or with blanks or a `+`.
    fn new(origin: &str, seed: &[u8]) -> anyhow::Result<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed)?;
        let encoded = |key: &[u8]| Zeroizing::new(STANDARD.encode([&[ED25519], key].concat()));
        let public = pair.public_key().as_ref();
        let id = key_id(origin, &[&[ED25519], public].concat());
        let text = Zeroizing::new(format!("PRIVATE+KEY+{origin}+{id:08x}+{}", *encoded(seed)));
        let signer = StandardSigner::new(&text)
            .with_context(|| format!("{origin:?} is not a valid name for the log's key"))?;
        let verifier = format!("{origin}+{id:08x}+{}", *encoded(public));
        Ok(Self { signer, verifier })
    }
}

impl LogKey {
    /// Returns the key that verifies the log's checkpoints (C2SP signed-note): `name+hash+base64`.
    pub fn verifier(&self) -> &str {
        self.pairs.first().map_or("", |pair| &pair.verifier)
    }

    pub(super) fn has_one_before(&self) -> bool {
        self.pairs.len() > 1
    }

    pub fn sign(&self, size: u64, root: Hash) -> anyhow::Result<Signed> {
        let text = format!("{}\n{size}\n{root}\n", self.origin);
        let mut note = Note::new(text.as_bytes(), &[])?;
        let signers: Vec<_> = self.pairs.iter().map(|pair| &pair.signer as &dyn Signer).collect();
        note.add_sigs(&signers)?;
        Ok(Signed { size, root, note: String::from_utf8(note.to_bytes())? })
    }

    /// Reads a checkpoint that a key signed which still signs: the current one or the previous one.
    pub fn read(&self, note: &str) -> anyhow::Result<Signed> {
        self.read_by(note, self.pairs.iter().map(|pair| &*pair.verifier))
    }

    /// Reads a checkpoint that was kept elsewhere. Any key of this log may have signed it.
    pub fn read_kept(&self, note: &str) -> anyhow::Result<Signed> {
        let known = self.known.iter().flat_map(|known| known.lines());
        let known = known.filter_map(|line| line.strip_suffix(RETIRED));
        self.read_by(note, self.pairs.iter().map(|pair| &*pair.verifier).chain(known))
    }

    fn read_by<'a>(
        &self,
        note: &str,
        keys: impl Iterator<Item = &'a str>,
    ) -> anyhow::Result<Signed> {
        let parsed = Note::from_bytes(note.as_bytes()).context("this is not a signed note")?;
        let mut verifiers: Vec<Box<dyn Verifier>> = Vec::new();
        for key in keys {
            verifiers.push(Box::new(StandardVerifier::new(key).context("the log's own key")?));
        }
        parsed.verify(&VerifierList::new(verifiers)).context("the log's key did not sign it")?;
        let checkpoint = Checkpoint::from_bytes(parsed.text())
            .map_err(|_| anyhow::anyhow!("this is not a checkpoint"))?;
        anyhow::ensure!(
            checkpoint.origin() == self.origin,
            "this checkpoint belongs to another log"
        );
        Ok(Signed { size: checkpoint.size(), root: *checkpoint.hash(), note: note.to_owned() })
    }
}

/// Creates the key if none exists. The caller holds the tree.
pub async fn make(app: &App, tx: &mut Conn) -> anyhow::Result<()> {
    kek::hold(app, tx).await?;
    // The log's address without the scheme, as C2SP tlog-tiles recommends.
    let base = &app.settings.base_url;
    let host = base.split_once("://").map_or(base.as_str(), |(_, rest)| rest);
    let origin = format!("{host}{BASE}/log");
    let (seed, _) = generate(app, &origin)?;
    let sealed = app.kek.seal(&app.random, &purpose(KEY, &origin), seed.as_slice());
    installation::set_first(tx, KEY, &sealed).await?;
    installation::set_first(tx, ORIGIN, origin.as_bytes()).await?;
    Ok(())
}

/// Generates a key. Returns its seed and its verifier.
fn generate(app: &App, origin: &str) -> anyhow::Result<(Zeroizing<[u8; 32]>, String)> {
    let seed = Zeroizing::new(app.random.bytes::<32>());
    let pair = Pair::new(origin, seed.as_slice())?;
    Ok((seed, pair.verifier))
}

/// The purpose of a seal. It binds a key to its row, so that the previous key cannot replace the
/// current one. It also binds the key to its log, so that the key of another log cannot.
fn purpose(row: &str, origin: &str) -> String {
    format!("{row} of {origin} v2")
}

/// Opens a stored key. Keys of earlier versions open with the purpose that they all shared.
fn open(kek: &Kek, row: &str, origin: &str, sealed: &[u8]) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let opened = kek.open(&purpose(row, origin), sealed);
    let opened = opened.or_else(|| kek.open(BEFORE_ROWS, sealed));
    opened.with_context(|| format!("installation: the {row} cannot be opened; see `audit verify`"))
}

/// Replaces the log's key with a new one; the replaced key becomes the previous key.
pub(super) async fn follow(app: &App, tx: &mut Conn, key: &LogKey) -> anyhow::Result<()> {
    kek::hold(app, tx).await?;
    let before = installation::value(tx, KEY).await?.context("the log has not begun")?;
    let before = open(&app.kek, KEY, &key.origin, &before)?;
    let before = app.kek.seal(&app.random, &purpose(BEFORE, &key.origin), &before);
    let (seed, verifier) = generate(app, &key.origin)?;
    let sealed = app.kek.seal(&app.random, &purpose(KEY, &key.origin), seed.as_slice());
    installation::set_first(tx, BEFORE, &before).await?;
    installation::replace(tx, KEY, &sealed).await?;
    let known = key.known.clone().unwrap_or_else(|| format!("{}\n", key.verifier()));
    keep_known(tx, format!("{known}{verifier}\n")).await
}

/// Ends the signatures of the previous key.
pub(super) async fn retire_before(tx: &mut Conn, key: &LogKey) -> anyhow::Result<()> {
    installation::remove(tx, BEFORE).await?;
    let lines = key.known.iter().flat_map(|known| known.lines());
    let retired = lines.map(|line| match line == key.verifier() || line.ends_with(RETIRED) {
        true => format!("{line}\n"),
        false => format!("{line}{RETIRED}\n"),
    });
    keep_known(tx, retired.collect()).await
}

async fn keep_known(tx: &mut Conn, known: String) -> anyhow::Result<()> {
    installation::set_first(tx, KEYS, known.as_bytes()).await?;
    Ok(installation::replace(tx, KEYS, known.as_bytes()).await?)
}

/// Checks whether the stored keys are still those that were loaded.
pub(super) async fn is_current(tx: &mut Conn, key: &LogKey) -> anyhow::Result<bool> {
    Ok(known(tx).await? == key.known)
}

async fn known(tx: &mut Conn) -> anyhow::Result<Option<String>> {
    let known = installation::value(tx, KEYS).await?;
    Ok(known.map(String::from_utf8).transpose()?)
}

pub async fn is_made(tx: &mut Conn) -> anyhow::Result<bool> {
    Ok(installation::value(tx, KEY).await?.is_some())
}

pub async fn load(kek: &Kek, tx: &mut Conn) -> anyhow::Result<LogKey> {
    let known = known(tx).await?;
    let origin = origin(tx).await?;
    let mut pairs = Vec::new();
    for row in [KEY, BEFORE] {
        let Some(sealed) = installation::value(tx, row).await? else { continue };
        pairs.push(Pair::new(&origin, &open(kek, row, &origin, &sealed)?)?);
    }
    anyhow::ensure!(is_made(tx).await?, "the log has not begun");
    Ok(LogKey { pairs, origin, known })
}

async fn origin(tx: &mut Conn) -> anyhow::Result<String> {
    let origin = installation::value(tx, ORIGIN).await?.context("the log has not begun")?;
    Ok(String::from_utf8(origin)?)
}

/// Seals the keys again, under another key-encryption key or under the same one.
pub async fn reseal(app: &App, tx: &mut Conn, new: &Kek) -> anyhow::Result<()> {
    if !is_made(tx).await? {
        return Ok(());
    }
    let origin = origin(tx).await?;
    for row in [KEY, BEFORE] {
        let Some(sealed) = installation::value(tx, row).await? else { continue };
        let seed = open(&app.kek, row, &origin, &sealed)?;
        let sealed = new.seal(&app.random, &purpose(row, &origin), &seed);
        installation::replace(tx, row, &sealed).await?;
    }
    Ok(())
}

/// Binds the keys of earlier versions to their rows.
pub async fn bind(app: &App) -> anyhow::Result<()> {
    let mut tx = app.db.read();
    let mut is_bound = true;
    for row in [KEY, BEFORE] {
        let sealed = installation::value(&mut tx, row).await?;
        is_bound &= sealed.is_none_or(|sealed| app.kek.open(BEFORE_ROWS, &sealed).is_none());
    }
    drop(tx);
    if is_bound {
        return Ok(());
    }
    let mut tx = app.db.begin().await?;
    kek::hold(app, &mut tx).await?;
    reseal(app, &mut tx, &app.kek).await?;
    tx.commit().await?;
    Ok(())
}
