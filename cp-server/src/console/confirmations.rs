//! What a form asks before a change: a reason, and a text that the person types.

use super::form::{self, Shown};
use super::html::{Markup, html, icon};
use super::words;
use crate::kernel::error::{Error, Result};

/// The entry with the text that confirms a final change.
pub(super) const CONFIRM: &str = "_confirm";

/// Refuses a form without a reason.
pub(super) fn check_reason(reason: Option<&str>) -> Result<()> {
    match reason.unwrap_or_default().trim() {
        "" => Err(Error::invalid("reason", "Give a reason. The audit log keeps it.")),
        _ => Ok(()),
    }
}

/// Refuses a form with another text than the one that confirms its change.
pub(super) fn check_text(typed: Option<&str>, text: &str) -> Result<()> {
    match typed.unwrap_or_default().trim() == text.trim() {
        true => Ok(()),
        false => {
            Err(Error::invalid(CONFIRM, format!("The confirmation must be “{}”.", text.trim())))
        }
    }
}

/// The entry of the text that confirms a change.
pub(super) fn entry(text: &str, shown: &Shown<'_>) -> Markup {
    let typed = shown.entry(CONFIRM).unwrap_or_default();
    let (anchor, refusal) = (form::anchor(CONFIRM), shown.refused.get(CONFIRM));
    let error = refusal.map(|_| format!("{anchor}-e"));
    html! {
        div class=(if refusal.is_some() { "field bad" } else { "field" }) {
            label for=(anchor) { "Type " code { (words::visible(text)) } " to confirm" }
            input id=(anchor) name=(CONFIRM) value=(typed) autocomplete="off" spellcheck="false"
                aria-invalid=[refusal.map(|_| "true")] aria-describedby=[error.as_deref()];
            @if let (Some(refusal), Some(id)) = (refusal, &error) {
                p.error id=(id) { (icon("warn")) (refusal) }
            }
        }
    }
}
