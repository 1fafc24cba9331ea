//! The style and the script of the pages: compressed once, and named after their content.

use std::io::Write;
use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::icons;
use crate::kernel::secret::{hex, sha256};

/// A file of the pages.
pub(super) struct Asset {
    /// The name, with a hash of the content.
    pub(super) name: String,
    media_type: &'static str,
    plain: Bytes,
    zipped: Bytes,
}

const CSS: &str = concat!(include_str!("console.css"), include_str!("generated.css"));

pub(super) static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("css", "text/css", without_comments(CSS)));
pub(super) static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("js", "text/javascript", include_str!("console.js").to_owned()));
pub(super) static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("svg", "image/svg+xml", icons::FAVICON.to_owned()));

impl Asset {
    fn new(ending: &str, media_type: &'static str, text: String) -> Self {
        let hash = hex(&sha256(text.as_bytes())[..6]);
        let mut zip = GzEncoder::new(Vec::new(), Compression::best());
        // Writing to memory does not fail; without the compressed form the plain one is served.
        let zipped = zip.write_all(text.as_bytes()).and_then(|()| zip.finish()).unwrap_or_default();
        Self {
            name: format!("console.{hash}.{ending}"),
            media_type,
            plain: text.into(),
            zipped: zipped.into(),
        }
    }
}

/// Returns a style sheet without its comments and indentation.
fn without_comments(css: &str) -> String {
    let parts = css.split("/*").enumerate();
    let kept = parts.map(|(n, part)| match part.split_once("*/") {
        Some((_, rest)) if n > 0 => rest,
        _ => part,
    });
    let kept: String = kept.collect();
    kept.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Returns the file with this name.
pub(super) fn serve(name: &str, headers: &HeaderMap) -> Option<Response> {
    let all: [&Asset; 3] = [&STYLE, &SCRIPT, &ICON];
    let asset = all.into_iter().find(|asset| asset.name == name)?;
    let accepted = headers.get(header::ACCEPT_ENCODING).and_then(|list| list.to_str().ok());
    let zips = accepted.is_some_and(|list| {
        list.split(',').map(str::trim).any(|one| one == "gzip" || one.starts_with("gzip;q=1"))
    });
    let body = if zips { &asset.zipped } else { &asset.plain };
    let mut response = (StatusCode::OK, Body::from(body.clone())).into_response();
    let own = response.headers_mut();
    let media_type = format!("{}; charset=utf-8", asset.media_type);
    if let Ok(media_type) = HeaderValue::try_from(media_type) {
        own.insert(header::CONTENT_TYPE, media_type);
    }
    let cache = HeaderValue::from_static("public, max-age=31536000, immutable");
    own.insert(header::CACHE_CONTROL, cache);
    own.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if zips {
        own.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Some(response)
}
