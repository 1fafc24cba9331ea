//! The verdict on a license: the checks that a data plane makes, and what a failing one needs.

use serde_json::Value;

use super::html::{Markup, html, icon, time};
use super::view::{View, text};
use super::words;
use crate::kernel::error::Result;
use crate::kernel::http::in_process::Seen;

/// The verdict, and its checks in their order.
pub(super) struct Verdict {
    is_accepted: bool,
    code: Option<String>,
    checks: Vec<Check>,
    /// The use of the license's pools of seats.
    pub(super) pools: Vec<Value>,
}

/// One check.
struct Check {
    /// The name in the answer.
    key: String,
    name: String,
    /// `ok`, `warn`, `bad` or `skipped`.
    tone: &'static str,
    detail: String,
    fix: Option<String>,
    /// The page where the fix is made.
    to: Option<String>,
}

/// Returns the verdict on a license.
pub(super) async fn of_license(view: &mut View, id: &str) -> Result<Verdict> {
    let seen: Seen<Value> = view.ops.read("licenses.verdict", &[id], "").await?;
    Ok(Verdict::of(&seen.value))
}

impl Verdict {
    /// Reads the checks of an answer.
    pub(super) fn of(answer: &Value) -> Self {
        let checks = answer["checks"].as_array().into_iter().flatten().map(|check| Check {
            key: text(check, "name").to_owned(),
            name: words::label(text(check, "name")),
            tone: match text(check, "status") {
                "ok" => "ok",
                "warn" => "warn",
                "skipped" => "skipped",
                _ => "bad",
            },
            detail: text(check, "detail").replace('`', ""),
            fix: check["fix"].as_str().map(|fix| fix.replace('`', "")),
            to: None,
        });
        Self {
            is_accepted: answer["accepted"] == true,
            code: answer["code"].as_str().map(words::spaced),
            checks: checks.collect(),
            pools: answer["pools"].as_array().cloned().unwrap_or_default(),
        }
    }

    /// Links what a check needs to the page where it is made. `page` has the page of a check's name.
    pub(super) fn link(&mut self, page: impl Fn(&str) -> Option<String>) {
        for check in self.checks.iter_mut().filter(|check| check.fix.is_some()) {
            check.to = page(&check.key);
        }
    }

    /// Returns what to do about the first check that failed.
    pub(super) fn fix(&self) -> Option<Markup> {
        self.checks.iter().find_map(Check::fix)
    }
}

impl Check {
    /// Returns what to do, with its page.
    fn fix(&self) -> Option<Markup> {
        let fix = self.fix.as_deref()?;
        Some(match &self.to {
            Some(to) => html! { a.in-text href=(to) { (fix) } },
            None => html! { (fix) },
        })
    }
}

/// The verdict as a page shows it.
///
/// `what` is "license" or "token".
pub(super) fn section(view: &View, verdict: &Verdict, what: &str) -> Markup {
    section_below(view, verdict, what, "h-verdict")
}

/// The same, with another ID of its heading.
pub(super) fn section_below(view: &View, verdict: &Verdict, what: &str, anchor: &str) -> Markup {
    let (tone, sign) = if verdict.is_accepted { ("ok", "check") } else { ("bad", "cross") };
    html! {
        section class={ "verdict " (tone) } aria-labelledby=(anchor) {
            div {
                span.mark { (icon(sign)) }
                div {
                    strong id=(anchor) {
                        @match (verdict.is_accepted, &verdict.code) {
                            (true, _) => { "A data plane accepts this " (what) " now" },
                            (false, Some(code)) => { "A data plane refuses this " (what) ": " (code) },
                            (false, None) => { "A data plane refuses this " (what) },
                        }
                    }
                    span.soft {
                        "Checked on the server, " (time(view.now)) "."
                        @if what == "license" && view.may("bundles.inspect") { " " a.in-text href=(view.url("/inspect")) { "Inspect a token" } }
                    }
                }
            }
            ul.checks {
                @for check in &verdict.checks {
                    li class=(check.tone) {
                        span { (icon(match check.tone { "ok" => "check", "warn" => "warn", "skipped" => "clock", _ => "cross" })) " " (check.name) }
                        small { (check.detail) @if let Some(fix) = check.fix() { ". " (fix) } }
                    }
                }
            }
        }
    }
}
