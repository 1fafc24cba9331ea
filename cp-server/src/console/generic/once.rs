//! Values that an answer shows once: on a page of their own, without a redirect.

use axum::response::Response;
use base64::Engine;
use serde_json::Value;

use super::tasks::Task;
use crate::console::html::{Markup, html, icon, note, state, time};
use crate::console::scene::Scene;
use crate::console::view::{View, query};
use crate::console::words;
use crate::kernel::error::Result;

/// Returns the members of an answer that are shown once.
pub(in crate::console) fn of(view: &View, operation: &str, body: &Value) -> Vec<(String, String)> {
    let Some(operation) = view.resources.named(operation) else { return Vec::new() };
    let mut shown = view.resources.shows_once(operation);
    if ISSUING.contains(&operation.name) {
        shown.push("file".to_owned());
    }
    let text = |name: String| body[&name].as_str().map(|text| (name.clone(), text.to_owned()));
    let mut shown: Vec<_> = shown.into_iter().filter_map(text).collect();
    if let (true, Some(token)) = (INVITING.contains(&operation.name), body["token"].as_str()) {
        // The page of the invited person needs no identity provider.
        let (base, token) = (&view.ops.app().settings.base_url, query([("token", token)]));
        shown
            .push(("accept_page".to_owned(), format!("{base}/console/invitations/accept?{token}")));
    }
    shown
}

/// The operations whose answer has the token of an invitation.
const INVITING: [&str; 2] = ["invitations.create", "invitations.resend"];

/// The operations whose answer is a license token, or a file with one.
const ISSUING: [&str; 2] = ["bundles.issue", "licenses.token"];

/// Shows a license token: the token, and how a data plane uses it.
fn issued(
    view: &mut View,
    scene: &Scene,
    (member, token): (&str, &str),
    body: &Value,
    next: &str,
) -> Result<Response> {
    let is_file = member == "file";
    let title = if is_file { "License file issued" } else { "Token issued" };
    let crumbs = scene.crumbs_to(title);
    let name = view.organization.as_ref().map_or("license", |organization| &*organization.name);
    let name = crate::kernel::text::Slug::from_name(name)
        .map_or("license".into(), |slug| slug.to_string());
    let file = format!("{name}.license");
    let data = base64::engine::general_purpose::STANDARD.encode(token);
    let issuer = &view.ops.app().settings.base_url;
    let check = format!("dp-verify --jwks jwks.json --issuer {issuer} < {file}");
    let until = body["expires_at"].as_str().and_then(words::parse_instant);
    let once =
        html! { "Keep it where the data plane finds it. Another one can be issued at any time." };
    let page = html! {
        div.head {
            div {
                div.title { h1 { (title) } (state("valid")) }
                p.facts {
                    @if let Some(until) = until { span { "until " (time(until)) } }
                    span { (words::count(token.len(), "byte")) }
                }
            }
            div.actions { a."btn primary" href=(view.url(next)) { "Done: to the license" } }
        }
        div.stack {
            section.card aria-labelledby="h-token" {
                header { h2 #h-token { @if is_file { "The license file" } @else { "The license token" } } }
                div."in stack" {
                    (note("warn", "warn", "It is shown this once", &once))
                    div.secret {
                        output #token tabindex="0" aria-label="License token" { (token) }
                        div.stack {
                            button.btn type="button" data-copy-from="token" aria-label="Copy the token" { (icon("copy")) "Copy" }
                            a.btn href={ "data:application/octet-stream;base64," (data) } download=(file) { (icon("file")) "Download" }
                        }
                    }
                }
            }
            div.halves {
                (line("h-env", "For the data plane", "env", &format!("LICENSE_TOKEN={token}"), "Or send it as the header X-License-Token."))
                (line("h-check", "Check it", "check", &check, "The check needs no network."))
            }
        }
    };
    view.page(title, &crumbs, &page)
}

/// A card with one line to copy.
fn line(heading: &str, title: &str, anchor: &str, text: &str, about: &str) -> Markup {
    html! {
        section.card aria-labelledby=(heading) {
            header { h2 id=(heading) { (title) } }
            div.in {
                div.secret {
                    output id=(anchor) tabindex="0" aria-label=(title) { (text) }
                    button."btn s" type="button" data-copy-from=(anchor) aria-label={ "Copy: " (title) } { (icon("copy")) "Copy" }
                }
                p."small quiet" { (about) }
            }
        }
    }
}

/// Shows the values.
pub(super) fn page(
    view: &mut View,
    scene: &Scene,
    task: &Task,
    secrets: &[(String, String)],
    body: &Value,
    next: &str,
) -> Result<Response> {
    if let (true, [(member, token)]) = (ISSUING.contains(&&*task.operation), secrets) {
        let license = scene.place().first().map(|id| format!("/licenses/{id}"));
        let next = license.as_deref().unwrap_or(next);
        return issued(view, scene, (member, token), body, next);
    }
    let title = task.done.trim_end_matches('.').to_owned();
    let name = crate::console::resources::name_of(body);
    let page = html! {
        div.head {
            div {
                h1 { (words::visible(&title)) }
                @if let Some(name) = name { p.facts { (words::visible(name)) } }
            }
            div.actions { a."btn primary" href=(view.url(next)) { "Done" } }
        }
        div.stack { @for (name, value) in secrets { (secret(name, value)) } }
    };
    let crumbs = scene.crumbs_to(&title);
    view.page(&title, &crumbs, &page)
}

/// A card with one value.
pub(in crate::console) fn secret(name: &str, value: &str) -> Markup {
    let (label, anchor) = (words::label(name), format!("s-{name}"));
    let about = html! { "Keep it in a safe place. The server cannot show it again." };
    html! {
        section.card aria-labelledby={ "h-" (anchor) } {
            header { h2 id={ "h-" (anchor) } { (label) } }
            div."in stack" {
                (note("warn", "warn", "It is shown this once", &about))
                div.secret {
                    output id=(anchor) tabindex="0" aria-label=(label) { (words::visible(value)) }
                    button.btn type="button" data-copy-from=(anchor)
                        aria-label={ "Copy the " (words::spaced(name)) } { (icon("copy")) "Copy" }
                }
            }
        }
    }
}
