//! Holders of leases, from JSON.

use std::collections::BTreeMap;

use dp_verifier::{Fingerprint, Holder, LicenseContext};
use serde::Deserialize;
use serde_json::Value;

use crate::Failure;
use crate::json::object;

/// A holder: `{"id"}`, `{"email"}`, `{"user_id"}`, `{"provider", "subject"}`, or a machine with
/// `{"machine_id": true}`, `{"text"}` or `{"components": {…}}`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Form {
    id: Option<String>,
    email: Option<String>,
    user_id: Option<String>,
    provider: Option<String>,
    subject: Option<String>,
    machine_id: bool,
    text: Option<String>,
    components: BTreeMap<String, String>,
}

/// Reads a holder. The fingerprint of a machine depends on the license.
pub(crate) fn holder(json: &Value, license: &LicenseContext) -> Result<Holder, Failure> {
    let invalid = |why: &str| Failure::argument(format!("`holder` {why}"));
    let form: Form =
        object(json).map_err(|error| Failure::form(Failure::argument, "`holder`", &error))?;
    let is_machine = form.machine_id || form.text.is_some() || !form.components.is_empty();
    let is_subject = form.provider.is_some() || form.subject.is_some();
    // With two names, the seat of the other person or machine would be claimed by mistake.
    let names =
        [form.id.is_some(), form.email.is_some(), form.user_id.is_some(), is_subject, is_machine];
    if names.into_iter().filter(|is_set| *is_set).count() > 1 {
        return Err(invalid("must name only one of a person, a machine and an ID"));
    }
    match form {
        Form { id: Some(id), .. } => Ok(Holder::id(&id)),
        Form { email: Some(address), .. } => Ok(Holder::email(&address)),
        Form { user_id: Some(id), .. } => {
            let id = id.parse().map_err(|_| invalid("has a `user_id` that is not a UUID"))?;
            Ok(Holder::user(id))
        }
        Form { provider: Some(provider), subject: Some(subject), .. } => {
            Ok(Holder::subject(&provider, &subject))
        }
        Form { machine_id, text, components, .. } if is_machine => {
            let mut print = Fingerprint::of(license);
            if machine_id {
                print = print.machine_id().map_err(|error| invalid(&error.to_string()))?;
            }
            if let Some(text) = text {
                print = print.text(&text);
            }
            let add =
                |print: Fingerprint, (name, value): (String, String)| print.component(&name, value);
            Ok(Holder::machine(&components.into_iter().fold(print, add)))
        }
        _ => Err(invalid("must name a person, a machine or an ID")),
    }
}
