//! Words: labels of members, nouns of resources, numbers, times and states.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDateTime, SecondsFormat, Utc};
use serde_json::Number;

use crate::kernel::digits;

/// Abbreviations and names in labels.
const SPELLED: [(&str, &str); 33] = [
    ("id", "ID"),
    ("ids", "IDs"),
    ("url", "URL"),
    ("api", "API"),
    ("uri", "URI"),
    ("ip", "IP"),
    ("jwks", "JWKS"),
    ("rbac", "RBAC"),
    ("oidc", "OIDC"),
    ("idp", "IdP"),
    ("kid", "key ID"),
    ("jti", "token ID"),
    ("ttl", "life"),
    ("iss", "issuer"),
    ("aud", "audience"),
    ("sha256", "SHA-256"),
    ("cap", "limit"),
    ("json", "JSON"),
    ("http", "HTTP"),
    ("org", "organization"),
    ("seq", "number"),
    ("iat", "issued at"),
    ("exp", "ends"),
    ("nbf", "valid from"),
    ("alg", "algorithm"),
    ("email", "e-mail"),
    ("ref", "reference"),
    ("refs", "references"),
    ("onprem", "on premises"),
    ("usd", "USD"),
    ("saml", "SAML"),
    ("hmac", "HMAC"),
    ("mcp", "MCP"),
];

/// Labels that no rule derives from the name of their member.
const LABELS: [(&str, &str); 2] =
    [("on_stale", "if stale"), ("status_max_age_seconds", "age of a status list (seconds)")];

/// Nouns that differ from the last segment of their path.
const NOUNS: [(&str, &str, &str); 20] = [
    ("console-links", "sign-in link", "Sign-in links"),
    ("bundles", "token", "Tokens"),
    ("audit", "event", "Audit log"),
    ("usage", "usage event", "Usage"),
    ("keys", "key", "Keys"),
    ("marketplace", "listing", "Marketplace"),
    ("effective", "effective answer", "Effective answer"),
    ("entitlements", "entitlement", "Entitlements"),
    ("quotas", "quota", "Quotas"),
    ("memberships", "member", "Members"),
    ("auth-accounts", "identity", "Identities"),
    ("log", "log", "Log"),
    ("leases", "seat", "Seats"),
    ("pools", "pool", "Pools of seats"),
    ("users", "person", "People"),
    ("costs", "cost", "Costs"),
    ("summary", "sum", "Summary"),
    ("rbac-revision", "RBAC revision", "RBAC revision"),
    ("daily", "tokens per day", "Tokens per day"),
    ("info", "state of signing", "State of signing"),
];

/// Returns a name in words: `api_base_url` is "API base URL".
pub(super) fn label(name: &str) -> String {
    capitalized(&inner_label(name))
}

/// Returns a label within a line: in lower case but for abbreviations.
pub(super) fn inner_label(name: &str) -> String {
    if let Some((_, label)) = LABELS.iter().find(|(known, _)| *known == name) {
        return (*label).to_owned();
    }
    let name = name.strip_prefix("is_").or(name.strip_prefix("has_")).unwrap_or(name);
    let name = name.strip_suffix("_at").unwrap_or(name);
    match name.strip_suffix("_seconds") {
        Some(name) => format!("{} (seconds)", spaced(name)),
        None => spaced(name),
    }
}

/// Returns the words of a name, in lower case but for abbreviations.
pub(super) fn spaced(name: &str) -> String {
    let word = |word: &str| {
        let known = SPELLED.iter().find(|(code, _)| *code == word);
        known.map_or(word, |(_, text)| text).to_owned()
    };
    name.split(['_', '-', ' ']).map(word).collect::<Vec<_>>().join(" ")
}

pub(super) fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Returns the title of a collection by the last segment of its path.
pub(super) fn plural(segment: &str) -> String {
    let known = NOUNS.iter().find(|(path, ..)| *path == segment);
    known.map_or_else(|| label(segment), |(_, _, title)| (*title).to_owned())
}

/// Returns the name of a database.
pub(super) fn database(code: &str) -> &str {
    match code {
        "sqlite" => "SQLite",
        "postgres" | "postgresql" => "PostgreSQL",
        other => other,
    }
}

/// Returns the noun of one thing of a collection.
pub(super) fn singular(segment: &str) -> String {
    if let Some((_, noun, _)) = NOUNS.iter().find(|(path, ..)| *path == segment) {
        return (*noun).to_owned();
    }
    let one = match segment {
        _ if segment.ends_with("ies") => format!("{}y", segment.trim_end_matches("ies")),
        _ if segment.ends_with("ss") => segment.to_owned(),
        _ => segment.strip_suffix('s').unwrap_or(segment).to_owned(),
    };
    spaced(&one)
}

/// Returns the name of a member for one thing of a collection: `service_token`.
pub(super) fn singular_name(segment: &str) -> String {
    let one = match segment.strip_suffix("ies") {
        Some(stem) => format!("{stem}y"),
        None => segment.strip_suffix('s').unwrap_or(segment).to_owned(),
    };
    one.replace('-', "_")
}

/// Returns the noun with its article.
pub(super) fn a(noun: &str) -> String {
    let is_vowel = noun.starts_with(['a', 'e', 'i', 'o']) || noun.starts_with("RBAC");
    format!("{} {noun}", if is_vowel { "an" } else { "a" })
}

/// Returns "1 token" or "2 tokens".
pub(super) fn count(n: impl TryInto<u64>, one: &str) -> String {
    // No count is below zero.
    let n = n.try_into().unwrap_or(0);
    let ending = if n == 1 { "" } else { "s" };
    format!("{} {one}{ending}", grouped(&n.to_string()))
}

pub(super) fn short(value: &str) -> String {
    let is_long = value.len() > 16 && value.is_ascii();
    if is_long {
        format!("{}…{}", &value[..8], &value[value.len() - 4..])
    } else {
        visible(value).into()
    }
}

/// Makes the control characters of bidirectional text visible: they must not reorder a page. Shows
/// all digits of a string that stands for a number.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if let Some(number) = digits::of(text) {
        return grouped(number).into();
    }
    let is_control = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !text.contains(is_control) {
        return text.into();
    }
    let mut shown = String::new();
    for c in text.chars() {
        if is_control(c) {
            shown.push_str(&format!("‹U+{:04X}›", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    shown.into()
}

/// Returns a quantity of a metric: bytes in a large unit, others as they are.
pub(super) fn amount(metric: &str, quantity: &Number) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let bytes = quantity.as_u64().filter(|_| metric.ends_with("_bytes"));
    let unit = bytes.and_then(|n| UNITS.iter().find(|(size, _)| n >= *size).map(|one| (n, one)));
    match (unit, bytes) {
        (Some((n, (size, unit))), _) => {
            let (whole, tenths) = (n / size, n % size * 10 / size);
            let rest = if tenths == 0 { String::new() } else { format!(".{tenths}") };
            format!("{}{rest} {unit}", grouped(&whole.to_string()))
        }
        (None, Some(n)) => count(n, "byte"),
        (None, None) => number(quantity),
    }
}

/// Returns a number with groups of thousands.
pub(super) fn number(number: &Number) -> String {
    grouped(&number.to_string())
}

/// Returns the text of a number with groups of thousands.
pub(super) fn grouped(text: &str) -> String {
    let (whole, rest) = text.find('.').map_or((text, ""), |at| text.split_at(at));
    let digits = whole.trim_start_matches('-');
    if digits.contains(|c: char| !c.is_ascii_digit()) {
        return text.to_owned();
    }
    let mut shown = whole[..whole.len() - digits.len()].to_owned();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown + rest
}

pub(super) fn iso(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Returns the instant of an answer's member.
pub(super) fn parse_instant(text: &str) -> Option<DateTime<Utc>> {
    let is_meant =
        text.len() >= 20 && text.ends_with('Z') && text.as_bytes().get(10) == Some(&b'T');
    if is_meant { text.parse().ok() } else { None }
}

/// Returns how long ago an instant was, or how soon it is; `None` from a day on.
pub(super) fn near(at: DateTime<Utc>, now: DateTime<Utc>) -> Option<String> {
    let seconds = (at - now).num_seconds();
    let far = match seconds.unsigned_abs() {
        0..60 => return Some("now".to_owned()),
        far @ 60..3_600 => count(far / 60, "minute"),
        far @ 3_600..86_400 => count(far / 3_600, "hour"),
        _ => return None,
    };
    Some(if seconds < 0 { format!("{far} ago") } else { format!("in {far}") })
}

/// Returns an instant as a form shows it: `2026-12-24 09:00`, with what the minute does not contain.
pub(super) fn form_instant(at: DateTime<Utc>) -> String {
    let minutes = at.format("%Y-%m-%d %H:%M").to_string();
    if read_form_instant(&minutes) == Some(at) { minutes } else { iso(at) }
}

/// Reads an instant as a form shows it.
pub(super) fn read_form_instant(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    let with_time = if text.len() == 10 { format!("{text} 00:00") } else { text.to_owned() };
    let plain = NaiveDateTime::parse_from_str(&with_time, "%Y-%m-%d %H:%M").ok();
    plain.map(|at| at.and_utc()).or_else(|| text.parse().ok())
}

/// Returns a span in its largest unit: "5 minutes", "30 days".
pub(super) fn span(seconds: i64) -> String {
    let units = [(86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")];
    let (n, unit) = units
        .iter()
        .find(|(unit, _)| seconds >= *unit && seconds % unit == 0 || seconds >= unit * 3)
        .map_or((seconds, "second"), |(unit, name)| (seconds / unit, *name));
    count(n, unit)
}

/// Returns the tone of a state. The shape belongs to the tone.
pub(super) fn tone(word: &str) -> &'static str {
    match word {
        "active" | "valid" | "accepted" | "ok" | "sound" | "delivered" | "paid" | "allow"
        | "succeeded" | "current" | "in_force" | "allowed" | "enabled" | "live" | "on" => "ok",
        "suspended" | "past_due" | "pending" | "invited" | "trialing" | "degraded" | "warn"
        | "near" | "retiring" | "grace" | "failing" | "expiring" | "retrying" | "warning" => "warn",
        "revoked" | "cancelled" | "canceled" | "compromised" | "failed" | "expired" | "deny"
        | "refused" | "exhausted" | "disabled" | "dead" | "over" | "fail" | "denied"
        | "critical" | "exceeded" => "bad",
        "staged" | "published" | "draft" | "new" | "open" | "trial" | "queued" => "info",
        _ => "idle",
    }
}
