//! The command line, and what it asks for.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::FromArgMatches;
use dp_verifier::cp_contracts::PoolUsage;
use serde_json::Number;

use crate::commands::{
    Command, CommandLine, EarlyOptions, LicenseFile, LogCommand, Options, Report, StateCommand,
    commands,
};

/// The work that a command line asks for.
pub(crate) enum Task {
    /// Check one token.
    Token(OsString),
    /// Check the tokens on standard input.
    Lines,
    /// Check the token of a license file.
    Bundle(PathBuf),
    /// Import a license file.
    Import(PathBuf),
    /// Check a proof.
    Proof { file: PathBuf, key: String },
    /// Show what is stored about the issuer's log.
    Log { state: PathBuf },
    /// Accept the log as it is from now on.
    AcceptLog { state: PathBuf, because: String },
    /// Show what else is stored.
    State { state: PathBuf },
    /// Forget everything but the log.
    ResetState { state: PathBuf, because: String },
    /// Write a usage report.
    Report {
        state: PathBuf,
        output: PathBuf,
        counters: Vec<(String, Number)>,
        pools: Vec<(String, PoolUsage)>,
    },
}

/// Reads the command line of this process. Exits when clap refuses it; fails when its parts do not
/// fit together.
pub(crate) fn read() -> Result<(Task, Options), String> {
    if let Some(option) = repeated_option() {
        return Err(format!("{option} is given twice"));
    }
    let matches = commands().get_matches();
    let line = CommandLine::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    let CommandLine { command, token, options, early } = line;
    if options.ca.is_some() && options.jwks.is_none() {
        return Err("--ca requires --jwks".to_owned());
    }
    if options.allow_unlogged && options.require_inclusion {
        return Err("--allow-unlogged and --require-inclusion exclude each other".to_owned());
    }
    let task = task(command, token, &options, early)?;
    let checks_tokens =
        matches!(task, Task::Token(_) | Task::Lines | Task::Bundle(_) | Task::Import(_));
    if checks_tokens && (options.issuer.is_none() || options.audience.is_none()) {
        return Err("--issuer and --audience are required: every token must name them".to_owned());
    }
    Ok((task, options))
}

/// Returns an option of all commands that stands before a command and after it. clap would use the
/// last one without a word.
fn repeated_option() -> Option<String> {
    let given: Vec<_> = env::args_os().skip(1).take_while(|argument| argument != "--").collect();
    let line = commands();
    let options = line.get_arguments().filter(|option| option.is_global_set());
    let mut options = options.filter_map(|option| Some(format!("--{}", option.get_long()?)));
    options.find(|option| {
        let with_value = format!("{option}=");
        let is_option = |argument: &&OsString| {
            let argument = argument.to_string_lossy();
            argument == *option || argument.starts_with(&with_value)
        };
        given.iter().filter(is_option).count() > 1
    })
}

fn task(
    command: Option<Command>,
    token: Option<OsString>,
    options: &Options,
    early: EarlyOptions,
) -> Result<Task, String> {
    let EarlyOptions { early_because, mut early_counter, mut early_pool, early_output } = early;
    let takes_reason = matches!(
        command,
        Some(Command::Log { command: Some(_) } | Command::State { command: Some(_) })
    );
    if early_because.is_some() && !takes_reason {
        return Err("--because is an option of `log accept` and `state reset`".to_owned());
    }
    let is_report = early_output.is_some() || !early_counter.is_empty() || !early_pool.is_empty();
    if is_report && !matches!(command, Some(Command::Report(_))) {
        return Err("--counter, --pool and -o are options of `report`".to_owned());
    }
    let state = |command| required(command, "--state", options.state.clone());
    Ok(match (command, token) {
        (None, None) => Task::Lines,
        (None, Some(token)) if token == "-" => Task::Lines,
        (None, Some(token)) => Task::Token(token),
        (Some(_), Some(_)) => {
            let why =
                "a token and a command exclude each other; write many tokens to standard input";
            return Err(why.to_owned());
        }
        (Some(Command::Bundle(LicenseFile { file })), None) => Task::Bundle(file),
        (Some(Command::Import(LicenseFile { file })), None) => {
            state("import")?;
            Task::Import(file)
        }
        (Some(Command::Proof { file }), None) => {
            let key = required("proof", "--log-key", options.log_key.clone())?;
            Task::Proof { file, key }
        }
        (Some(Command::Log { command: None }), None) => Task::Log { state: state("log")? },
        (Some(Command::Log { command: Some(LogCommand::Accept(reason)) }), None) => {
            let because = once("--because", early_because, reason.because)?;
            let because = required("log accept", "--because", because)?;
            Task::AcceptLog { state: state("log accept")?, because }
        }
        (Some(Command::State { command: None }), None) => Task::State { state: state("state")? },
        (Some(Command::State { command: Some(StateCommand::Reset(reason)) }), None) => {
            let because = once("--because", early_because, reason.because)?;
            let because = required("state reset", "--because", because)?;
            Task::ResetState { state: state("state reset")?, because }
        }
        (Some(Command::Report(Report { counter, pool, output })), None) => {
            early_counter.extend(counter);
            early_pool.extend(pool);
            named_once("--counter", &early_counter)?;
            named_once("--pool", &early_pool)?;
            let output = once("-o", early_output, output)?;
            let output = required("report", "-o", output)?;
            let state = state("report")?;
            Task::Report { state, output, counters: early_counter, pools: early_pool }
        }
    })
}

fn required<T>(command: &str, option: &str, value: Option<T>) -> Result<T, String> {
    value.ok_or_else(|| format!("`{command}` requires {option}"))
}

/// Refuses a name that is given twice: the last value would win without a word.
fn named_once<T>(option: &str, given: &[(String, T)]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for (name, _) in given {
        if !names.insert(name) {
            return Err(format!("{option} {name:?} is given twice"));
        }
    }
    Ok(())
}

fn once<T>(option: &str, early: Option<T>, late: Option<T>) -> Result<Option<T>, String> {
    match (early, late) {
        (Some(_), Some(_)) => Err(format!("{option} is given twice")),
        (early, late) => Ok(early.or(late)),
    }
}
