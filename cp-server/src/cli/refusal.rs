//! The refusal of a wrong command line.
//!
//! # Design
//! clap quotes values that it cannot parse. A value may be a secret, and an unexpected argument may
//! be a secret whose flag is missing. So this module renders refusals: they name the argument, the
//! rule and an example, and quote only the names of flags.

use std::num::ParseIntError;
use std::process::ExitCode;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command};

use super::commands;
use crate::kernel::text::named;

/// Prints the error in the command line.
pub(super) fn refuse(mut error: clap::Error) -> ExitCode {
    let mut command = commands::whole();
    command.build();
    if let Some(usage) = usage(&error, &mut command) {
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    }
    match error.kind() {
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            eprintln!("{}", value(&error, &command));
        }
        ErrorKind::UnknownArgument | ErrorKind::TooManyValues | ErrorKind::InvalidSubcommand => {
            eprintln!("{}", unknown(&error));
        }
        // Other errors name arguments and quote no value; help and version are among them.
        _ => drop(error.print()),
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

/// Returns the usage of the refused command as help shows it. The usage of the error also names
/// what environment variables set.
fn usage(error: &clap::Error, command: &mut Command) -> Option<StyledStr> {
    let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) else { return None };
    let usage = usage.to_string();
    let mut refused = command;
    for word in usage.split_whitespace().skip(2) {
        if refused.find_subcommand(word).is_none() {
            break;
        }
        refused = refused.find_subcommand_mut(word)?;
    }
    Some(refused.render_usage())
}

/// Renders an invalid value. A setting is also named by its variable, with a valid example.
fn value(error: &clap::Error, command: &Command) -> String {
    let argument = text(error, ContextKind::InvalidArg).unwrap_or_default();
    let known = match error.get(ContextKind::ValidValue) {
        // Without a value, the list is empty for a flag of any values.
        Some(ContextValue::Strings(known)) if !known.is_empty() => {
            Some(format!("must be one of {}", known.join(", ")))
        }
        _ => None,
    };
    let source = std::error::Error::source(error);
    let cause = match source {
        Some(source) if source.is::<ParseIntError>() => Some("must be a whole number".to_owned()),
        source => source.map(ToString::to_string).or(known),
    };
    let cause = cause.unwrap_or_else(|| "a value is required".to_owned());
    let flag = argument.split(' ').next().unwrap_or_default().trim_start_matches("--");
    let setting = command.get_arguments().find(|a| a.get_long() == Some(flag));
    let variable = setting.and_then(Arg::get_env).map(|v| v.to_string_lossy().into_owned());
    let default = setting.and_then(|s| s.get_default_values().first());
    let default = default.map(|v| format!("; the default is {}", v.to_string_lossy()));
    match variable {
        Some(variable) => {
            format!("error: {variable} (--{flag}): {cause}{}", default.unwrap_or_default())
        }
        None => format!("error: {argument}: {cause}"),
    }
}

/// Renders an unknown argument or command.
fn unknown(error: &clap::Error) -> String {
    let given = text(error, ContextKind::InvalidArg).unwrap_or_default();
    let flag = given.split('=').next().filter(|flag| flag.starts_with("--"));
    let what = match (error.kind(), flag) {
        (ErrorKind::InvalidSubcommand, _) => "there is no such command".to_owned(),
        (_, Some(flag)) => match &*named(flag) {
            name if name.starts_with('`') => format!("there is no argument {name}"),
            _ => "there are too many arguments".to_owned(),
        },
        _ => "there are too many arguments".to_owned(),
    };
    let near = [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand];
    let near = near.iter().find_map(|kind| text(error, *kind));
    let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    let usage = match error.get(ContextKind::Usage) {
        Some(ContextValue::StyledStr(usage)) => format!("\n\n{usage}"),
        _ => String::new(),
    };
    format!("error: {what}{near}{usage}\n\nFor more information, try '--help'.")
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &[&str]) -> String {
        let line = ["cp-server"].iter().chain(line);
        let Err(error) = commands::whole().try_get_matches_from(line) else {
            panic!("it was accepted")
        };
        match error.kind() {
            ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
                value(&error, &commands::whole())
            }
            ErrorKind::UnknownArgument
            | ErrorKind::TooManyValues
            | ErrorKind::InvalidSubcommand => unknown(&error),
            _ => error.render().to_string(),
        }
    }

    #[test]
    fn key_id_that_begins_with_a_hyphen_is_a_value() {
        // As a thumbprint in base64url may.
        for line in [
            &["keys", "show", "-E3x"][..],
            &["keys", "compromise", "-E3x", "--reason", "seen"],
            &["license", "issue", "--all", "--key-id", "-E3x"],
        ] {
            let line = ["cp-server"].iter().chain(line);
            assert!(commands::whole().try_get_matches_from(line).is_ok());
        }
    }

    #[test]
    fn negative_number_is_a_value() {
        // The operation refuses it by the field's name.
        for line in [
            &["usage", "record", "acme", "tokens", "-1"][..],
            &["license", "create", "x", "--seats", "-1"],
            &["call", "licenses.create", "seat_cap=-1"],
        ] {
            let line = ["cp-server"].iter().chain(line);
            let read = commands::whole().try_get_matches_from(line);
            assert!(read.is_ok(), "{}", read.unwrap_err());
        }
    }

    #[test]
    fn command_line_malformed_is_refused_without_a_quote() {
        for (line, names) in [
            (&["serve", "--bootstrap-token", "a canary"][..], "CP_BOOTSTRAP_TOKEN"),
            (&["serve", "--database-url", "mysql://cp:canary@db"], "CP_DATABASE_URL"),
            (&["serve", "--log-format", "canary"], "text, json"),
            (&["serve", "--rate-limits", "canary"], "true, false"),
            (&["serve", "--listen", "canary"], "CP_LISTEN"),
            (&["serve", "canary"], "too many"),
            (&["serve", "--bootstrap-tokens=canary"], "`--bootstrap-tokens`"),
            (&["serve", "--bootstrap-tokens", "canary"], "--bootstrap-token`?"),
            (&["keys", "import", "key.pem", "canary"], "too many"),
            (&["keys", "import", "key.pem", "--passphrase=canary"], "`--passphrase`"),
            (&["keys", "import", "key.pem", "-canary"], "too many"),
            (&["token", "whoami", "--token", "x", "canary"], "too many"),
            (&["call", "keys.create", "--data", "{\"pem\": canary"], "JSON object"),
            (&["call", "keys.create", "canary"], "name=value"),
            (&["keyz", "canary"], "no such command; did you mean `keys`?"),
            (&["canary"], "no such command"),
            (&["completions", "canary"], "bash"),
            (&["license", "issue", "canary", "--ttl"], "--ttl <TTL>: a value is required"),
            (&["serve", "--listen"], "CP_LISTEN (--listen): a value is required"),
            (&["serve", "--log-format"], "text, json"),
            (&["events", "--after", "canary"], "must be a whole number"),
            (&["backup", "--keep", "canary"], "must be a whole number"),
        ] {
            let said = refusal(line);
            assert!(said.contains(names), "{line:?}: {said}");
            assert!(!said.contains("canary"), "{line:?}: {said}");
        }
    }
}
