//! The verdict on a license: the checks that a data plane makes, and what a failing one needs.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::html::{Markup, html, icon, time};
use super::view::View;
use super::words;
use crate::kernel::error::Result;
use crate::kernel::http::in_process::Seen;

/// The verdict, and its checks in their order.
pub(super) struct Verdict {
    is_accepted: bool,
    code: Option<String>,
    checks: Vec<Check>,
}

/// One check.
struct Check {
    name: String,
    /// `ok`, `warn` or `bad`.
    tone: &'static str,
    detail: String,
    fix: Option<String>,
}

/// The operation that answers with a verdict, where the server has it.
const OPERATION: &str = "licenses.verdict";

/// Returns the verdict on a license.
pub(super) async fn of_license(
    view: &mut View,
    license: &Value,
    subscription: &Value,
    bundles: &[Value],
    pools: &[Value],
) -> Result<Verdict> {
    if view.resources.named(OPERATION).is_some() {
        let key = license["id"].as_str().unwrap_or_default();
        let seen: Seen<Value> = view.ops.read(OPERATION, &[key], "").await?;
        return Ok(of_answer(&seen.value));
    }
    let now = view.now;
    let status = view
        .organization
        .as_ref()
        .map_or("active", |organization| &*organization.status)
        .to_owned();
    let coverage = &license["coverage"];
    let reason = coverage["reason"].as_str().map(words::spaced);
    let mut checks = vec![
        check("Organization", &status, None),
        check("Subscription", text(subscription, "status"), instant(subscription, "ends_at")),
        check("License", text(license, "status"), instant(license, "valid_until")),
    ];
    checks.extend(pools.iter().find(|pool| pool["name"] == "seats").map(seats));
    checks.push(token(bundles, now));
    let is_covered = coverage["covered"] == true;
    let has_token = bundles.iter().any(|bundle| is_valid(bundle, now));
    let code = if is_covered { (!has_token).then(|| "no valid token".to_owned()) } else { reason };
    Ok(Verdict { is_accepted: is_covered && has_token, code, checks })
}

fn of_answer(answer: &Value) -> Verdict {
    let checks = answer["checks"].as_array().cloned().unwrap_or_default();
    let tone = |check: &Value| {
        let words = ["result", "status", "state", "level"]
            .into_iter()
            .find_map(|name| check[name].as_str());
        match words {
            Some("ok") => "ok",
            Some("warn") => "warn",
            _ => "bad",
        }
    };
    let checks = checks.iter().map(|check| Check {
        name: words::label(text(check, "name")),
        tone: tone(check),
        detail: text(check, "detail").to_owned(),
        fix: check["fix"].as_str().map(str::to_owned),
    });
    Verdict {
        is_accepted: answer["accepted"] == true,
        code: answer["code"].as_str().map(words::spaced),
        checks: checks.collect(),
    }
}

fn check(name: &str, status: &str, until: Option<DateTime<Utc>>) -> Check {
    let tone = match words::tone(status) {
        _ if status.is_empty() => "warn",
        "ok" => "ok",
        "info" | "warn" if status.starts_with("trial") => "warn",
        _ => "bad",
    };
    let detail = match until {
        _ if status.is_empty() => "not visible to you".to_owned(),
        Some(until) => format!("{} until {}", words::spaced(status), until.format("%-d %b %Y")),
        None => words::spaced(status),
    };
    let fix = match status {
        "suspended" => Some("Reinstate it".to_owned()),
        "expired" => Some("Renew it".to_owned()),
        _ => None,
    };
    Check { name: name.to_owned(), tone, detail, fix }
}

fn seats(pool: &Value) -> Check {
    let (used, cap) = (pool["used"].as_i64().unwrap_or(0), pool["cap"].as_i64());
    let (tone, detail) = match cap {
        None => ("ok", format!("{used} taken, unlimited")),
        Some(cap) if used >= cap => ("warn", format!("{used} of {cap} taken")),
        Some(cap) => ("ok", format!("{used} of {cap} taken")),
    };
    Check { name: "Seats".to_owned(), tone, detail, fix: None }
}

fn is_valid(bundle: &Value, now: DateTime<Utc>) -> bool {
    text(bundle, "status") == "valid"
        && instant(bundle, "expires_at").is_some_and(|ends| ends > now)
}

fn token(bundles: &[Value], now: DateTime<Utc>) -> Check {
    let newest = bundles.iter().find(|bundle| is_valid(bundle, now));
    let (tone, detail, fix) = match newest.and_then(|bundle| instant(bundle, "expires_at")) {
        Some(ends) => {
            let left = (ends - now).num_seconds();
            ("ok", format!("ends in {}", words::span(left)), None)
        }
        None => ("bad", "none is valid".to_owned(), Some("Issue a token".to_owned())),
    };
    Check { name: "Newest token".to_owned(), tone, detail, fix }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

fn instant(value: &Value, name: &str) -> Option<DateTime<Utc>> {
    words::parse_instant(text(value, name))
}

/// The verdict as a page shows it.
pub(super) fn section(view: &View, verdict: &Verdict) -> Markup {
    let (tone, sign) = if verdict.is_accepted { ("ok", "check") } else { ("bad", "cross") };
    html! {
        section class={ "verdict " (tone) } aria-labelledby="h-verdict" {
            div {
                span.mark { (icon(sign)) }
                div {
                    strong #h-verdict {
                        @match (verdict.is_accepted, &verdict.code) {
                            (true, _) => "A data plane accepts this license now",
                            (false, Some(code)) => { "A data plane refuses this license: " (code) },
                            (false, None) => "A data plane refuses this license",
                        }
                    }
                    span.soft { "Checked on the server, " (time(view.now)) "." }
                }
            }
            ul.checks {
                @for check in &verdict.checks {
                    li class=(check.tone) {
                        span { (icon(match check.tone { "ok" => "check", "warn" => "warn", _ => "cross" })) " " (check.name) }
                        small { (check.detail) @if let Some(fix) = &check.fix { ". " (fix) "." } }
                    }
                }
            }
        }
    }
}

/// The use of a pool of seats.
pub(super) fn meter(pool: &Value) -> Markup {
    let (used, cap) = (pool["used"].as_i64().unwrap_or(0), pool["cap"].as_i64());
    html! {
        @match cap {
            Some(cap) if cap > 0 => {
                (used) " of " (cap) br;
                meter min="0" max=(cap) low=(cap * 7 / 10) high=(cap) optimum="0" value=(used.min(cap)) aria-label="Seats" {
                    (used) " of " (cap)
                }
            },
            _ => { (used) ", unlimited" },
        }
    }
}
