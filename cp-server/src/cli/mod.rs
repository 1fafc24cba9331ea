//! The command line.

mod arguments;
mod audit;
mod backup;
mod clock;
mod commands;
mod completion;
mod console;
mod events;
mod fields;
mod import;
mod keys;
mod lease;
mod license;
mod operations;
mod output;
mod progress;
mod refusal;
mod serving;
mod shells;
mod syntax;
mod target;
mod variables;
mod verbs;

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::parser::ValueSource;
use clap::{ArgMatches, FromArgMatches};
use serde_json::Value;

use self::fields::Input;
use self::output::Form;
use self::syntax::Command;
use self::target::{Target, say, show};
use crate::client;
use crate::config::Config;
use crate::config::installation::Purpose;
use crate::kernel::{http::openapi, panics};
use crate::server::examples;
use crate::telemetry;

pub fn main() -> ExitCode {
    shells::answer();
    let line: Vec<_> = std::env::args_os().collect();
    let (command, line) = variables::read(commands::of(&line), line);
    let matches = match command.try_get_matches_from(line) {
        Ok(matches) => matches,
        Err(error) => return refusal::refuse(error),
    };
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let ended = tokio::runtime::Builder::new_multi_thread()
        // Reads of SQLite block a thread each, at most one a core.
        .worker_threads(cores.max(2) * 2)
        .enable_all()
        .build()
        .context("the runtime could not start")
        .and_then(|runtime| runtime.block_on(run(&matches)));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", causes(&error));
            ExitCode::FAILURE
        }
    }
}

/// Returns the message of an error and its causes. The drivers of databases repeat a cause in their
/// own message, so a cause that is already in the text is left out.
fn causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

async fn run(matches: &ArgMatches) -> anyhow::Result<()> {
    let mut config = Config::from_arg_matches(matches)?;
    let is_given = |id: &str| matches.value_source(id).filter(|s| *s != ValueSource::DefaultValue);
    config.base_url_is_given = is_given("base_url").is_some();
    config.audience_is_given = is_given("audience") == Some(ValueSource::CommandLine);
    let target = Target::from_arg_matches(matches)?;
    let path = commands::path(matches);
    match is_given("url") {
        Some(ValueSource::CommandLine) if commands::is_local(&path) => {
            bail!("this command works on the database of this machine, and accepts no --url");
        }
        Some(_) if commands::is_of_database(&path) && target.url.as_deref() != Some("") => {
            eprintln!("note: this command works on the database of this machine, not on CP_URL");
        }
        _ => {}
    }
    if !commands::writes_file(&path) {
        let forms: &[Form] = if commands::is_local(&path) { &[] } else { &Form::ALL };
        Form::among(target.output.as_deref(), forms)?;
    }
    telemetry::log(&config.log, config.log_format)?;
    panics::install_hook();
    match verbs::run(matches, &config, &target).await {
        Some(done) => done,
        None => run_command(Command::from_arg_matches(matches)?, &config, &target).await,
    }
}

async fn run_command(command: Command, config: &Config, target: &Target) -> anyhow::Result<()> {
    match command {
        Command::Serve { accept_new_issuer } => serving::run(config, accept_new_issuer).await,
        Command::Quickstart { no_serve } => serving::run_quickstart(config, no_serve).await,
        Command::Migrate => {
            let bar = progress::waiting("migrating");
            let app = config.open(Purpose::SettingUp).await;
            bar.finish_and_clear();
            app?.db.close().await;
            println!("The database is up to date.");
            Ok(())
        }
        Command::Backup(backup) => backup::run(config, backup).await,
        Command::Restore(restore) => backup::run_restore(config, restore).await,
        Command::Import(import) => import::run(config, target, import).await,
        Command::Console(console) => console::run(config, console).await,
        Command::Keys(keys) => keys::run(config, target, keys).await,
        Command::License(license) => license::run(config, target, license).await,
        Command::Lease(lease) => lease::run(config, target, lease).await,
        Command::Audit(audit) => audit::run(config, target, audit).await,
        Command::Events(events) => events::run(config, target, events).await,
        Command::Clock(clock) => clock::run(config, clock).await,
        Command::Call(call) => {
            let line = client::line(&call.operation)?;
            let mut args = call.data.unwrap_or_default();
            args.extend(arguments::typed(&Input::of(&line, &Value::Null), call.args));
            show(config, target, &call.operation, args).await
        }
        Command::Operations { name: None } => say(operations::list().trim_end()),
        Command::Operations { name: Some(name) } => say(operations::page(&name)?.trim_end()),
        Command::Openapi => say(&serde_json::to_string_pretty(&openapi::document(
            &crate::operations().published(),
            &config.base_url,
            &examples::EXAMPLES,
        ))?),
        Command::Completions { shell } => say(shells::script(shell)?.trim_end()),
        Command::Settings => {
            let mut command = commands::whole();
            command.build();
            let settings = command.find_subcommand_mut("settings").context("settings")?;
            Ok(settings.print_help()?)
        }
        Command::Org(verb)
        | Command::Member(verb)
        | Command::Plan(verb)
        | Command::Subscription(verb)
        | Command::Deployment(verb)
        | Command::Token(verb)
        | Command::Usage(verb) => match verb {},
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cause_that_the_message_repeats_is_printed_once() {
        let error = anyhow::anyhow!("no route").context("connecting: no route").context("opening");
        assert_eq!(causes(&error), "opening: connecting: no route");
        let error = anyhow::anyhow!("no route").context("opening");
        assert_eq!(causes(&error), "opening: no route");
    }
}
