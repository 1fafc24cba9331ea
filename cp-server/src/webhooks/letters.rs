//! Letters: the texts of mail, one template for each type of event.

use cp_contracts::Event;
use serde_json::Value;

use super::values::plain;
use crate::lifecycle::notices;

/// The types besides notices that are sent by mail.
pub(super) const DISABLED: &str = "webhooks.disabled";
/// The longest value in a text, in characters.
const LONGEST: usize = 200;
/// The longest name of an organization in a text, in characters.
const LONGEST_NAME: usize = 64;

/// The subject and the first sentence of the letters of one type. Words in braces are members of the event.
struct Template {
    kind: &'static str,
    subject: &'static str,
    text: &'static str,
}

const fn template(kind: &'static str, subject: &'static str, text: &'static str) -> Template {
    Template { kind, subject, text }
}

const TEMPLATES: &[Template] = &[
    template(
        "licenses.expiring",
        "A license ends in {days} days",
        "The license ends at {ends_at}, in {days} days or less. Renew it before then.",
    ),
    template(
        "licenses.expire",
        "A license has reached its end",
        "The license ended at {ends_at}. Data planes go on during its grace, if it has one.",
    ),
    template(
        "licenses.grace_end",
        "The grace of a license has ended",
        "The grace of the license ended at {ends_at}. Its data plane no longer accepts tokens.",
    ),
    template(
        "subscriptions.ending",
        "A subscription ends in {days} days",
        "The subscription ends at {ends_at}, in {days} days or less.",
    ),
    template(
        "subscriptions.end",
        "A subscription has ended",
        "The subscription ended at {ends_at}, and its licenses with it.",
    ),
    template(
        "subscriptions.trial_ending",
        "A trial ends in {days} days",
        "The trial ends at {ends_at}, in {days} days or less.",
    ),
    template("subscriptions.trial_end", "A trial has ended", "The trial ended at {ends_at}."),
    template(
        "service_tokens.expiring",
        "A service token ends in {days} days",
        "The service token ends at {ends_at}. Create another one and replace it before then.",
    ),
    template(
        "license_keys.expiring",
        "A license key ends in {days} days",
        "The license key ends at {ends_at}. Rotate it before then.",
    ),
    template(
        "bundles.expiring",
        "The newest token of a license ends soon",
        "The newest token of the license ends at {ends_at}. Its data plane has not fetched another one.",
    ),
    template(
        "deployments.silent",
        "A deployment is silent",
        "The deployment has missed three check-ins, or has sent no usage report for 100 days. Its last \
         contact was at {last_seen_at}.",
    ),
    template(
        "signing_keys.rotation_due",
        "The signing key rotates in {days} days",
        "The server replaces the active signing key at {rotates_at}. Data planes without a network need a \
         new file.",
    ),
    template(
        "leases.near_cap",
        "Seats are at {percent} percent",
        "The pool \"{pool}\" of the license has {used} of {cap} seats in use.",
    ),
    template(
        "leases.exhausted",
        "A seat was refused",
        "The pool \"{pool}\" of the license had no free seat. This is the first refusal in an hour.",
    ),
    template(
        "leases.overage",
        "A seat beyond the cap was taken",
        "A seat beyond the cap of the pool \"{pool}\" was taken. This is the first one on this day.",
    ),
    template(
        "limits.near",
        "Usage is at {percent} percent of a limit",
        "The usage is {used}, and the limit is {quantity}.",
    ),
    template(
        "limits.reach",
        "Usage has reached a limit",
        "The usage is {used}, and the limit is {quantity}.",
    ),
    template(
        DISABLED,
        "A webhook was disabled",
        "The server disabled the webhook. The reason is: {disabled_reason}. Enable it once its receiver \
         works.",
    ),
    template(
        "webhooks.test",
        "Test of an e-mail notification",
        "This is the test of a webhook that sends mail. Nothing happened.",
    ),
];

/// Returns the types of events that are sent by mail.
pub(super) fn types() -> impl Iterator<Item = &'static str> {
    let notices = notices::DECLARATION.events.iter().chain(notices::LEVELS.events);
    notices.map(|one| one.action).chain([DISABLED])
}

/// The words around an event.
pub(super) struct Frame<'a> {
    pub(super) organization: Option<&'a str>,
    pub(super) base_url: &'a str,
    pub(super) webhook: &'a str,
}

/// Returns the subject and the text of an event, whose state is `after`.
pub(super) fn written(event: &Event, after: &Value, frame: &Frame<'_>) -> (String, String) {
    let template = TEMPLATES.iter().find(|one| one.kind == event.kind);
    let (subject, text) = template.map_or(("A notice", ""), |one| (one.subject, one.text));
    let (subject, text) = (filled(subject, after), filled(text, after));
    let target = event.target.id.as_deref().unwrap_or_default();
    let target = plain(target, LONGEST);
    let organization = frame.organization.map_or_else(|| "the platform".to_owned(), quoted);
    let text = format!(
        "{text}\n\n\
         Object:       {} {target}\n\
         Organization: {organization}\n\
         Time:         {}\n\
         Event:        {} {}\n\n\
         The license authority at {} sent this message for the webhook {}.\n\
         The people who manage that webhook can remove this address.\n",
        event.target.kind,
        event.at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        event.kind,
        event.id,
        frame.base_url,
        frame.webhook,
    );
    (subject, text)
}

/// Replaces the words in braces by members of the event.
fn filled(template: &str, after: &Value) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, tail)) = rest.split_once('{') {
        let (name, after_name) = tail.split_once('}').unwrap_or((tail, ""));
        text.push_str(before);
        text.push_str(&match &after[name] {
            Value::String(value) => plain(value, LONGEST),
            Value::Null => "unknown".to_owned(),
            value => plain(&value.to_string(), LONGEST),
        });
        rest = after_name;
    }
    text + rest
}

/// Returns the name of an organization, which the organization chose.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", plain(name, LONGEST_NAME))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_type_of_mail_has_a_template() {
        for kind in types() {
            assert!(TEMPLATES.iter().any(|one| one.kind == kind), "{kind}");
        }
        assert_eq!(TEMPLATES.len(), types().count() + 1, "one template is for tests");
    }

    #[test]
    fn values_become_one_line() {
        let after = json!({"pool": "a\r\nBcc: b@c", "used": 9, "cap": null});
        let text = filled("{pool}: {used} of {cap}, {other}", &after);
        assert_eq!(text, "aBcc: b@ c: 9 of unknown, unknown");
        assert_eq!(filled("{pool}", &json!({"pool": "x".repeat(500)})).len(), LONGEST);
    }
}
