//! Signing in and out: the pages without a session.

use std::collections::BTreeSet;

use axum::body::to_bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::cookies::theme;
use super::form::Entries;
use super::frame::alone;
use super::html::{html, icon, time};
use super::refusals::status_of;
use super::view::{View, query};
use super::words;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::in_process::Seen;
use crate::kernel::http::line::BASE;

crate::pages! { sign_in:
    /// Asks which login to use.
    GET "/sign-in" calls [sessions.list_providers] => sign_in, public;
    /// Shows whom a link signs in.
    GET "/enter" calls [console_links.use] => enter, public;
    /// Signs in with a link.
    POST "/enter" calls [console_links.use] => use_link, public;
    /// Ends the session.
    POST "/sign-out" calls [sessions.logout] => sign_out, public;
}

#[derive(Deserialize)]
struct Providers {
    providers: Vec<Provider>,
}

#[derive(Deserialize)]
struct Provider {
    key: String,
}

#[derive(Deserialize)]
struct Link {
    email: String,
    /// The organization to which the session is restricted.
    organization: Option<String>,
    expires_at: DateTime<Utc>,
}

impl View {
    fn alone(&self, status: StatusCode, title: &str, body: &super::html::Markup) -> Response {
        alone(status, &self.base, theme(&self.parts.headers), title, body)
    }

    fn login_url(&self, pairs: &[(&str, &str)]) -> String {
        format!("{}{BASE}/login?{}", self.base, query(pairs.iter().copied()))
    }
}

async fn sign_in(view: &mut View) -> Result<Response> {
    let seen: Seen<Providers> = view.ops.read("sessions.list_providers", &[], "").await?;
    let return_to = view.asked("return_to").filter(|to| to.starts_with('/')).unwrap_or("/console");
    let return_to = return_to.to_owned();
    if let Some(organization) = view.asked("organization").map(str::trim).filter(|o| !o.is_empty())
    {
        let pairs = [("organization", organization), ("return_to", &*return_to)];
        // A link, not a redirect: the policy of the page applies to redirects of its forms, too.
        let body = html! {
            div.card {
                h1 { "Sign in" }
                p.soft { "With the login of " b { (words::visible(organization)) } "." }
                a."btn primary" href=(view.login_url(&pairs)) { "Continue" }
                a.in-text href=(view.url("/sign-in")) { "Another login" }
            }
        };
        return Ok(view.alone(StatusCode::OK, "Sign in", &body));
    }
    let is_over = view.asked("return_to").is_some();
    let body = html! {
        div.card {
            h1 { "Sign in" }
            @if is_over {
                div."note warn" role="status" { (icon("clock")) div {
                    strong { "Sign in to continue" }
                    "You will come back to the page that you asked for."
                } }
            }
            @for (n, provider) in seen.value.providers.iter().enumerate() {
                @let pairs = [("provider", &*provider.key), ("return_to", &*return_to)];
                a.btn.primary[n == 0] href=(view.login_url(&pairs)) { "Continue with " (words::capitalized(&provider.key)) }
            }
            @if !seen.value.providers.is_empty() { p.or { "or" } }
            form.stack method="get" action=(view.url("/sign-in")) {
                input type="hidden" name="return_to" value=(return_to);
                div.field {
                    label for="org" { "Your organization" }
                    span.hint #org-h { "Its short name, such as northwind. Its own login opens." }
                    input #org name="organization" autocomplete="organization" aria-describedby="org-h" required;
                }
                button.btn { "Continue" }
            }
            p."small quiet" { "At the server itself: " code { "cp-server console link" } }
        }
    };
    Ok(view.alone(StatusCode::OK, "Sign in", &body))
}

async fn enter(view: &mut View) -> Result<Response> {
    let code = view.asked("code").unwrap_or_default().to_owned();
    let preview = json!({"code": code, "preview": true});
    let found = match view.ops.forward("console_links.use", &preview).await {
        Err(error) if *error.code() == ProblemCode::Unauthenticated => {
            return Ok(spent(view, &error));
        }
        found => found?,
    };
    let bytes = to_bytes(found.into_body(), 4096).await.map_err(Error::internal)?;
    let link: Link = serde_json::from_slice(&bytes).map_err(Error::internal)?;
    let host =
        view.ops.app().settings.base_url.split_once("://").map_or("", |(_, host)| host).to_owned();
    let body = html! {
        form.card method="post" action=(view.url("/enter")) {
            h1 { "Sign in" }
            p.soft {
                "As " b { (link.email) }
                @if let Some(organization) = &link.organization { ", in " b { (words::visible(organization)) } }
                ", on " code { (host) } "."
            }
            input type="hidden" name="code" value=(code);
            button."btn primary" { "Sign in" }
            p."small quiet" {
                "The link works once, until " (time(link.expires_at)) "."
                @if link.organization.is_none() { " Another one: " code { "cp-server console link" } }
            }
        }
    };
    let mut page = view.alone(StatusCode::OK, "Sign in", &body);
    // The address of this page has the code, which no `Referer` may contain. With `no-referrer`, a
    // browser would send `Origin: null` with the form.
    page.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("strict-origin"));
    Ok(page)
}

/// The page of a link that works no more.
fn spent(view: &View, error: &Error) -> Response {
    let body = html! {
        div.card {
            h1 { "This link does not work" }
            p.soft { (error.detail().replace('`', "")) }
            a.btn href=(view.url("/sign-in")) { "Other ways to sign in" }
        }
    };
    view.alone(status_of(error), "Sign in", &body)
}

/// Whether an error is the refusal of a link.
fn is_of_link(error: &Error) -> bool {
    use ProblemCode::{Conflict, Forbidden, NotFound, Unauthenticated};
    matches!(error.code(), Unauthenticated | Conflict | NotFound)
        || *error.code() == Forbidden && !error.detail().contains("Origin")
}

async fn use_link(view: &mut View) -> Result<Response> {
    let code = view.entry("code").unwrap_or_default().to_owned();
    match view.ops.forward("console_links.use", &json!({"code": code})).await {
        Err(error) if is_of_link(&error) => Ok(spent(view, &error)),
        done => done,
    }
}

async fn sign_out(view: &mut View) -> Result<Response> {
    let done = view.ops.forward("sessions.logout", &json!({})).await?;
    signed_out(view, done, |_| String::new()).await
}

/// Returns the page of a person who is signed out: `about` returns a sentence about the answer.
pub(super) async fn signed_out(
    view: &mut View,
    done: Response,
    about: impl Fn(&Value) -> String,
) -> Result<Response> {
    let (parts, body) = done.into_parts();
    let bytes = to_bytes(body, 16_384).await.map_err(Error::internal)?;
    let answer: Value = serde_json::from_slice(&bytes).map_err(Error::internal)?;
    let about = about(&answer);
    let body = html! {
        div.card {
            h1 { "You are signed out" }
            @if !about.is_empty() { p.soft role="status" { (about) } }
            @if let Some(url) = answer["logout_url"].as_str() {
                p.soft { "Your identity provider may still know you." }
                a.btn href=(url) rel="noopener noreferrer" { "Sign out there, too" }
            }
            a."btn primary" href=(view.url("/sign-in")) { "Sign in again" }
        }
    };
    let mut page = view.alone(StatusCode::OK, "Signed out", &body);
    for cookie in parts.headers.get_all(header::SET_COOKIE) {
        page.headers_mut().append(header::SET_COOKIE, cookie.clone());
    }
    Ok(page)
}

/// Keeps the entries of a form whose session has ended, but for secrets: the page belongs to a request
/// without a credential.
pub(super) fn kept(
    base: &str,
    theme: Option<&str>,
    url: &str,
    entries: &Entries,
    secrets: &BTreeSet<String>,
) -> Response {
    let is_secret = |name: &str| {
        secrets.iter().any(|secret| {
            name.strip_prefix(&**secret)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    };
    let body = html! {
        form.card method="post" action=(url) {
            h1 { "Your session has ended" }
            p.soft {
                "Nothing was changed. Sign in in another tab, then send again. Your entries are kept here"
                @if entries.iter().any(|(name, value)| is_secret(name) && !value.is_empty()) { ", except secrets" }
                "."
            }
            @for (name, value) in entries.iter().filter(|(name, _)| !is_secret(name)) {
                input type="hidden" name=(name) value=(value);
            }
            a.btn href={ (base) "/console/sign-in" } target="_blank" rel="noopener" { "Sign in" }
            button."btn primary" { "Send again" }
        }
    };
    alone(StatusCode::UNAUTHORIZED, base, theme, "Your session has ended", &body)
}
