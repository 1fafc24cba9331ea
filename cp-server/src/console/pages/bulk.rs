//! Several licenses at once: one page that confirms, and one with the outcome of each.
//!
//! # Design
//! The licenses are changed one after the other while their page is sent: each row is sent when its
//! change is done. Each row has the progress so far, and the style sheet shows that of the last one.
//! So a page without a script shows the progress.

use std::convert::Infallible;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};

use crate::console::affected::{self, Affected};
use crate::console::confirmations::{self, CONFIRM};
use crate::console::form::{self, Shown};
use crate::console::html::{Markup, html, icon, note};
use crate::console::refusals::status_of;
use crate::console::selection::{ACTS, Act, PATH};
use crate::console::view::View;
use crate::console::words;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::in_process::{InProcess, Once};

crate::pages! { bulk:
    /// Confirms what happens to the selected licenses, and then does it.
    POST "/licenses/selected" calls [licenses.read, licenses.suspend, licenses.reinstate, licenses.revoke, bundles.issue,
        licenses.affected, licenses.affected_all] => selected;
}

/// The most licenses of one form.
const MOST: usize = 100;

async fn selected(view: &mut View) -> Result<Response> {
    let asked = view.entry("act").unwrap_or_default().to_owned();
    let act = ACTS.iter().find(|act| act.name == asked).ok_or_else(|| Error::not_found("page"))?;
    let mut ids: Vec<String> = Vec::new();
    for (name, id) in &view.form {
        if name == "id" && !ids.contains(id) {
            ids.push(id.clone());
        }
    }
    if ids.len() > MOST {
        let detail = format!("Select at most {MOST} licenses (got {}).", ids.len());
        return Err(Error::invalid("id", detail));
    }
    let all: Vec<&str> = ids.iter().map(String::as_str).collect();
    let affected = match act.takes_reason && !ids.is_empty() {
        true => affected::of_licenses(view, &all).await?,
        false => None,
    };
    let plan = Plan { act, is_large: is_large(act, &ids, affected.as_ref()), ids, affected };
    if view.entry("_do").is_none() || plan.ids.is_empty() {
        return confirm(view, &plan, None);
    }
    match check(view, &plan) {
        Err(error) => confirm(view, &plan, Some(error)),
        Ok(()) => run(view, act, plan.ids),
    }
}

/// What is asked before it is done.
struct Plan {
    act: &'static Act,
    ids: Vec<String>,
    affected: Option<Affected>,
    /// Whether the person types the number of licenses.
    is_large: bool,
}

/// Whether a change ends something, or stops many data planes.
fn is_large(act: &Act, ids: &[String], affected: Option<&Affected>) -> bool {
    let licenses = u64::try_from(ids.len()).unwrap_or(u64::MAX);
    let data_planes = affected.map_or(licenses, Affected::data_planes);
    act.is_final || act.takes_reason && data_planes >= affected::MANY
}

/// Checks what the console itself requires.
fn check(view: &View, plan: &Plan) -> Result<()> {
    if plan.act.takes_reason {
        confirmations::check_reason(view.entry("reason"))?;
    }
    match plan.is_large {
        true => confirmations::check_text(view.entry(CONFIRM), &plan.ids.len().to_string()),
        false => Ok(()),
    }
}

fn title(act: &Act, ids: &[String]) -> String {
    let what = words::count(ids.len(), "license");
    match act.name {
        "issue" => format!("Issue tokens for {what}"),
        name => format!("{} {what}", words::label(name)),
    }
}

/// Asks before anything is done.
fn confirm(view: &mut View, plan: &Plan, error: Option<Error>) -> Result<Response> {
    let (act, ids) = (plan.act, &*plan.ids);
    let title = title(act, ids);
    let key = view.entry("_key").map_or_else(|| view.new_key(), str::to_owned);
    let status = error.as_ref().map_or(StatusCode::OK, status_of);
    let summary =
        error.map(|error| view.summary(&error, |name| ["reason", CONFIRM].contains(&name)));
    let (above, refused) =
        summary.map_or_else(Default::default, |summary| (summary.markup, summary.at));
    let entries = view.form.clone();
    let shown = Shown { entries: Some(&entries), refused, ..Shown::default() };
    let resources = view.resources.clone();
    let mut fields =
        resources.named(act.operation).map(|one| resources.fields(one)).unwrap_or_default();
    fields.retain(|field| field.name == "reason" && act.takes_reason);
    fields.iter_mut().for_each(|field| field.is_required = true);
    let body = html! {
        div.head { div { h1 { (title) } p.facts { (act.about) } } }
        form.form method="post" action=(view.url(PATH)) {
            (above)
            @if ids.is_empty() { (note("info", "edit", "No license is selected", &html! { "Go back and select some." })) }
            @if let Some(affected) = &plan.affected { (affected::note(affected)) }
            input type="hidden" name="_key" value=(key);
            input type="hidden" name="act" value=(act.name);
            @for id in ids { input type="hidden" name="id" value=(id); }
            ul.rows { @for id in ids { li { a href=(view.url(&format!("/licenses/{id}"))) { code { (words::short(id)) } } } } }
            (form::render(&fields, "", &shown))
            @if plan.is_large && !ids.is_empty() { (confirmations::entry(&ids.len().to_string(), &shown)) }
            div.actions {
                @if !ids.is_empty() {
                    button class=(if act.is_final { "btn danger solid" } else { "btn primary" }) name="_do" value="1" { (title) }
                }
                a.btn href=(view.url("/licenses")) { "Cancel" }
            }
        }
    };
    view.page_with(status, &title, &vec![(title.clone(), None)], &body)
}

/// The changes of the licenses, and what their page needs.
struct Run {
    ops: InProcess,
    act: &'static Act,
    ids: Vec<String>,
    key: String,
    body: Value,
    /// The URL of the pages of licenses.
    licenses: String,
}

/// The outcome of one license.
struct Outcome {
    id: String,
    /// The token that was issued.
    token: Option<String>,
    refusal: Option<String>,
}

/// Changes one license after the other, and sends the outcome of each. Each change has its own key:
/// sent again, nothing is done twice.
fn run(view: &mut View, act: &'static Act, ids: Vec<String>) -> Result<Response> {
    let body = match (act.takes_reason, view.entry("reason")) {
        (true, Some(reason)) => json!({"reason": reason}),
        _ => json!({}),
    };
    let title = title(act, &ids);
    let (mark, all) = (view.new_key(), ids.len());
    let around = html! {
        div.head { div { h1 { (title) } } }
        div.stack {
            @if act.name == "issue" {
                (note("warn", "warn", "The tokens are shown this once", &html! { "Keep each where its data plane finds it." }))
            }
            section."card running" aria-labelledby="h-outcome" {
                header { h2 #h-outcome { "Outcome" } }
                // The rows have the progress; this is the one before the first row.
                div.so-far { progress max=(all) value="0" aria-label="Progress" {} "0 of " (all) }
                ul.rows { (mark) }
                (mark)
            }
            p { a.in-text href=(view.url("/licenses")) { "All licenses" } }
        }
    };
    let icons = html! { (icon("check")) (icon("cross")) (icon("copy")) };
    let crumbs = vec![(title.clone(), None)];
    let [begin, middle, end] = view.page_around(&title, &crumbs, &around, &mark, &icons)?;
    let run = Run {
        ops: view.ops.begun(),
        act,
        ids,
        key: view.entry("_key").unwrap_or_default().to_owned(),
        body,
        licenses: view.url("/licenses"),
    };
    let selected = view.url(PATH);
    let rows = rows(run, [middle, end], selected);
    let parts = stream::iter([begin]).chain(rows).map(Ok::<String, Infallible>);
    Ok(view.answer(StatusCode::OK, Body::from_stream(parts)))
}

/// Streams a row for each license, and the end of the page.
fn rows(
    run: Run,
    rest: [String; 2],
    selected: String,
) -> impl stream::Stream<Item = String> + Send {
    let begin = (run, Vec::<String>::new(), 0, Some(rest));
    stream::unfold(begin, move |(mut run, mut failed, n, rest)| {
        let selected = selected.clone();
        async move {
            let Some(id) = run.ids.get(n).cloned() else {
                let [after_rows, end] = rest?;
                let last = after_rows + &last(&run, &failed, &selected).0 + &end;
                return Some((last, (run, failed, n, None)));
            };
            let outcome = run.change(id).await;
            let row = row(&run, &outcome, n + 1).0;
            if outcome.refusal.is_some() {
                failed.push(outcome.id);
            }
            Some((row, (run, failed, n + 1, rest)))
        }
    })
}

impl Run {
    async fn change(&mut self, id: String) -> Outcome {
        let key = (!self.key.is_empty()).then(|| format!("{}.{id}", self.key));
        let once = Once { key, if_match: None };
        let done = self.ops.change(self.act.operation, &[&id], "", &self.body, &once).await;
        match done {
            Ok(done) => {
                let token = done.body["token"].as_str().map(str::to_owned);
                Outcome { id, token, refusal: None }
            }
            Err(error) => Outcome { id, token: None, refusal: Some(error.document().detail) },
        }
    }
}

/// The row of an outcome, with the progress so far.
fn row(run: &Run, one: &Outcome, n: usize) -> Markup {
    let (tone, sign) = if one.refusal.is_none() { ("ok", "check") } else { ("bad", "cross") };
    let all = run.ids.len();
    html! { li {
        span class={ "ico " (tone) } { (icon(sign)) }
        div.grow {
            a.whole href={ (run.licenses) "/" (one.id) } { code { (words::short(&one.id)) } }
            @if let Some(refusal) = &one.refusal { div.soft { (words::visible(refusal)) } }
            @if let Some(token) = &one.token {
                div.secret {
                    output id={ "t-" (one.id) } tabindex="0" aria-label={ "Token of " (words::short(&one.id)) } { (token) }
                    button."btn s" type="button" data-copy-from={ "t-" (one.id) } aria-label={ "Copy the token of " (words::short(&one.id)) } { (icon("copy")) "Copy" }
                }
            }
        }
        @if n < all {
            div.so-far { progress max=(all) value=(n) aria-label="Progress" {} (n) " of " (all) }
        }
    } }
}

/// The end of the rows: the numbers, and a form for those that failed.
fn last(run: &Run, failed: &[String], selected: &str) -> Markup {
    let done = run.ids.len() - failed.len();
    html! {
        footer { div role="status" { strong { (done) " done" @if !failed.is_empty() { ", " (failed.len()) " failed" } } } }
        @if !failed.is_empty() {
            form."in actions" method="post" action=(selected) {
                input type="hidden" name="act" value=(run.act.name);
                @for id in failed { input type="hidden" name="id" value=(id); }
                button.btn { "Retry the failed ones" }
            }
        }
    }
}
