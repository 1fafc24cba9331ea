//! The body of an import: received into a file, then read line by line.

use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::http::request::Parts;
use cp_contracts::ProblemCode;
use futures_util::StreamExt;
use tempfile::SpooledTempFile;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::kernel::error::{Error, Result};

/// The largest body, in bytes.
const BODY_LIMIT: u64 = 64 * 1024 * 1024;
/// The largest line, in bytes.
const LINE_LIMIT: usize = 64 * 1024;
/// The size in bytes up to which a body stays in memory; a larger one is in a temporary file.
const IN_MEMORY: usize = 1024 * 1024;
/// The longest pause of a client that sends a body.
const PATIENCE: Duration = Duration::from_secs(30);
/// The most lines of a transaction.
const LINES: usize = 500;
/// The size in bytes at which a chunk ends before it has so many lines.
const CHUNK: usize = 1024 * 1024;

/// One line, without its end.
pub struct Text {
    /// The number of the line in the file, from 1.
    pub line: u64,
    /// `None` for a line that is too long.
    pub bytes: Option<Vec<u8>>,
}

impl Text {
    pub fn too_long() -> Error {
        let detail = format!("The line must have at most {LINE_LIMIT} bytes.");
        Error::new(ProblemCode::TooLarge, detail)
    }
}

/// Refuses a body of another media type, and one that is announced as too large.
pub fn check(parts: &Parts) -> Result<()> {
    let header = |name| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let length = header(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| length > BODY_LIMIT) {
        return Err(too_large());
    }
    let media_type = header(header::CONTENT_TYPE).unwrap_or("application/x-ndjson");
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match &*essence {
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/json" => Ok(()),
        _ => {
            let detail = "Send the body as lines of JSON in UTF-8, with `Content-Type: \
                          application/x-ndjson`.";
            Err(Error::new(ProblemCode::UnsupportedMediaType, detail))
        }
    }
}

fn too_large() -> Error {
    let detail = format!("The body must have at most {BODY_LIMIT} bytes. Split the file.");
    Error::new(ProblemCode::TooLarge, detail)
}

/// A received body.
pub struct Spool {
    file: BufReader<SpooledTempFile>,
    line: u64,
}

impl Spool {
    /// Receives the whole body.
    pub async fn receive(body: Body) -> Result<Self> {
        let mut file = SpooledTempFile::new(IN_MEMORY);
        let mut arriving = body.into_data_stream();
        let (mut size, mut part) = (0, Vec::new());
        loop {
            let bytes = timeout(PATIENCE, arriving.next()).await.map_err(|_| {
                Error::new(ProblemCode::Timeout, "The client stopped sending the body.")
            })?;
            match bytes {
                Some(bytes) => {
                    let bytes = bytes.map_err(|_| Error::bad_request("The body is incomplete."))?;
                    size += bytes.len() as u64;
                    if size > BODY_LIMIT {
                        return Err(too_large());
                    }
                    part.extend_from_slice(&bytes);
                    if part.len() >= IN_MEMORY {
                        file = write(file, std::mem::take(&mut part)).await?;
                    }
                }
                None => break,
            }
        }
        let mut file = write(file, part).await?;
        file.rewind().map_err(unwritable)?;
        Ok(Self { file: BufReader::new(file), line: 0 })
    }

    /// Reads the lines of the next transaction; none at the end. Blank lines are skipped.
    pub async fn chunk(mut self) -> Result<(Self, Vec<Text>)> {
        let read = spawn_blocking(move || {
            let (mut texts, mut size) = (Vec::new(), 0);
            while texts.len() < LINES && size < CHUNK {
                let Some(text) = self.next()? else { break };
                let Some(text) = text else { continue };
                size += text.bytes.as_ref().map_or(0, Vec::len);
                texts.push(text);
            }
            io::Result::Ok((self, texts))
        });
        read.await.map_err(Error::internal)?.map_err(Error::internal)
    }

    /// Reads a line; `Some(None)` for a blank one.
    fn next(&mut self) -> io::Result<Option<Option<Text>>> {
        let mut bytes = Vec::new();
        // One byte more than the limit, and the end of the line.
        let most = LINE_LIMIT as u64 + 2;
        if (&mut self.file).take(most).read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        self.line += 1;
        let line = self.line;
        if bytes.last() != Some(&b'\n') {
            self.file.skip_until(b'\n')?;
        }
        while bytes.last().is_some_and(u8::is_ascii_whitespace) {
            bytes.pop();
        }
        // Editors of some systems begin a file with a byte order mark.
        if line == 1 && bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
        }
        Ok(Some(match bytes.len() {
            0 => None,
            n if n > LINE_LIMIT => Some(Text { line, bytes: None }),
            _ => Some(Text { line, bytes: Some(bytes) }),
        }))
    }
}

async fn write(mut file: SpooledTempFile, part: Vec<u8>) -> Result<SpooledTempFile> {
    let written = spawn_blocking(move || file.write_all(&part).map(|()| file));
    written.await.map_err(Error::internal)?.map_err(unwritable)
}

fn unwritable(error: io::Error) -> Error {
    tracing::warn!(%error, "the body of an import cannot be stored in the folder for temporary files");
    Error::unavailable("The server has no room for the body; nothing was changed.", 30)
}
