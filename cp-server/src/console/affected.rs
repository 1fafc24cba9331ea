//! What a suspension or a revocation affects, in words above its form.

use serde_json::Value;

use super::html::{Markup, html, icon};
use super::view::{View, query};
use super::words;
use crate::kernel::error::Result;

/// From this number of data planes on, a suspension asks for a typed text.
pub(super) const MANY: u64 = 10;

/// The tokens and data planes that a change affects.
pub(super) struct Affected(Value);

/// Counts what a change of these licenses affects; `None` when the caller may not see it.
pub(super) async fn of_licenses(view: &mut View, ids: &[&str]) -> Result<Option<Affected>> {
    let ids = query([("licenses", &*ids.join(","))]);
    let found = match view.in_view() {
        Some(own) => view.visible("licenses.affected", &[&own.to_string()], &ids).await?,
        None if view.ops.caller.is_of_platform() => {
            view.visible("licenses.affected_all", &[], &ids).await?
        }
        None => Value::Null,
    };
    Ok(Affected::of(found))
}

/// Counts what a change of a whole organization affects.
pub(super) async fn of_organization(view: &mut View, own: &str) -> Result<Option<Affected>> {
    Ok(Affected::of(view.visible("licenses.affected", &[own], "").await?))
}

impl Affected {
    fn of(answer: Value) -> Option<Self> {
        answer.is_object().then_some(Self(answer))
    }

    /// Returns the number of data planes.
    pub(super) fn data_planes(&self) -> u64 {
        self.0["data_planes"]["value"].as_u64().unwrap_or(0)
    }

    /// Returns what is affected: "3 tokens and 1 data plane".
    pub(super) fn text(&self) -> String {
        let part = |name: &str, noun: &str| {
            let count = &self.0[name];
            let text = words::count(count["value"].as_u64().unwrap_or(0), noun);
            if count["more"] == true { format!("more than {text}") } else { text }
        };
        format!("{} and {}", part("tokens", "token"), part("data_planes", "data plane"))
    }
}

/// A note with the numbers.
pub(super) fn note(affected: &Affected) -> Markup {
    html! {
        div."note warn" { (icon("warn")) div { strong { "This affects " (affected.text()) } } }
    }
}
