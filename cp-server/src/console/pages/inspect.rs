//! Inspecting a token that a customer sent: what a data plane makes of it, step by step.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::console::html::{Markup, card, html, icon, json as code, time};
use crate::console::refusals::status_of;
use crate::console::verdict::{self, Verdict};
use crate::console::view::{View, text};
use crate::console::words;
use crate::kernel::error::Result;
use crate::kernel::http::in_process::Once;

crate::pages! { inspect:
    /// Asks for a token.
    GET "/inspect" calls [bundles.inspect] => ask;
    /// Judges the token. The form posts, so that no token is in a URL.
    POST "/inspect" calls [bundles.inspect] => judge;
}

const TITLE: &str = "Inspect a token";

async fn ask(view: &mut View) -> Result<Response> {
    page(view, StatusCode::OK, &html! {}, "", &html! {})
}

async fn judge(view: &mut View) -> Result<Response> {
    let sent = view.entry("token").unwrap_or_default().to_owned();
    let audience = view.entry("audience").map(str::to_owned);
    let mut input = json!({"token": sent});
    if let Some(audience) = audience {
        input["audience"] = audience.into();
    }
    let done = view.ops.change("bundles.inspect", &[], "", &input, &Once::default()).await;
    match done {
        Ok(done) => {
            let found = result(view, &done.body);
            page(view, StatusCode::OK, &html! {}, &sent, &found)
        }
        Err(error) if error.document().status < 500 => {
            let summary = view.summary(&error, |name| ["token", "audience"].contains(&name));
            page(view, status_of(&error), &summary.markup, &sent, &html! {})
        }
        Err(error) => Err(error),
    }
}

fn page(
    view: &mut View,
    status: StatusCode,
    refusal: &Markup,
    sent: &str,
    found: &Markup,
) -> Result<Response> {
    let audience = view.entry("audience").unwrap_or_default().to_owned();
    let body = html! {
        div.head { div {
            h1 { (TITLE) }
            p.facts { "What a data plane makes of a license token or a license file, and why. Nothing is stored." }
        } }
        div.stack {
            (refusal)
            section.card aria-label="Token" {
                form."in stack" method="post" action=(view.url("/inspect")) {
                    div.field {
                        label for="f-token" { "License token or license file" }
                        textarea #f-token name="token" spellcheck="false" autocomplete="off" required { "\n" (sent) }
                    }
                    div.field {
                        label for="f-audience" { "Audience " span.quiet { "(optional)" } }
                        span.hint #f-audience-h { "The audience of the data plane. That of the token when empty." }
                        input #f-audience name="audience" value=(audience) autocomplete="off" aria-describedby="f-audience-h";
                    }
                    div.actions { button."btn primary" { (icon("shield")) "Inspect" } }
                }
            }
            (found)
        }
    };
    view.page_with(status, TITLE, &vec![(TITLE.into(), None)], &body)
}

fn result(view: &View, answer: &Value) -> Markup {
    let mut verdict = Verdict::of(answer);
    verdict.link(|check| fix_of(view, answer, check));
    html! {
        (verdict::section(view, &verdict, "token"))
        @if let Some(fix) = verdict.fix() {
            div."note info" { (icon("edit")) div { strong { "What to do" } (fix) } }
        }
        @if answer["claims"].is_object() { (contents(view, answer)) }
    }
}

/// Returns the page where a failing check is mended. The claims of a token that this server did not sign
/// lead nowhere.
fn fix_of(view: &View, answer: &Value, check: &str) -> Option<String> {
    let license = answer["claims"]["license"]["license_id"].as_str()?;
    let path = format!("/licenses/{license}");
    let to = match check {
        "window" | "audience" | "key" | "log" => format!("{path}/bundles?new"),
        "status" => path,
        _ => return None,
    };
    is_signed(answer).then(|| view.url(&to))
}

/// Whether this server signed the token. It is genuine only with the right audience, too.
fn is_signed(answer: &Value) -> bool {
    let mut checks = answer["checks"].as_array().into_iter().flatten();
    checks.any(|check| text(check, "name") == "signature" && text(check, "status") == "ok")
}

/// What the token says, with links to what it is about.
fn contents(view: &View, answer: &Value) -> Markup {
    let claims = &answer["claims"];
    let license = &claims["license"];
    let at = |name: &str| {
        let seconds = claims[name].as_i64()?;
        chrono::DateTime::from_timestamp(seconds, 0)
    };
    let link = |segment: &str, thing: &Value, name: &str| {
        let id = thing["id"].as_str().or(thing["license_id"].as_str()).unwrap_or_default();
        html! { a href=(view.url(&format!("/{segment}/{id}"))) { (words::visible(text(thing, name))) } }
    };
    let note = html! {
        @if !is_signed(answer) { span.soft { "This server did not sign it: do not trust these words." } }
    };
    let body = html! {
        div.in { dl."facts wide" {
            @if license["organization"].is_object() {
                dt { "Organization" } dd { (link("organizations", &license["organization"], "name")) }
            }
            @if license["deployment"].is_object() {
                dt { "Deployment" } dd { (link("deployments", &license["deployment"], "name")) }
            }
            @if license["license_id"].is_string() {
                dt { "License" } dd { (link("licenses", license, "license_id")) }
            }
            @if license["plan"].is_object() { dt { "Plan" } dd { (text(&license["plan"], "code")) } }
            dt { "Issuer" } dd { code { (words::visible(text(claims, "iss"))) } }
            dt { "Audience" } dd { code { (words::visible(text(claims, "aud"))) } }
            @if let Some(at) = at("iat") { dt { "Issued" } dd { (time(at)) } }
            @if let Some(at) = at("exp") { dt { "Ends" } dd { (time(at)) } }
            @if let Some(jti) = claims["jti"].as_str() {
                dt { "Token ID" } dd { a href=(view.url(&format!("/bundles/{jti}"))) { code { (words::visible(jti)) } } }
            }
        } }
        @if license["features"].is_object() {
            details.fold { summary { "Features" } div.in { (code(&license["features"], "Features")) } }
        }
        details.fold { summary { "All claims" } div.in { (code(claims, "Claims")) } }
    };
    card("h-contents", "Contents", &note, &body)
}
