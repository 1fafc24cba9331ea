//! Whitespace around environment variables, and empty variables.
//!
//! # Design
//!
//! A compose file sets a variable to an empty value, and a file that a shell reads ends with a line
//! break. So blanks, line ends and a byte order mark around a value are removed, and an empty
//! variable counts as absent. Secrets are the exception: an empty secret is a mistake and is
//! refused, and a passphrase may end with a blank.

use std::ffi::OsString;

use clap::builder::{OsStr, Resettable};
use clap::{Arg, Command};

/// Returns the command and its command line with corrected variables.
pub(super) fn read(command: Command, line: Vec<OsString>) -> (Command, Vec<OsString>) {
    with(command, line, |name| std::env::var_os(name))
}

fn with(
    command: Command,
    mut line: Vec<OsString>,
    variable: impl Fn(&std::ffi::OsStr) -> Option<OsString> + Copy,
) -> (Command, Vec<OsString>) {
    // clap has read the variables. A corrected value becomes a flag.
    let mut flags = Vec::new();
    for arg in command.get_arguments() {
        let (Some(meant), Some(flag)) = (meant(arg, variable), arg.get_long()) else { continue };
        let flag = format!("--{flag}");
        let is_given = line.iter().filter_map(|part| part.to_str()).any(|part| {
            part.strip_prefix(&*flag).is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
        });
        if !meant.is_empty() && !is_given {
            flags.push(OsString::from(format!("{flag}={meant}")));
        }
    }
    let command = command.mut_args(|arg| match meant(&arg, variable) {
        Some(_) => arg.env(Resettable::<OsStr>::Reset),
        None => arg,
    });
    let at = line.len().min(1);
    line.splice(at..at, flags);
    (command.mut_subcommands(|command| without_empty(command, variable)), line)
}

/// Corrects the arguments of subcommands: an empty variable is absent, and a corrected one is a flag
/// already.
fn without_empty(
    command: Command,
    variable: impl Fn(&std::ffi::OsStr) -> Option<OsString> + Copy,
) -> Command {
    let is_empty = |arg: &Arg| {
        let text = arg.get_env().and_then(variable);
        text.is_some_and(|text| text.to_str().is_some_and(|text| trimmed(text).is_empty()))
    };
    let command = command.mut_args(|arg| match is_empty(&arg) || meant(&arg, variable).is_some() {
        true => arg.env(Resettable::<OsStr>::Reset),
        false => arg,
    });
    command.mut_subcommands(|command| without_empty(command, variable))
}

/// Returns the corrected value of a setting's variable, if it differs from the given one.
fn meant(arg: &Arg, variable: impl Fn(&std::ffi::OsStr) -> Option<OsString>) -> Option<String> {
    if arg.is_hide_env_values_set() {
        return None;
    }
    let text = variable(arg.get_env()?)?.into_string().ok()?;
    let meant = trimmed(&text);
    (meant.is_empty() || meant != text).then(|| meant.to_owned())
}

/// Removes blanks, line ends and a byte order mark around a value.
pub(super) fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::syntax::Cli;

    fn settled(set: &'static [(&str, &str)], line: &[&str]) -> (Command, Vec<OsString>) {
        let variable = |name: &std::ffi::OsStr| {
            set.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).into())
        };
        with(Cli::command(), line.iter().map(Into::into).collect(), variable)
    }

    #[test]
    fn empty_variable_counts_as_absent() {
        let set = &[("CP_TLS_CERT", ""), ("CP_BASE_URL", " \r\n"), ("CP_BOOTSTRAP_TOKEN", "")];
        let (command, line) = settled(set, &["cp-server", "serve"]);
        let env = |id: &str| {
            let arg = command.get_arguments().find(|arg| arg.get_id() == id).unwrap();
            arg.get_env().is_some()
        };
        assert!(!env("tls_cert") && !env("base_url"));
        assert!(env("bootstrap_token"), "an empty secret is refused");
        assert!(env("tls_key"));
        assert_eq!(line, ["cp-server", "serve"]);
    }

    #[test]
    fn variable_loses_what_surrounds_its_value() {
        let set = &[("CP_BASE_URL", "\u{feff}https://a.example\r\n"), ("CP_AUDIENCE", " a b ")];
        let (_, line) = settled(set, &["cp-server", "serve"]);
        assert_eq!(line, ["cp-server", "--base-url=https://a.example", "--audience=a b", "serve"]);
        let (_, line) = settled(set, &["cp-server", "--base-url", "https://b.example", "serve"]);
        let right = ["cp-server", "--audience=a b", "--base-url", "https://b.example", "serve"];
        assert_eq!(line, right, "a flag overrides a variable");
    }
}
