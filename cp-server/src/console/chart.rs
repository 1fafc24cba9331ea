//! Pictures: the term of a license, and bars. Their colours come from the style sheet, and each has a
//! title and a description.

use chrono::{DateTime, Utc};

use super::html::{Markup, html, time};
use crate::kernel::clock::shown;

/// The width of a picture, in its own units.
const WIDTH: f64 = 900.0;

/// The instants of a term.
pub(super) struct Term {
    pub(super) from: DateTime<Utc>,
    pub(super) until: DateTime<Utc>,
    /// The end of the days of grace.
    pub(super) grace_until: DateTime<Utc>,
    /// The end of the newest token.
    pub(super) token_until: Option<DateTime<Utc>>,
    pub(super) now: DateTime<Utc>,
}

/// The term as a bar.
pub(super) fn term(term: &Term) -> Markup {
    let end = term.grace_until.max(term.until).max(term.now);
    let begin = term.from.min(term.now);
    let seconds = |at: DateTime<Utc>| number((at - begin).num_seconds());
    let whole = seconds(end).max(1.0);
    let x = |at: DateTime<Utc>| (seconds(at.clamp(begin, end)) / whole * WIDTH).clamp(0.0, WIDTH);
    let (from, until, now) = (x(term.from), x(term.until), x(term.now));
    let grace = x(term.grace_until);
    let has_grace = term.grace_until > term.until;
    let about = format!(
        "From {} to {}; today is {}.",
        shown(term.from),
        shown(term.until),
        shown(term.now)
    );
    let past = now.clamp(from, until) - from;
    html! {
        svg."chart term-bar" viewBox="0 0 900 46" preserveAspectRatio="none" role="img"
            aria-labelledby="term-t term-d" {
            title #term-t { "Term of the license" }
            desc #term-d { (about) }
            rect.term x=(from) y="8" width=((until - from).max(1.0)) height="16" rx="4" {}
            rect.past x=(from) y="8" width=(past) height="16" rx="4" {}
            @if has_grace {
                rect.grace x=(until + 3.0) y="8.5" width=((grace - until - 4.0).max(2.0)) height="15" rx="4" {}
            }
            @if let Some(token) = term.token_until.filter(|token| *token > term.now) {
                rect.tok x=(now) y="32" width=((x(token) - now).max(3.0)) height="6" rx="3" {}
            }
            line.now x1=(now) x2=(now) y1="2" y2="44" {}
        }
        ol.ends {
            li { "from " (time(term.from)) }
            @if let Some(token) = term.token_until { li { "newest token until " (time(token)) } }
            li { "until " (time(term.until)) }
            @if has_grace { li { "grace until " (time(term.grace_until)) } }
        }
    }
}

fn number(seconds: i64) -> f64 {
    // Terms are some thousands of days: the number is exact.
    i32::try_from(seconds / 60).map_or(f64::from(i32::MAX), f64::from) * 60.0
}
