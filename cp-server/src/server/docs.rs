//! The API documentation for people: one page, from the OpenAPI document.
//!
//! # Design
//! The page has no script and loads nothing. Search is a form that this server answers, with the
//! operations that contain all words.

mod page;

use axum::http::{HeaderValue, header};
use axum::response::Response;
use serde::Deserialize;

use crate::kernel::app::Part;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Document;
use crate::kernel::http::routes::Raw;
use crate::server::api_document::ApiDocument;

const MEDIA_TYPE: &str = "text/html; charset=utf-8";
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'";
/// The maximum length of a search, in bytes.
const SEARCH: usize = 200;

#[derive(Deserialize)]
struct Search {
    q: Option<String>,
}

pub(super) async fn docs(raw: Raw) -> Result<Response> {
    let query = raw.parts.uri.query().unwrap_or_default();
    let search: Search = serde_urlencoded::from_str(query)
        .map_err(|_| Error::invalid("q", "`q` must be a list of words."))?;
    let words = search.q.unwrap_or_default();
    if words.len() > SEARCH {
        let detail = format!("`q` must be at most {SEARCH} bytes (got {}).", words.len());
        return Err(Error::invalid("q", detail));
    }
    let (app, base) = (&raw.app, raw.app.settings.base_path());
    let api = ApiDocument::of(app);
    let mut response = if words.trim().is_empty() {
        let page = api.page(app, MEDIA_TYPE, |document| page::render(document, base, ""));
        page.render(&raw.parts.headers)
    } else {
        let page = page::render(api.value(app), base, &words);
        Document::new(MEDIA_TYPE, "no-store", page).render(&raw.parts.headers)
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}
