//! The commands of the program, and what their help shows.
//!
//! # Design
//!
//! The settings of the server are flags of every command, and so are the target and the output.
//! Help that lists all of them for each command hides the command's own arguments. So they are
//! hidden, and only the help that is for them shows them: `serve --help` and `help settings` the
//! settings, `--help` of a client command its target. `-h` shows the command's own arguments.

use std::ffi::OsString;

use clap::{Arg, ArgMatches, Args, Command, CommandFactory};

use super::syntax::Cli;
use super::target::{FLAGS, Target};
use super::{operations, verbs};
use crate::config::Config;

/// Commands that start a server or need none: they have no target.
const LOCAL: [&str; 7] =
    ["serve", "quickstart", "settings", "operations", "openapi", "completions", "import keygen"];

/// Commands for the database of this machine: they have no target either.
const OF_DATABASE: [&str; 9] = [
    "migrate",
    "backup",
    "restore",
    "clock accept",
    "console link",
    "keys rekey",
    "audit verify",
    "audit key rotate",
    "audit key retire",
];

/// Commands whose `--output` is the file that they write.
const WITH_FILE: [&str; 4] = ["license export", "license token", "license refresh", "lease borrow"];

/// The help that a command line asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Help {
    /// `-h`, and the refusal of a line without a command.
    Short,
    /// `--help` and the command `help`.
    Long,
}

impl Help {
    pub(super) fn wanted(line: &[OsString]) -> Self {
        let is_long = line.iter().any(|word| word == "--help");
        if is_long || line.get(1).is_some_and(|word| word == "help") {
            Self::Long
        } else {
            Self::Short
        }
    }
}

/// Returns the command with all that its help may show.
pub(super) fn whole() -> Command {
    arranged(verbs::extend(Cli::command(), |_| true), Help::Long)
}

/// Returns the command for this line. The arguments of verbs whose nouns the line does not have are
/// left out: their schemas are many.
pub(super) fn of(line: &[OsString]) -> Command {
    let help = Help::wanted(line);
    let command = verbs::extend(Cli::command(), |noun| line.iter().any(|word| word == noun));
    let command = arranged(command, help);
    if help == Help::Short {
        return command;
    }
    // `call OPERATION --help` describes the operation.
    let operation = line.iter().skip_while(|word| *word != "call").nth(1);
    let operation = operation.and_then(|name| operations::page(name.to_str()?).ok());
    command.mut_subcommand("call", |call| match operation {
        Some(page) => call.after_help(page),
        None => call,
    })
}

fn arranged(command: Command, help: Help) -> Command {
    arrange(command.mut_args(|arg| arg.hide(true)), "", help)
}

fn arrange(mut command: Command, path: &str, help: Help) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    for name in &names {
        let path = format!("{path} {name}");
        command = command.mut_subcommand(name, |command| arrange(command, path.trim(), help));
    }
    if matches!(path, "serve" | "settings") {
        let about = command.get_about().cloned().unwrap_or_default();
        let hidden = Target::augment_args(command).mut_args(hidden_target);
        return Config::augment_args(hidden).about(about);
    }
    let more = match help {
        Help::Short => "More: --help. Settings of the server: `cp-server help settings`.",
        Help::Long => "Settings of the server: `cp-server help settings`.",
    };
    let examples = command.get_after_help().map(ToString::to_string);
    if help == Help::Long && path.is_empty() {
        command = command.mut_args(|arg| {
            let is_of_target = is_of_target(&arg);
            arg.hide(!is_of_target)
        });
    } else if help == Help::Long {
        let is_shown = !command.is_subcommand_required_set() && !is_local(path);
        // `license export` has an output of its own.
        let target = Target::augment_args(Command::new("target"));
        let new = |arg: &&Arg| command.get_arguments().all(|own| own.get_id() != arg.get_id());
        let new = target.get_arguments().filter(new).cloned().map(|arg| arg.hide(!is_shown));
        let new: Vec<Arg> = new.collect();
        command = command.args(new);
    }
    command.after_help(match examples.filter(|_| help == Help::Long || path.is_empty()) {
        // The list of all commands fills a screen.
        Some(start) if path.is_empty() => format!("{start}\n{more}"),
        Some(examples) => format!("{examples}\n\n{more}"),
        None => more.to_owned(),
    })
}

fn is_of_target(arg: &Arg) -> bool {
    FLAGS.contains(&arg.get_id().as_str())
}

fn hidden_target(arg: Arg) -> Arg {
    let is_hidden = arg.is_hide_set() || is_of_target(&arg);
    arg.hide(is_hidden)
}

/// Returns the words of the command that a line names.
pub(super) fn path(matches: &ArgMatches) -> String {
    match matches.subcommand() {
        Some((name, matches)) => format!("{name} {}", path(matches)).trim_end().to_owned(),
        None => String::new(),
    }
}

/// Whether a command works on the server's machine only.
pub(super) fn is_local(path: &str) -> bool {
    LOCAL.contains(&path) || is_of_database(path)
}

/// Whether the command's `--output` is a file, not a form.
pub(super) fn writes_file(path: &str) -> bool {
    WITH_FILE.contains(&path)
}

/// Whether a command works on the database of this machine, never on a server.
pub(super) fn is_of_database(path: &str) -> bool {
    OF_DATABASE.contains(&path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most lines of a command's help: one screen.
    const SCREEN: usize = 40;

    fn check(command: &mut Command, path: &str, help: Help) -> usize {
        let text = command.render_help().to_string();
        if matches!(path, "serve" | "settings") {
            assert!(text.contains("--database-url") && text.contains("CP_RATE_"), "{text}");
            return 1;
        }
        assert!(text.lines().count() <= SCREEN, "{path}:\n{text}");
        assert_eq!(text.matches("cp-server help settings").count(), 1, "{path}:\n{text}");
        assert!(!text.contains("--database-url"), "{path}:\n{text}");
        let is_leaf = !command.is_subcommand_required_set();
        let shows_target = help == Help::Long && is_leaf && !is_local(path);
        let shows_target = shows_target || path.is_empty() && help == Help::Long;
        assert_eq!(text.contains("--url <URL>"), shows_target, "{path}:\n{text}");
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            assert!(arg.get_help().is_some(), "{path}: {} is not described", arg.get_id());
        }
        let below = command.get_subcommands_mut().filter(|below| below.get_name() != "help");
        1 + below
            .map(|below| {
                let path = format!("{path} {}", below.get_name());
                check(below, path.trim(), help)
            })
            .sum::<usize>()
    }

    /// Calls `check` for each command that runs, with its words.
    fn leaves(command: &Command, path: &str, check: &mut impl FnMut(&Command, &str)) {
        if !command.is_subcommand_required_set() && !path.is_empty() {
            check(command, path);
        }
        for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
            leaves(below, format!("{path} {}", below.get_name()).trim(), check);
        }
    }

    #[test]
    fn flags_of_commands_differ_from_global_ones() {
        // The setting `--audience` and the option `--output` have another meaning there.
        let own = ["audience", "output"];
        let globals = Config::augment_args(Target::augment_args(Command::new("globals")));
        let commands = verbs::extend(Cli::command(), |_| true);
        leaves(&commands, "", &mut |command, path| {
            let is_own = |arg: &&Arg| !own.contains(&arg.get_id().as_str());
            for arg in command.get_arguments().filter(is_own) {
                let names = arg.get_long_and_visible_aliases().unwrap_or_default();
                let names = names.into_iter().chain(arg.get_all_aliases().unwrap_or_default());
                for global in globals.get_arguments() {
                    assert_ne!(arg.get_id(), global.get_id(), "{path}");
                    for name in names.clone() {
                        assert_ne!(Some(name), global.get_long(), "{path} --{name}");
                    }
                    let short = arg.get_short();
                    assert!(short.is_none() || short != global.get_short(), "{path} {short:?}");
                }
            }
        });
    }

    #[test]
    fn commands_that_write_a_file_have_an_output_of_their_own() {
        let mut own = Vec::new();
        leaves(&verbs::extend(Cli::command(), |_| true), "", &mut |command, path| {
            if command.get_arguments().any(|arg| arg.get_id().as_str() == "output") {
                own.push(path.to_owned());
            }
        });
        own.sort();
        let mut listed = WITH_FILE;
        listed.sort_unstable();
        assert_eq!(own, listed);
    }

    #[test]
    fn documentation_has_a_row_for_each_noun_with_all_verbs() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/cli.md"));
        let page = page.unwrap();
        let (_, table) = page.split_once("| noun | verbs |").unwrap();
        let words = |text: &str| -> Vec<String> {
            text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
        };
        let rows = table.lines().skip(2).take_while(|line| !line.is_empty());
        let mut documented: Vec<String> = rows
            .filter_map(|row| row.trim_matches(['|', ' ']).split_once(" | "))
            .flat_map(|(noun, verbs)| {
                let noun = words(noun).concat();
                words(verbs).into_iter().map(move |verb| format!("{noun} {verb}").trim().to_owned())
            })
            .collect();
        let mut actual = Vec::new();
        leaves(&whole(), "", &mut |_, path| actual.push(path.to_owned()));
        documented.sort();
        actual.sort();
        assert_eq!(documented, actual);
    }

    #[test]
    fn help_of_every_command_fits_on_one_screen_without_settings() {
        for help in [Help::Short, Help::Long] {
            let mut command = arranged(verbs::extend(Cli::command(), |_| true), help);
            command.build();
            assert!(check(&mut command, "", help) > 70);
        }
    }
}
