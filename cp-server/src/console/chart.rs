//! Pictures: the term of a license, and bars. Their colours come from the style sheet, and each has a
//! title and a description.

use chrono::{DateTime, NaiveDate, Utc};

use super::html::{Markup, decimal, html, time};
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

/// Values by the day, the oldest first.
pub(super) struct Days<'d> {
    /// The ID of the picture on its page.
    pub(super) anchor: &'d str,
    pub(super) title: &'d str,
    /// What a value counts, such as "tokens".
    pub(super) unit: &'d str,
    pub(super) points: &'d [(NaiveDate, f64)],
    /// A line across the picture.
    pub(super) limit: Option<f64>,
}

/// The edges of the plot within a picture of 654 by 172.
const LEFT: f64 = 42.0;
const RIGHT: f64 = 650.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 150.0;

/// The scale of a picture.
struct Scale {
    /// The value at its top.
    most: f64,
    /// The width of a day.
    step: f64,
}

impl Scale {
    fn y(&self, value: f64) -> f64 {
        BOTTOM - value / self.most * (BOTTOM - TOP)
    }

    /// The left edge of a day.
    fn x(&self, n: usize) -> f64 {
        LEFT + u32::try_from(n).map_or(0.0, f64::from) * self.step
    }

    fn middle(&self, n: usize) -> f64 {
        self.x(n) + self.step / 2.0
    }
}

impl Days<'_> {
    fn scale(&self) -> Scale {
        let most = self.points.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        let days = u32::try_from(self.points.len().max(1)).map_or(1.0, f64::from);
        Scale {
            // Even, so that the middle of the axis is a whole number.
            most: (most.max(self.limit.unwrap_or(0.0)).max(2.0) / 2.0).ceil() * 2.0,
            step: (RIGHT - LEFT) / days,
        }
    }

    /// One bar a day.
    pub(super) fn bars(&self) -> Markup {
        let scale = self.scale();
        let marks = html! {
            @for (n, (day, value)) in self.points.iter().enumerate() {
                g {
                    title { (self.about(*day, *value)) }
                    @if *value > 0.0 {
                        rect.bar-a x=(rounded(scale.x(n) + scale.step * 0.14)) y=(rounded(scale.y(*value)))
                            width=(rounded(scale.step * 0.72)) height=(rounded((BOTTOM - scale.y(*value)).max(1.0))) rx="2" {}
                    }
                }
            }
        };
        self.picture(&scale, &marks)
    }

    /// A line through the days, with the limit.
    pub(super) fn line(&self) -> Markup {
        let scale = self.scale();
        let point = |(n, (_, value)): (usize, &(NaiveDate, f64))| {
            format!("{},{}", rounded(scale.middle(n)), rounded(scale.y(*value)))
        };
        let line: Vec<String> = self.points.iter().enumerate().map(point).collect();
        let last = self.points.len().saturating_sub(1);
        let area = format!(
            "{},{BOTTOM} {} {},{BOTTOM}",
            rounded(scale.middle(0)),
            line.join(" "),
            rounded(scale.middle(last))
        );
        let marks = html! {
            polygon.area points=(area) {}
            polyline.line points=(line.join(" ")) {}
            @if let Some(limit) = self.limit {
                line.limit x1=(LEFT) x2=(RIGHT) y1=(rounded(scale.y(limit))) y2=(rounded(scale.y(limit))) {}
            }
        };
        self.picture(&scale, &marks)
    }

    fn about(&self, day: NaiveDate, value: f64) -> String {
        format!("{}: {} {}", day.format("%-d %b"), decimal(value), self.unit)
    }

    fn picture(&self, scale: &Scale, marks: &Markup) -> Markup {
        let (title, about) = (format!("{}-t", self.anchor), format!("{}-d", self.anchor));
        let values = || self.points.iter().map(|(_, value)| *value);
        let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
        let shown = |n: usize| self.points.get(n).map(|(day, _)| day.format("%-d %b").to_string());
        let last = self.points.len().saturating_sub(1);
        html! {
            div.wide-chart role="group" tabindex="0" aria-label="Chart, scrolls sideways" {
                svg.chart viewBox="0 0 654 172" role="img" aria-labelledby={ (title) " " (about) } {
                    title id=(title) { (self.title) }
                    desc id=(about) { "Between " (decimal(if least.is_finite() { least } else { 0.0 })) " and " (decimal(most)) " " (self.unit) " a day." }
                    @for part in [0.0, 0.5, 1.0] {
                        @let y = rounded(scale.y(scale.most * part));
                        line.grid x1=(LEFT) x2=(RIGHT) y1=(y) y2=(y) {}
                        text x=(LEFT - 6.0) y=(y + 4.0) text-anchor="end" { (short(scale.most * part)) }
                    }
                    (marks)
                    @for (n, anchor) in [(0, "start"), (last / 2, "middle"), (last, "end")] {
                        @if let Some(day) = shown(n) {
                            text x=(rounded(scale.middle(n))) y="167" text-anchor=(anchor) { (day) }
                        }
                    }
                }
            }
        }
    }
}

fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// A number for an axis: 12k for 12,000.
fn short(value: f64) -> String {
    match value {
        _ if value >= 1e6 => format!("{}M", rounded(value / 1e6)),
        _ if value >= 1e4 => format!("{}k", rounded(value / 1e3)),
        _ => rounded(value).to_string(),
    }
}

fn number(seconds: i64) -> f64 {
    // Terms are some thousands of days: the number is exact.
    i32::try_from(seconds / 60).map_or(f64::from(i32::MAX), f64::from) * 60.0
}
