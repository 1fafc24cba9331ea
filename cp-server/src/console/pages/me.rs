//! The person: theme, times and sessions.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::console::confirmations::{self, CONFIRM};
use crate::console::cookies::{Notice, set_theme, set_zone, theme, zone};
use crate::console::form::Shown;
use crate::console::html::{Markup, card, html, note, scrolled, short_time, state};
use crate::console::refusals::status_of;
use crate::console::sign_in;
use crate::console::view::{View, items, text};
use crate::console::words;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::in_process::Once;

crate::pages! { me:
    /// The person: theme, times and sessions.
    GET "/me" calls [me.read, sessions.list_own] => me;
    /// Sets the theme and the zone of times.
    POST "/me" => set;
    /// Ends one session of the person.
    POST "/me/end-session" calls [sessions.end] => end_session;
    /// Asks whether to end all sessions of the person.
    GET "/me/end-sessions" calls [sessions.list_own] => ask_to_end;
    /// Ends all sessions of the person.
    POST "/me/end-sessions" calls [sessions.list_own, sessions.logout_everywhere] => end_sessions;
}

/// The most sessions of the page.
const LISTED: &str = "limit=50";
/// The themes: the value of the cookie, and the label.
const THEMES: [(&str, &str); 3] = [("", "like the system"), ("light", "light"), ("dark", "dark")];

async fn me(view: &mut View) -> Result<Response> {
    let sessions = items(&view.visible("sessions.list_own", &[], LISTED).await?);
    let body = html! {
        div.head { div { h1 { (words::visible(&view.me.name)) } p.facts { "You, in this console." } } }
        div.stack {
            (card("h-look", "Appearance", &html! {}, &look(view)))
            (card("h-sessions", "Sessions", &html! {}, &sessions_card(view, &sessions)))
        }
    };
    view.page("You", &vec![("You".into(), None)], &body)
}

fn look(view: &View) -> Markup {
    let chosen = theme(&view.parts.headers).unwrap_or("");
    let zone = zone(&view.parts.headers).unwrap_or_default();
    html! {
        form."in stack" method="post" action=(view.url("/me")) {
            fieldset."bare field" {
                legend { "Colours" }
                @for (n, (value, label)) in THEMES.iter().enumerate() {
                    div.choice {
                        input id={ "theme-" (n) } type="radio" name="theme" value=(value) checked[chosen == *value];
                        label for={ "theme-" (n) } { (label) }
                    }
                }
            }
            div.field {
                label for="f-zone" { "Time zone " span.quiet { "(optional)" } }
                span.hint #f-zone-h { "A name such as Europe/Berlin, or “browser” for the zone of this browser. UTC when empty. Pages without a script show UTC." }
                input #f-zone name="zone" value=(zone) autocomplete="off" spellcheck="false" aria-describedby="f-zone-h";
            }
            div.actions { button."btn primary" { "Save" } }
        }
    }
}

fn sessions_card(view: &View, sessions: &[Value]) -> Markup {
    html! {
        @if sessions.is_empty() {
            div.in { p.soft { "You use a service token: it has no session." } }
        } @else {
            (scrolled(&html! { table.cards-s {
                thead { tr {
                    th scope="col" { "Login" } th scope="col" { "Begun" } th scope="col" { "Last seen" }
                    th scope="col" { "Ends" } th scope="col" { span.sr { "Actions" } }
                } }
                tbody { @for one in sessions { (session(view, one)) } }
            } }))
            div.in {
                a."btn danger" href=(view.url("/me/end-sessions")) { "End all sessions…" }
            }
        }
    }
}

fn session(view: &View, one: &Value) -> Markup {
    let at = |member: &str| words::parse_instant(text(one, member));
    let is_current = one["is_current"] == true;
    html! {
        tr {
            td {
                (match text(one, "provider") { "link" => "a link".to_owned(), provider => words::visible(provider).into_owned() })
                @if is_current { " " (state("current")) }
            }
            td data-l="begun" { @if let Some(at) = at("created_at") { (short_time(at, view.now)) } }
            td data-l="last seen" { @if let Some(at) = at("last_seen_at") { (short_time(at, view.now)) } }
            td data-l="ends" { @if let Some(at) = at("expires_at") { (short_time(at, view.now)) } }
            td.r {
                @if !is_current {
                    form method="post" action=(view.url("/me/end-session")) {
                        input type="hidden" name="id" value=(text(one, "id"));
                        button."btn s" aria-label={ "End the session of " (text(one, "created_at")) } { "End" }
                    }
                }
            }
        }
    }
}

async fn set(view: &mut View) -> Result<Response> {
    let theme = set_theme(view.ops.app(), view.entry("theme").unwrap_or_default());
    let zone = set_zone(view.ops.app(), view.entry("zone").unwrap_or_default());
    let notice = Notice::set(view.ops.app(), "Your settings were saved.".into(), None);
    view.cookies.extend([theme, zone, notice]);
    view.see("/me")
}

async fn end_session(view: &mut View) -> Result<Response> {
    let id = view.entry("id").unwrap_or_default().to_owned();
    view.ops.change("sessions.end", &[&id], "", &Value::Null, &Once::default()).await?;
    let notice = Notice::set(view.ops.app(), "The session has ended.".into(), None);
    view.cookies.push(notice);
    view.see("/me")
}

async fn ask_to_end(view: &mut View) -> Result<Response> {
    confirm(view, None).await
}

/// Asks before all sessions end.
async fn confirm(view: &mut View, error: Option<Error>) -> Result<Response> {
    let sessions = items(&view.visible("sessions.list_own", &[], LISTED).await?).len();
    let status = error.as_ref().map_or(StatusCode::OK, status_of);
    let summary = error.map(|error| view.summary(&error, |name| name == CONFIRM));
    let (above, refused) =
        summary.map_or_else(Default::default, |summary| (summary.markup, summary.at));
    let entries = view.form.clone();
    let shown = Shown { entries: Some(&entries), refused, ..Shown::default() };
    let title = "End all sessions";
    let body = html! {
        div.head { div { h1 { (title) } p.facts { "Signs you out of every browser, this one included." } } }
        @if sessions == 0 {
            (note("info", "clock", "There is no session to end", &html! { "You use a service token: it has no session." }))
        } @else {
            form.form method="post" action=(view.url("/me/end-sessions")) {
                (above)
                input type="hidden" name="_key" value=(view.new_key());
                (note("warn", "warn", "This cannot be undone", &html! {
                    (words::count(sessions, "session")) @if sessions == 1 { " ends" } @else { " end" } ". Their browsers have to sign in again."
                }))
                (confirmations::entry(&view.me.name, &shown))
                div.actions {
                    button."btn danger solid" { (title) }
                    a.btn href=(view.url("/me")) { "Cancel" }
                }
            }
        }
    };
    let crumbs = vec![("You".into(), Some("/me".into())), (title.into(), None)];
    view.page_with(status, title, &crumbs, &body)
}

async fn end_sessions(view: &mut View) -> Result<Response> {
    if let Err(error) = confirmations::check_text(view.entry(CONFIRM), &view.me.name) {
        return confirm(view, Some(error)).await;
    }
    let done = view.ops.forward("sessions.logout_everywhere", &json!({})).await?;
    sign_in::signed_out(view, done, |answer| {
        let ended = answer["ended"].as_u64().unwrap_or(0);
        format!("{} ended.", words::count(ended, "session"))
    })
    .await
}
