//! Pages of refusals: in the frame, alone, and above a form.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use cp_contracts::{Problem, ProblemCode};

use super::form::anchor;
use super::frame::alone;
use super::html::{Markup, copy, html, icon};
use super::view::View;
use super::words;
use crate::kernel::access::caller::RequestId;
use crate::kernel::error::{Error, Result};

/// Returns the status of an error.
pub(super) fn status_of(error: &Error) -> StatusCode {
    StatusCode::from_u16(error.document().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Returns the title and the explanation of a refused page.
fn words_of(problem: &Problem) -> (String, String) {
    match problem.code {
        // A foreign thing and a missing one look the same.
        ProblemCode::NotFound => (
            "Not found".into(),
            "The page does not exist, or you are not permitted to see it.".into(),
        ),
        ProblemCode::Forbidden => ("Not permitted".into(), problem.detail.clone()),
        _ => (problem.title.clone(), problem.detail.clone()),
    }
}

impl View {
    /// Returns the page of a refusal in the frame.
    pub(super) fn refuse(&mut self, error: Error) -> Response {
        let problem = error.document();
        let (title, text) = words_of(&problem);
        let retry = error.retry_after();
        let body = html! {
            div.head { div { h1 { (title) } } }
            div.stack { div."note bad" { (icon("warn")) div {
                strong { (words::visible(&text.replace('`', ""))) }
                (self.facts(&problem))
            } } }
            p { a.in-text href=(self.url("")) { "To the start" } }
        };
        let crumbs = vec![(title.clone(), None)];
        let page = self.page_with(status_of(&error), &title, &crumbs, &body);
        let mut page = page.unwrap_or_else(|_| Response::default());
        if let Some(seconds) = retry {
            page.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        // The outermost layer writes the log line of a failure.
        page.extensions_mut().insert(Arc::new(error));
        page
    }

    /// Returns the code and the request of a refusal, for a report.
    fn facts(&self, problem: &Problem) -> Markup {
        let id = self.parts.extensions.get::<RequestId>().map(|id| id.0.clone());
        html! {
            span.small {
                "Code " code { (problem.code.as_str()) }
                @if let Some(id) = id { " · request " code { (id) } (copy(&id, "the request ID")) }
            }
        }
    }

    /// Returns the summary above a form, and the refusals by entry.
    pub(super) fn summary(&self, error: &Error, is_entry: impl Fn(&str) -> bool) -> Summary {
        let problem = error.document();
        let mut all: Vec<(String, String)> =
            problem.errors.iter().map(|one| (one.field.clone(), one.detail.clone())).collect();
        if let (true, Some(field)) = (all.is_empty(), &problem.field) {
            all.push((field.clone(), problem.detail.clone()));
        }
        let mut at = BTreeMap::new();
        for (field, detail) in all {
            if let Some(name) = entry_of(&field, &is_entry) {
                let label = label_of(&name);
                let detail = detail.replacen(&format!("`{field}`"), &label, 1).replace('`', "");
                at.entry(name).or_insert(detail);
            }
        }
        let count = at.len();
        let is_doubtful =
            problem.code == ProblemCode::Unavailable && problem.detail.contains("may or may not");
        let title = match (is_doubtful, count) {
            (true, _) => "The change may have been saved".to_owned(),
            // The browser went back to the form.
            _ if problem.code == ProblemCode::IdempotencyKeyReused => {
                "Nothing was changed: this form was sent before with other entries. Send it again \
                 to save these."
                    .to_owned()
            }
            (_, 0) => format!("Nothing was changed: {}", lower(&problem.detail.replace('`', ""))),
            (_, 1) => "Nothing was changed: one entry needs another look".to_owned(),
            (_, n) => format!("Nothing was changed: {n} entries need another look"),
        };
        let markup = html! {
            div."note bad" role="alert" tabindex="-1" id="errors" { (icon("warn")) div {
                strong { (words::visible(&title)) }
                @if is_doubtful { "Look at the present state, or send again: the server applies the change once." }
                @if count > 0 {
                    ul { @for (name, detail) in &at {
                        li { a href={ "#" (anchor(name)) } { (words::visible(detail)) } }
                    } }
                } @else { (self.facts(&problem)) }
            } }
        };
        Summary { markup, at }
    }
}

/// A refusal as a form shows it.
pub(super) struct Summary {
    pub(super) markup: Markup,
    pub(super) at: BTreeMap<String, String>,
}

/// Returns the entry of a problem's field: `features.max` belongs to the entry `features`.
fn entry_of(field: &str, is_entry: &impl Fn(&str) -> bool) -> Option<String> {
    let mut name = field.replace('.', "/");
    loop {
        if is_entry(&name) {
            return Some(name);
        }
        name = name.rsplit_once(['/', '['])?.0.to_owned();
    }
}

fn label_of(name: &str) -> String {
    words::label(name.rsplit('/').next().unwrap_or(name))
}

fn lower(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.as_str()) {
        (Some(first), rest) if !rest.starts_with(|c: char| c.is_uppercase()) => {
            format!("{}{rest}", first.to_lowercase())
        }
        _ => text.to_owned(),
    }
}

/// Returns the page of a refusal without the frame.
pub(super) fn page(problem: &Problem, base: &str, theme: Option<&str>) -> Result<Response> {
    let (title, text) = words_of(problem);
    let body = html! {
        div.card {
            h1 { (title) }
            p.soft { (words::visible(&text.replace('`', ""))) }
            a."btn primary" href={ (base) "/console" } { "To the console" }
            p."small quiet" {
                "Code " code { (problem.code.as_str()) }
                @if let Some(id) = &problem.request_id { " · request " code { (id) } }
            }
        }
    };
    let status = StatusCode::from_u16(problem.status).map_err(Error::internal)?;
    Ok(alone(status, base, theme, &title, &body))
}
