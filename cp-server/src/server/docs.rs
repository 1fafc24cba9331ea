//! The API documentation for people: one page from the OpenAPI document, and pages of the problem
//! codes.
//!
//! # Design
//! The pages have no script and load nothing. Search is a form that this server answers, with the
//! operations that contain all words.

mod page;
mod problems;

use std::borrow::Cow;

use axum::http::{HeaderValue, header};
use axum::response::Response;
use cp_contracts::ProblemCode;
use serde::Deserialize;

use crate::kernel::app::Part;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::answer::Document;
use crate::kernel::http::raw::Raw;
use crate::server::api_document::{ApiDocument, CACHE};

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
    let response = if words.trim().is_empty() {
        let page = api.page(app, MEDIA_TYPE, |document| page::render(document, base, ""));
        page.render(&raw.parts.headers)
    } else {
        let page = page::render(api.value(app), base, &words);
        Document::new(MEDIA_TYPE, "no-store", page).render(&raw.parts.headers)
    };
    Ok(for_browsers(response))
}

pub(super) async fn problems(raw: Raw) -> Result<Response> {
    Ok(static_page(&raw, problems::list(raw.app.settings.base_path())))
}

pub(super) async fn problem(raw: Raw) -> Result<Response> {
    let name = raw.parts.uri.path().rsplit('/').next().unwrap_or_default();
    match ProblemCode::from(Cow::from(name)) {
        ProblemCode::Other(_) => Err(Error::not_found("problem code")),
        code => Ok(static_page(&raw, problems::page(raw.app.settings.base_path(), &code))),
    }
}

fn static_page(raw: &Raw, page: String) -> Response {
    for_browsers(Document::new(MEDIA_TYPE, CACHE, page).render(&raw.parts.headers))
}

fn for_browsers(mut response: Response) -> Response {
    let policy = HeaderValue::from_static(POLICY);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}
