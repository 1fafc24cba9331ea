//! Several licenses at once: one page that confirms, and one with the outcome of each.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use crate::console::confirmations::{self, CONFIRM};
use crate::console::form::{self, Shown};
use crate::console::html::{Markup, card, html, icon, note};
use crate::console::refusals::status_of;
use crate::console::selection::{ACTS, Act, PATH};
use crate::console::view::View;
use crate::console::words;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::in_process::Once;

crate::pages! { bulk:
    /// Confirms what happens to the selected licenses, and then does it.
    POST "/licenses/selected" calls [licenses.read, licenses.suspend, licenses.reinstate, licenses.revoke, bundles.issue] => selected;
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
    if view.entry("_do").is_none() {
        return confirm(view, act, &ids, None);
    }
    match check(view, act, &ids) {
        Err(error) => confirm(view, act, &ids, Some(error)),
        Ok(()) => run(view, act, &ids).await,
    }
}

/// Checks what the console itself requires.
fn check(view: &View, act: &Act, ids: &[String]) -> Result<()> {
    if act.takes_reason {
        confirmations::check_reason(view.entry("reason"))?;
    }
    match act.is_final {
        true => confirmations::check_text(view.entry(CONFIRM), &ids.len().to_string()),
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
fn confirm(view: &mut View, act: &Act, ids: &[String], error: Option<Error>) -> Result<Response> {
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
            input type="hidden" name="_key" value=(key);
            input type="hidden" name="act" value=(act.name);
            @for id in ids { input type="hidden" name="id" value=(id); }
            ul.rows { @for id in ids { li { a href=(view.url(&format!("/licenses/{id}"))) { code { (words::short(id)) } } } } }
            (form::render(&fields, "", &shown))
            @if act.is_final { (confirmations::entry(&ids.len().to_string(), &shown)) }
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

/// The outcome of one license.
struct Outcome {
    id: String,
    /// The token that was issued.
    token: Option<String>,
    refusal: Option<String>,
}

/// Does it, one license after the other. Each has its own key: sent again, nothing is done twice.
async fn run(view: &mut View, act: &Act, ids: &[String]) -> Result<Response> {
    let key = view.entry("_key").unwrap_or_default().to_owned();
    let reason = view.entry("reason").map(str::to_owned);
    let body = match (act.takes_reason, reason) {
        (true, Some(reason)) => json!({"reason": reason}),
        _ => json!({}),
    };
    let mut outcomes = Vec::new();
    for id in ids {
        let own = (!key.is_empty()).then(|| format!("{key}.{id}"));
        let once = Once { key: own, if_match: None };
        let done = view.ops.change(act.operation, &[id], "", &body, &once).await;
        outcomes.push(match done {
            Ok(done) => Outcome {
                id: id.clone(),
                token: done.body["token"].as_str().map(str::to_owned),
                refusal: None,
            },
            Err(error) => {
                let refusal = Some(error.document().detail);
                Outcome { id: id.clone(), token: None, refusal }
            }
        });
    }
    let title = title(act, ids);
    let page = outcome(view, act, &outcomes);
    view.page(&title, &vec![(title.clone(), None)], &page)
}

fn outcome(view: &View, act: &Act, outcomes: &[Outcome]) -> Markup {
    let failed: Vec<&Outcome> = outcomes.iter().filter(|one| one.refusal.is_some()).collect();
    let done = outcomes.len() - failed.len();
    let rows = html! { ul.rows { @for one in outcomes { li {
        span class={ "ico " (if one.refusal.is_none() { "ok" } else { "bad" }) } { (icon(if one.refusal.is_none() { "check" } else { "cross" })) }
        div.grow {
            a.whole href=(view.url(&format!("/licenses/{}", one.id))) { code { (words::short(&one.id)) } }
            @if let Some(refusal) = &one.refusal { div.soft { (words::visible(refusal)) } }
            @if let Some(token) = &one.token {
                div.secret {
                    output id={ "t-" (one.id) } tabindex="0" aria-label={ "Token of " (words::short(&one.id)) } { (token) }
                    button."btn s" type="button" data-copy-from={ "t-" (one.id) } aria-label={ "Copy the token of " (words::short(&one.id)) } { (icon("copy")) "Copy" }
                }
            }
        }
    } } } };
    html! {
        div.head { div { h1 { (words::label(act.name)) ": " (done) " done" @if !failed.is_empty() { ", " (failed.len()) " failed" } } } }
        div.stack {
            @if outcomes.iter().any(|one| one.token.is_some()) {
                (note("warn", "warn", "The tokens are shown this once", &html! { "Keep each where its data plane finds it." }))
            }
            (card("h-outcome", "Outcome", &html! {}, &rows))
            @if !failed.is_empty() {
                form.actions method="post" action=(view.url(PATH)) {
                    input type="hidden" name="act" value=(act.name);
                    @for one in &failed { input type="hidden" name="id" value=(one.id); }
                    button.btn { "Retry the failed ones" }
                }
            }
            p { a.in-text href=(view.url("/licenses")) { "All licenses" } }
        }
    }
}
