//! The backup file: a manifest of its contents, and the rows.
//!
//! # Design
//!
//! The first 16 KiB are the manifest: one JSON object, padded with blanks up to a line break, so
//! that `head -1` shows it. A gzip stream of lines follows: `{"table": …}`, then one array per row.
//! The manifest contains the hash and the length of that stream, and is sealed under the
//! key-encryption key. An archive cannot be changed or forged without that key. Values that are
//! sealed in the database stay sealed; no backup contains the key-encryption key.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::{Context, anyhow, ensure};
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
/// The size of the manifest in bytes.
const HEAD: usize = 16 * 1024;
/// The purpose of a manifest's seal.
const PURPOSE: &str = "backup manifest";
/// The number of bytes that are compressed together.
const PART: usize = 256 * 1024;
/// The number of parts or batches that one thread may be ahead of the other.
const PARTS: usize = 4;
/// The longest line; a row with the largest JSON documents is much shorter.
const MAX_LINE: u64 = 64 << 20;

/// The manifest of an archive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format: u32,
    /// `cp-server` and its version.
    pub product: String,
    pub created_at: DateTime<Utc>,
    /// The kind of database: `sqlite` or `postgresql`.
    pub database: String,
    /// The migrations that the database had.
    pub schema: Vec<i64>,
    /// The head of the log, if it has begun. The archive contains all events up to it.
    pub log: Option<LogHead>,
    pub tables: Vec<TableHead>,
    /// The check value of the key-encryption key; only that key opens it.
    pub kek_check: String,
    /// The length of the compressed rows.
    pub contents_bytes: u64,
    pub contents_sha256: String,
    /// The digest of all members above, sealed under the key-encryption key.
    #[serde(default)]
    pub seal: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogHead {
    pub size: u64,
    /// Hex.
    pub root: String,
    /// The last signed checkpoint; its tree may be smaller.
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

    /// Whether the backup was made under this key-encryption key.
    pub fn is_sealed_under(&self, kek: &Kek, check: &str) -> bool {
        let value = STANDARD.decode(&self.kek_check);
        value.is_ok_and(|value| kek.open(check, &value).is_some())
    }

    /// Checks that the manifest was sealed under this key-encryption key and is unchanged.
    pub fn check_seal(&self, kek: &Kek, check: &str) -> anyhow::Result<()> {
        ensure!(
            self.is_sealed_under(kek, check),
            "this is not the key-encryption key of this backup; provide the key that was in use \
             when the backup was created, in CP_KEY_ENCRYPTION_KEY_FILE (`keys rekey` keeps old keys \
             in CP_KEYS_DIR, as kek.old, kek.old.2 and so on)"
        );
        let sealed = kek.open(PURPOSE, &STANDARD.decode(&self.seal)?);
        ensure!(
            sealed.is_some_and(|digest| *digest == self.digest().unwrap_or_default()),
            "the manifest was changed after the backup was created"
        );
        Ok(())
    }
}

/// Writes an archive into an empty file. A second thread compresses the lines.
pub struct Writer {
    lines: Vec<u8>,
    to_file: mpsc::SyncSender<Vec<u8>>,
    compressing: JoinHandle<std::io::Result<Hashing>>,
    manifest: Manifest,
}

/// A writer that hashes and counts the bytes that it passes on.
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
            // Most of a row is sealed or random: better compression costs time and saves nothing.
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
            // The other thread ends early only on a failure, which `finish` reports.
            let _ = self.to_file.send(part);
        }
        Ok(())
    }

    /// Writes the manifest and syncs the file.
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

/// An archive whose manifest has been read.
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
            "{} has format {}, but this version reads format {FORMAT}: use a newer version",
            path.display(),
            format.map_or_else(|| "none".to_owned(), |format| format.to_string())
        );
        Ok(Self { file, manifest: serde_json::from_value(manifest).with_context(not_one)? })
    }

    /// Checks the hash and the number of the rows, and that each row can be read.
    pub async fn check(&mut self) -> anyhow::Result<()> {
        self.check_hash()?;
        self.each(async |_, _| Ok(())).await
    }

    /// Checks that the rows are the bytes that were written. Callers trust no row before this check.
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
            "the backup is damaged: it has {bytes} bytes of rows that differ from the \
             {contents_bytes} that were written"
        );
        Ok(())
    }

    /// Passes the rows of every table to `then`, in batches.
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

    /// Begins to read the rows. A second thread reads ahead.
    pub fn rows(&mut self) -> anyhow::Result<Rows> {
        self.file.seek(SeekFrom::Start(HEAD as u64))?;
        let (file, tables) = (self.file.try_clone()?, self.manifest.tables.clone());
        let (sender, batches) = tokio::sync::mpsc::channel(PARTS);
        let reading = std::thread::spawn(move || read_batches(&file, &tables, &sender));
        Ok(Rows { batches, ahead: None, reading })
    }
}

/// The rows of an archive, table by table.
pub struct Rows {
    /// Batches with the index of their table.
    batches: tokio::sync::mpsc::Receiver<(usize, Batch)>,
    ahead: Option<(usize, Batch)>,
    reading: JoinHandle<anyhow::Result<()>>,
}

impl Rows {
    /// Returns the next rows of the table with this index. Returns `None` after its last row, and after a
    /// failure, which [`Self::finish`] reports.
    pub async fn next(&mut self, table: usize) -> Option<Batch> {
        if self.ahead.is_none() {
            self.ahead = self.batches.recv().await;
        }
        let (_, batch) = self.ahead.take_if(|(of, _)| *of == table)?;
        Some(batch)
    }

    /// Checks that all rows were read.
    pub fn finish(self) -> anyhow::Result<()> {
        let Self { batches, reading, .. } = self;
        drop(batches);
        reading.join().map_err(|_| anyhow!("the reader of the backup panicked"))?
    }
}

/// Sends the rows of each table, with the table's index.
fn read_batches(
    file: &File,
    tables: &[TableHead],
    sender: &tokio::sync::mpsc::Sender<(usize, Batch)>,
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
        ensure!(
            begun.table == table.name,
            "found the table {} where {} should be",
            begun.table,
            table.name
        );
        let mut left = table.rows;
        while left > 0 {
            let mut batch = Batch::new(table.columns.len());
            while left > 0 && !batch.is_full() {
                ensure!(next(&mut line)?, "the backup ends within {}", table.name);
                batch.read(&line).with_context(|| format!("a row of {}", table.name))?;
                left -= 1;
            }
            // The receiver is gone if writing the rows failed; the writer reports that.
            if sender.blocking_send((at, batch)).is_err() {
                return Ok(());
            }
        }
    }
    ensure!(!next(&mut line)?, "the backup has more rows than its manifest says");
    Ok(())
}
