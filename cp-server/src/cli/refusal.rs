//! What a wrong command line is answered with.

use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Cli;

/// Says what is wrong with the command line. A refused setting is named by its variable too, with
/// a right example, and without its value, which may be a secret.
pub(super) fn refuse(error: &clap::Error) -> ExitCode {
    let setting = match (error.kind(), error.get(ContextKind::InvalidArg)) {
        (ErrorKind::ValueValidation | ErrorKind::InvalidValue, Some(ContextValue::String(arg))) => {
            let flag = arg.split(' ').next().unwrap_or_default().trim_start_matches("--");
            let command = Cli::command();
            let found = command.get_arguments().find(|a| a.get_long() == Some(flag)).cloned();
            found.filter(|arg| arg.get_env().is_some())
        }
        _ => None,
    };
    let Some(setting) = setting else {
        let _ = error.print();
        return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
    };
    let variable = setting.get_env().map(|v| v.to_string_lossy().into_owned()).unwrap_or_default();
    let flag = setting.get_long().unwrap_or_default();
    let cause = std::error::Error::source(error)
        .map_or_else(|| "it takes one of text, json".to_owned(), ToString::to_string);
    let example = setting.get_default_values().first().map(|v| v.to_string_lossy().into_owned());
    eprint!("error: {variable} (--{flag}): {cause}");
    eprintln!("{}", example.map(|e| format!("; the default is {e}")).unwrap_or_default());
    ExitCode::from(2)
}
