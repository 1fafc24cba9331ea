//! The published log (C2SP tlog-tiles), for everyone and for caches in between.

use std::str::FromStr;

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use cp_contracts::ProblemCode;
use tlog_tiles::{Tile, stored_hash_index};
use uuid::Uuid;

use super::{checkpoints, proofs};
use crate::audit::Log;
use crate::kernel::app::Part;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Document;
use crate::kernel::http::raw::Raw;
use crate::kernel::journal::store;

crate::routes! {
    /// The tamper-evident log of all audit events, for auditors and data planes (C2SP tlog-tiles).
    log:
    /// Returns the log's newest checkpoint: a signed note (C2SP tlog-checkpoint).
    GET "/log/checkpoint" PUBLIC => checkpoint, raw
        returns "text/plain";
    /// Returns the key that verifies the log's checkpoints (C2SP signed-note): `name+hash+base64`.
    GET "/log/key" PUBLIC => key, raw
        returns "text/plain";
    /// Returns the proof that the issuance of a bundle, `?jti=`, is in the log (C2SP tlog-proof).
    /// Its `extra` is the leaf.
    GET "/log/proof" PUBLIC => proof, raw
        returns "text/plain";
    /// Returns the proof that the log of `?to=` leaves begins with the log of `?from=` (RFC 6962,
    /// section 2.1.2): one hash in base64 per line. The proof is empty when both sizes are equal or
    /// `from` is 0.
    GET "/log/consistency" PUBLIC => consistency, raw
        returns "text/plain";
    /// Returns a tile of hashes, `<L>/<N>[.p/<W>]`, or of leaves, `entries/<N>[.p/<W>]` (C2SP
    /// tlog-tiles).
    GET "/log/tile/{*path}" PUBLIC => tile, raw
        returns "application/octet-stream";
}

const TEXT: &str = "text/plain; charset=utf-8";
/// The cache policy of immutable documents.
const IMMUTABLE: &str = "public, max-age=31536000, immutable";
/// The height of a tile: a tile has 256 hashes.
const HEIGHT: u8 = 8;
const WIDTH: u64 = 1 << HEIGHT;

async fn checkpoint(raw: Raw) -> Result<Response> {
    let signed = checkpoints::current(&raw.app).await?;
    Ok(publish(&raw.parts.headers, Document::new(TEXT, "public, max-age=5", signed.note)))
}

async fn key(raw: Raw) -> Result<Response> {
    let key = Log::of(&raw.app).key(&raw.app, &mut raw.app.db.read()).await?;
    let text = format!("{}\n", key.verifier());
    Ok(publish(&raw.parts.headers, Document::new(TEXT, "public, max-age=3600", text)))
}

async fn proof(raw: Raw) -> Result<Response> {
    let jti: Uuid = argument(&raw, "jti")?;
    let included = proofs::of_bundle(&raw.app, jti).await?;
    let included = included.ok_or_else(|| {
        let detail = "The bundle is issued but not in the log yet; ask again soon.";
        Error::new(ProblemCode::NotFound, detail)
    })?;
    let document = Document::new(TEXT, "public, max-age=300", included.proof);
    Ok(publish(&raw.parts.headers, document))
}

async fn consistency(raw: Raw) -> Result<Response> {
    let (from, to): (u64, u64) = (argument(&raw, "from")?, argument(&raw, "to")?);
    let mut tx = raw.app.db.read();
    let size = store::tree(&mut tx).await?.size;
    if from > to || to > size {
        let detail =
            format!("`from` and `to` must satisfy from <= to <= {size}, the size of the log.");
        return Err(Error::new(ProblemCode::NotFound, detail).with("size", size));
    }
    let path = proofs::consistency(&mut tx, from, to).await?;
    let text: String = path.iter().map(|hash| format!("{hash}\n")).collect();
    Ok(publish(&raw.parts.headers, Document::new(TEXT, IMMUTABLE, text)))
}

async fn tile(raw: Raw) -> Result<Response> {
    let missing = || Error::not_found("tile");
    let path = raw.parts.uri.path().split_once("/log/tile/").map_or("", |(_, path)| path);
    let Named { level, n, width } = path.parse().map_err(|()| missing())?;
    let mut tx = raw.app.db.read();
    let size = store::tree(&mut tx).await?.size;
    // The number of hashes on the tile's level of the tree, and the end of the tile.
    let height = level.unwrap_or(0).checked_mul(u32::from(HEIGHT)).ok_or_else(missing)?;
    let on_level = size.checked_shr(height).unwrap_or(0);
    let first = n.checked_mul(WIDTH).ok_or_else(missing)?;
    let end = first.checked_add(width).ok_or_else(missing)?;
    if end > on_level {
        return Err(missing());
    }
    let bytes = match level {
        None => {
            let mut entries = Vec::new();
            for (seq, facts) in (first..).zip(store::facts_between(&mut tx, first, end).await?) {
                let leaf = facts.leaf(i64::try_from(seq).map_err(Error::internal)?);
                let length = u16::try_from(leaf.len()).map_err(Error::internal)?;
                entries.extend_from_slice(&length.to_be_bytes());
                entries.extend_from_slice(&leaf);
            }
            entries
        }
        Some(_) => {
            let height = u8::try_from(height).map_err(|_| missing())?;
            let indexes: Vec<u64> = (first..end).map(|n| stored_hash_index(height, n)).collect();
            let hashes = store::hashes(&mut tx, &indexes).await?;
            indexes.iter().flat_map(|idx| hashes[idx].0).collect()
        }
    };
    let document = Document::new("application/octet-stream", IMMUTABLE, bytes);
    Ok(publish(&raw.parts.headers, document))
}

/// A tile, parsed from its path.
struct Named {
    /// `None` for the leaves themselves.
    level: Option<u32>,
    n: u64,
    width: u64,
}

impl FromStr for Named {
    type Err = ();

    fn from_str(path: &str) -> Result<Self, ()> {
        let (level, rest) = path.split_once('/').ok_or(())?;
        // The crate's own form contains the height and calls entries data. It panics on numbers out
        // of range, so check them first.
        let (named, level) = match level {
            "entries" => ("data", 0),
            level => (level, level.parse::<u8>().map_err(drop)?),
        };
        let width = rest.split_once(".p/").map_or(Ok(1), |(_, width)| width.parse::<u8>());
        if level > 63 || width.map_err(drop)? == 0 {
            return Err(());
        }
        let tile = Tile::from_path(&format!("tile/{HEIGHT}/{named}/{rest}")).map_err(|_| ())?;
        let (n, width) = (tile.level_index(), u64::from(tile.width()));
        let level = (!tile.is_data()).then(|| u32::from(tile.level()));
        Ok(Self { level, n, width })
    }
}

fn publish(request: &HeaderMap, document: Document) -> Response {
    let mut response = document.render(request);
    let anywhere = HeaderValue::from_static("*");
    response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, anywhere);
    response.into_response()
}

/// Returns the value of a required member of the query string.
fn argument<T: FromStr>(raw: &Raw, name: &'static str) -> Result<T> {
    let query = raw.parts.uri.query().unwrap_or_default().as_bytes();
    let mut found = url::form_urlencoded::parse(query).filter(|(key, _)| key == name);
    let value = found.next().filter(|_| found.next().is_none());
    let value = value.and_then(|(_, value)| value.parse().ok());
    value.ok_or_else(|| {
        Error::bad_request(format!(
            "`{name}` is required once in the query string, with a valid value."
        ))
    })
}
