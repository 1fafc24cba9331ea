//! The file: a manifest that says what is in it, and the rows.
//!
//! # Design
//! The first 16 KiB are the manifest, one JSON object and blanks up to a line break, so that `head -1`
//! shows it. Then comes a gzip stream of lines: `{"table": …}`, and an array for each of its rows. The
//! manifest has the hash and the length of that stream, and is itself sealed under the
//! key-encryption key: whoever does not have that key can neither change an archive nor make one up.
//! What was sealed in the database stays so; the key-encryption key is in no backup.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::{Context, anyhow, bail, ensure};
use aws_lc_rs::digest::{self, SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use super::tables::{Batch, Cell, Table};
use crate::kernel::clock::Random;
use crate::kernel::secret::{Kek, hex, sha256};

/// The version of this format.
const FORMAT: u32 = 1;
/// How many bytes the manifest takes.
const HEAD: usize = 16 * 1024;
/// What the seal of a manifest is bound to.
const PURPOSE: &str = "backup manifest";
/// How many bytes of lines are compressed together.
const PART: usize = 256 * 1024;
/// How many parts or batches one thread is ahead of the other.
const PARTS: usize = 4;
/// The longest line; a row of the largest JSON documents is far below it.
const MAX_LINE: u64 = 64 << 20;

/// What an archive says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// `cp-server` and its version.
    pub product: String,
    pub created_at: DateTime<Utc>,
    /// Which database it is of: `sqlite` or `postgresql`.
    pub database: String,
    /// The migrations that the database had.
    pub schema: Vec<i64>,
    /// The log's head, when there is one: up to here its events are in the archive.
    pub log: Option<LogHead>,
    pub tables: Vec<TableHead>,
    /// The check value of the key-encryption key, which only that key opens.
    pub kek_check: String,
    /// Of the rows, compressed as they are.
    pub contents_bytes: u64,
    pub contents_sha256: String,
    /// Everything above, sealed under the key-encryption key.
    #[serde(default)]
    pub seal: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogHead {
    pub size: u64,
    /// Hex.
    pub root: String,
    /// The last one that was signed, which may be of a smaller tree.
    pub checkpoint: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableHead {
    pub name: String,
    pub columns: Vec<String>,
    pub rows: u64,
}

#[derive(Serialize, Deserialize)]
struct Begin {
    table: String,
}

impl Manifest {
    pub fn new(product: String, created_at: DateTime<Utc>, database: &str) -> Self {
        Self {
            format: FORMAT,
            product,
            created_at,
            database: database.to_owned(),
            schema: Vec::new(),
            log: None,
            tables: Vec::new(),
            kek_check: String::new(),
            contents_bytes: 0,
            contents_sha256: String::new(),
            seal: String::new(),
        }
    }

    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows).sum()
    }

    fn digest(&self) -> anyhow::Result<[u8; 32]> {
        let unsealed = Self { seal: String::new(), ..self.clone() };
        Ok(sha256(&serde_json::to_vec(&unsealed)?))
    }

    /// Whether it was made under this key-encryption key, and is as it was made.
    pub fn check_seal(&self, kek: &Kek, check: &str) -> anyhow::Result<()> {
        let value = STANDARD.decode(&self.kek_check)?;
        if kek.open(check, &value).is_none() {
            bail!(
                "the key-encryption key is not the one of this backup; put the one that the backup \
                 was made under into CP_KEY_ENCRYPTION_KEY or the file kek in CP_KEYS_DIR (after \
                 `keys rekey` it is beside it, as kek.old)"
            );
        }
        let sealed = kek.open(PURPOSE, &STANDARD.decode(&self.seal)?);
        ensure!(
            sealed.is_some_and(|digest| *digest == self.digest().unwrap_or_default()),
            "the manifest was changed after the backup was made"
        );
        Ok(())
    }
}

/// Writes an archive into an empty file. Another thread compresses what this one has put into lines.
pub struct Writer {
    lines: Vec<u8>,
    to_file: mpsc::SyncSender<Vec<u8>>,
    compressing: JoinHandle<std::io::Result<Hashing>>,
    manifest: Manifest,
}

/// Hashes and counts what it passes on.
struct Hashing {
    file: BufWriter<File>,
    hash: digest::Context,
    bytes: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Writer {
    pub fn new(file: File, manifest: Manifest) -> anyhow::Result<Self> {
        let mut file = BufWriter::new(file);
        file.write_all(&[b' '; HEAD])?;
        let hashing = Hashing { file, hash: digest::Context::new(&SHA256), bytes: 0 };
        let (to_file, lines) = mpsc::sync_channel::<Vec<u8>>(PARTS);
        let compressing = std::thread::spawn(move || {
            // Most of a row is sealed or random: more effort costs time and saves nothing.
            let mut rows = GzEncoder::new(hashing, Compression::fast());
            for part in lines {
                rows.write_all(&part)?;
            }
            rows.finish()
        });
        Ok(Self { lines: Vec::with_capacity(PART), to_file, compressing, manifest })
    }

    pub fn begin(&mut self, table: &Table) -> anyhow::Result<()> {
        let columns = table.columns.iter().map(|column| column.name.clone()).collect();
        self.manifest.tables.push(TableHead { name: table.name.clone(), columns, rows: 0 });
        self.line(&Begin { table: table.name.clone() })
    }

    pub fn row(&mut self, cells: &[Cell]) -> anyhow::Result<()> {
        if let Some(table) = self.manifest.tables.last_mut() {
            table.rows += 1;
        }
        self.line(&cells)
    }

    fn line(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer(&mut self.lines, value)?;
        self.lines.push(b'\n');
        if self.lines.len() >= PART {
            let part = std::mem::replace(&mut self.lines, Vec::with_capacity(PART));
            // The other thread has ended only if it failed, which `finish` reports.
            let _ = self.to_file.send(part);
        }
        Ok(())
    }

    /// Writes the manifest; the file is on the disk then.
    pub fn finish(self, kek: &Kek, random: &Random) -> anyhow::Result<Manifest> {
        let Self { lines, to_file, compressing, mut manifest } = self;
        let _ = to_file.send(lines);
        drop(to_file);
        let compressed = compressing.join().map_err(|_| anyhow!("the compression panicked"))?;
        let Hashing { file, hash, bytes } = compressed?;
        manifest.contents_bytes = bytes;
        manifest.contents_sha256 = hex(hash.finish().as_ref());
        let sealed = kek.seal(random, PURPOSE, &manifest.digest()?);
        manifest.seal = STANDARD.encode(sealed);
        let mut text = serde_json::to_vec(&manifest)?;
        ensure!(text.len() < HEAD, "the manifest has more than {HEAD} bytes");
        text.resize(HEAD - 1, b' ');
        text.push(b'\n');
        let mut file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.seek(SeekFrom::Start(0))?;
        file.write_all(&text)?;
        file.sync_all()?;
        Ok(manifest)
    }
}

/// An archive whose manifest was read.
pub struct Archive {
    file: File,
    pub manifest: Manifest,
}

impl Archive {
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let mut file =
            File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut head = vec![0; HEAD];
        let not_one = || format!("{} is not a backup of this product", path.display());
        file.read_exact(&mut head).with_context(not_one)?;
        let manifest: serde_json::Value = serde_json::from_slice(&head).with_context(not_one)?;
        let format = manifest["format"].as_u64();
        ensure!(
            format == Some(FORMAT.into()),
            "{} has format {}; this version knows {FORMAT}: use a newer one",
            path.display(),
            format.map_or_else(|| "none".to_owned(), |format| format.to_string())
        );
        Ok(Self { file, manifest: serde_json::from_value(manifest).with_context(not_one)? })
    }

    /// Whether the rows are as they were written: their hash, their number, and that each can be read.
    pub async fn check(&mut self) -> anyhow::Result<()> {
        self.check_hash()?;
        self.each(async |_, _| Ok(())).await
    }

    /// Whether the rows are the bytes that were written. No row is believed before this.
    pub fn check_hash(&mut self) -> anyhow::Result<()> {
        self.file.seek(SeekFrom::Start(HEAD as u64))?;
        let mut hash = digest::Context::new(&SHA256);
        let mut rest = BufReader::with_capacity(1 << 20, &self.file);
        let mut bytes = 0;
        loop {
            let part = rest.fill_buf()?;
            if part.is_empty() {
                break;
            }
            hash.update(part);
            let length = part.len();
            bytes += length as u64;
            rest.consume(length);
        }
        let Manifest { contents_bytes, contents_sha256, .. } = &self.manifest;
        ensure!(
            bytes == *contents_bytes && hex(hash.finish().as_ref()) == *contents_sha256,
            "the backup is damaged: its {bytes} bytes of rows are not the {contents_bytes} that \
             were written"
        );
        Ok(())
    }

    /// Passes on the rows of every table, some at a time.
    pub async fn each(
        &mut self,
        mut then: impl AsyncFnMut(&TableHead, Batch) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut rows = self.rows()?;
        for (at, table) in self.manifest.tables.iter().enumerate() {
            while let Some(batch) = rows.next(at).await {
                then(table, batch).await?;
            }
        }
        rows.finish()
    }

    /// Begins to read the rows. Another thread reads ahead.
    pub fn rows(&mut self) -> anyhow::Result<Rows> {
        self.file.seek(SeekFrom::Start(HEAD as u64))?;
        let (file, tables) = (self.file.try_clone()?, self.manifest.tables.clone());
        let (give, batches) = tokio::sync::mpsc::channel(PARTS);
        let reading = std::thread::spawn(move || read_batches(&file, &tables, &give));
        Ok(Rows { batches, ahead: None, reading })
    }
}

/// The rows of an archive, table by table.
pub struct Rows {
    /// Each with the place of its table.
    batches: tokio::sync::mpsc::Receiver<(usize, Batch)>,
    ahead: Option<(usize, Batch)>,
    reading: JoinHandle<anyhow::Result<()>>,
}

impl Rows {
    /// The next rows of the table at this place. `None` after the last ones, and where reading failed,
    /// which [`Self::finish`] reports.
    pub async fn next(&mut self, at: usize) -> Option<Batch> {
        if self.ahead.is_none() {
            self.ahead = self.batches.recv().await;
        }
        let (_, batch) = self.ahead.take_if(|(of, _)| *of == at)?;
        Some(batch)
    }

    /// Whether all rows were read.
    pub fn finish(self) -> anyhow::Result<()> {
        let Self { batches, reading, .. } = self;
        drop(batches);
        reading.join().map_err(|_| anyhow!("the reader of the backup panicked"))?
    }
}

/// Sends the rows of each table.
fn read_batches(
    file: &File,
    tables: &[TableHead],
    give: &tokio::sync::mpsc::Sender<(usize, Batch)>,
) -> anyhow::Result<()> {
    let mut lines = BufReader::with_capacity(1 << 20, MultiGzDecoder::new(BufReader::new(file)));
    let mut line = Vec::new();
    let mut next = |line: &mut Vec<u8>| -> anyhow::Result<bool> {
        line.clear();
        let length = (&mut lines).take(MAX_LINE).read_until(b'\n', line)?;
        ensure!(length == 0 || line.ends_with(b"\n"), "the backup ends in the middle of a row");
        Ok(length > 0)
    };
    for (at, table) in tables.iter().enumerate() {
        ensure!(next(&mut line)?, "the backup ends before {}", table.name);
        let begun: Begin = serde_json::from_slice(&line).context("a table's line")?;
        ensure!(begun.table == table.name, "{} is where {} should be", begun.table, table.name);
        let (mut left, width) = (table.rows, table.columns.len());
        while left > 0 {
            let mut batch = Batch::new(width);
            while left > 0 && !batch.is_full() {
                ensure!(next(&mut line)?, "the backup ends within {}", table.name);
                batch.read(&line).with_context(|| format!("a row of {}", table.name))?;
                left -= 1;
            }
            // No caller takes them any more when writing them failed, which is reported there.
            if give.blocking_send((at, batch)).is_err() {
                return Ok(());
            }
        }
    }
    ensure!(!next(&mut line)?, "the backup has more rows than its manifest says");
    Ok(())
}
