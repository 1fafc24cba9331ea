//! Completion in shells.
//!
//! # Design
//!
//! `cp-server completions bash` prints a small script, which calls this program with the words of
//! the line. So completion knows the operations, their fields, and the IDs of a server.

use std::ffi::OsStr;

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};

use super::{commands, completion};
use crate::kernel::http::line::Line;

/// The variable that the script sets.
const VARIABLE: &str = "CP_COMPLETE";

/// Completes a command line and ends the process, if a shell asks for it.
pub(super) fn answer() {
    CompleteEnv::with_factory(|| with_operations(commands::whole())).var(VARIABLE).complete();
}

/// Returns the script of a shell.
pub(super) fn script(shell: Shell) -> anyhow::Result<String> {
    let shells = Shells::builtins();
    let adapter = shells.completer(&shell.to_string()).context("the shell is not supported")?;
    let program = std::env::current_exe()?.display().to_string();
    let mut script = Vec::new();
    adapter.write_registration(VARIABLE, "cp-server", "cp-server", &program, &mut script)?;
    Ok(String::from_utf8(script)?)
}

/// Adds the operations to `call` and `operations`, and the fields of the operation in the line.
fn with_operations(command: Command) -> Command {
    let operations = |_: &OsStr| -> Vec<CompletionCandidate> {
        let table = crate::operations().published().table;
        let summary = |line: &Line| line.doc.trim().lines().next().unwrap_or_default().to_owned();
        table
            .iter()
            .map(|line| CompletionCandidate::new(line.name).help(Some(summary(line).into())))
            .collect()
    };
    let operations = move |current: &OsStr| completion::matching(operations(current), current);
    command
        .mut_subcommand("call", |call| {
            call.mut_arg("operation", |arg| arg.add(ArgValueCompleter::new(operations)))
                .mut_arg("args", |arg| arg.add(ArgValueCompleter::new(completion::pairs)))
        })
        .mut_subcommand("operations", |list| {
            list.mut_arg("name", |arg| arg.add(ArgValueCompleter::new(operations)))
        })
}
