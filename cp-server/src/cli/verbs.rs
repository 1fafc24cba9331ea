//! The commands that are operations, such as `cp-server plan create`.
//!
//! # Design
//!
//! A verb names an operation and its positional arguments. The other fields of the operation are
//! its flags, with the types and descriptions of the schema. So a verb is one entry of a list, and
//! a new field of the API is a new flag without a change here.

mod list;
mod verb;

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, Subcommand};
use clap_complete::engine::ArgValueCompleter;
use serde_json::{Map, Value};

use self::list::verbs;
use self::verb::Verb;
use super::completion;
use super::fields::{Field, Input, Place, Types};
use super::target::{FLAGS, Target, show};
use super::{arguments, fields};
use crate::client;
use crate::config::Config;
use crate::kernel::http::line::Line;

/// The flags of fields that have another name than the field.
const SHORT: [(&str, &str); 13] = [
    ("default_features", "features"),
    ("deployment_id", "deployment"),
    ("feature_overrides", "features"),
    ("idempotency_key", "key"),
    ("observed_at", "at"),
    ("org", "organization"),
    ("permissions", "permission"),
    ("plan_code", "plan"),
    ("project_id", "project"),
    ("run_id", "run"),
    ("seat_cap", "seats"),
    ("subscription_id", "subscription"),
    ("user_id", "user"),
];

/// A command all of whose subcommands are verbs.
#[derive(Subcommand)]
pub(super) enum Verbs {}

/// Adds the verbs to the commands of their nouns; with their arguments if the noun is wanted.
pub(super) fn extend(command: Command, is_wanted: impl Fn(&str) -> bool) -> Command {
    verbs().into_iter().fold(command, |command, verb| {
        let nouns: Vec<&str> = verb.noun.split(' ').collect();
        let verb = match is_wanted(nouns[0]) {
            true => verb.command(),
            false => Command::new(verb.name).about(verb.about),
        };
        below(command, &nouns, verb)
    })
}

/// Adds the verb below its nouns, such as `license key`.
fn below(command: Command, nouns: &[&str], verb: Command) -> Command {
    match nouns {
        [] => command.subcommand(verb),
        [noun, others @ ..] => {
            command.mut_subcommand(*noun, |command| below(command, others, verb))
        }
    }
}

/// Runs the verb of the command line. `None` means that the command is no verb.
pub(super) async fn run(
    matches: &ArgMatches,
    config: &Config,
    target: &Target,
) -> Option<anyhow::Result<()>> {
    let (mut words, mut matches) = (Vec::new(), matches);
    while let Some((word, below)) = matches.subcommand() {
        words.push(word);
        matches = below;
    }
    let words = words.join(" ");
    let verb = verbs().into_iter().find(|verb| format!("{} {}", verb.noun, verb.name) == words)?;
    Some(verb.run(matches, config, target).await)
}

impl Verb {
    /// Returns the fields of all operations, and whether all require them.
    fn fields(&self) -> Vec<Field> {
        let mut inputs = self.inputs().into_iter().map(|(_, input)| input.fields);
        let mut fields = inputs.next().unwrap_or_default();
        for more in inputs {
            for field in &mut fields {
                let also = more.iter().find(|other| other.name == field.name);
                field.is_required &= also.is_some_and(|other| other.is_required);
            }
            let is_new = |field: &Field| !fields.iter().any(|known| known.name == field.name);
            let new: Vec<Field> = more.into_iter().filter(is_new).collect();
            fields.extend(new.into_iter().map(|field| Field { is_required: false, ..field }));
        }
        fields.retain(|field| !self.without.contains(&&*field.name));
        fields
    }

    fn inputs(&self) -> Vec<(Line, Input)> {
        let line = |name: &&str| client::line(name).ok();
        let lines = self.operations.iter().filter_map(line);
        lines.map(|line| (line.clone(), Input::of(&line, &Value::Null))).collect()
    }

    fn command(&self) -> Command {
        let mut fields = self.fields();
        let mut command = Command::new(self.name).about(self.about);
        for (name, shown) in &self.positionals {
            let Some(at) = fields.iter().position(|field| field.name == *name) else { continue };
            let field = fields.remove(at);
            let complete = completion::of_positional(self.operations[0], name);
            command = command.arg(
                Arg::new(id_of(&field.name))
                    .value_name(*shown)
                    .required(field.is_required)
                    // A thumbprint in base64url may begin with a hyphen.
                    .allow_hyphen_values(*name == "kid")
                    .allow_negative_numbers(true)
                    .help(fields::first_sentence(&field.description).to_owned())
                    .add(ArgValueCompleter::new(complete)),
            );
        }
        fields.sort_by_key(|field| !field.is_required);
        let flags: Vec<String> = fields.iter().map(|field| self.flag_of(&field.name)).collect();
        for (field, flag) in fields.into_iter().zip(&flags) {
            command = command.arg(self.argument(field, flag));
        }
        for (flag, field, value) in &self.switches {
            let help = format!("The same as --{} {value}", self.flag_of(field));
            command = command
                .arg(Arg::new(id_of(flag)).long(*flag).action(ArgAction::SetTrue).help(help));
        }
        command
    }

    fn argument(&self, field: Field, flag: &str) -> Arg {
        let full = field.name.replace('_', "-");
        let mut help = fields::first_sentence(&field.description).to_owned();
        let mut arg = Arg::new(id_of(&field.name)).long(flag.to_owned());
        if full != flag && !FLAGS.contains(&&*full) {
            arg = arg.alias(full);
        }
        let default = self.defaults.iter().find(|(name, _)| *name == field.name);
        if let Some((_, value)) = default {
            arg = arg.default_value(*value);
        }
        if field.types.is(Types::BOOLEAN) {
            arg = arg.num_args(0..=1).require_equals(true).default_missing_value("true");
            arg = arg.value_name("false");
        } else {
            let options = field.options.join("|");
            arg = match options.len() {
                1..=32 => arg.value_name(options),
                0 => arg.value_name(value_name(&field)),
                _ => {
                    help = format!("{help} [{}]", field.options.join(", "));
                    arg.value_name(value_name(&field))
                }
            };
            arg = arg.add(ArgValueCompleter::new(completion::of(&field)));
        }
        if field.types.has(Types::ARRAY) || field.types.has(Types::OBJECT) {
            arg = arg.action(ArgAction::Append);
        }
        arg = arg.allow_negative_numbers(true);
        arg.help(help).required(field.is_required && default.is_none())
    }

    fn flag_of(&self, field: &str) -> String {
        let renamed = self.renamed.iter().chain(&SHORT).find(|(name, _)| *name == field);
        let name = renamed.map_or(field, |(_, flag)| flag);
        name.strip_suffix("_seconds").unwrap_or(name).replace('_', "-")
    }

    async fn run(
        &self,
        matches: &ArgMatches,
        config: &Config,
        target: &Target,
    ) -> anyhow::Result<()> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for field in self.fields() {
            let values = matches.get_many::<String>(&id_of(&field.name)).into_iter().flatten();
            pairs.extend(values.map(|value| (field.name.clone(), value.clone())));
        }
        for (flag, field, value) in &self.switches {
            if matches.get_flag(&id_of(flag)) {
                pairs.retain(|(name, _)| name != field);
                pairs.push(((*field).to_owned(), (*value).to_owned()));
            }
        }
        let is_given = |field: &Field| pairs.iter().any(|(name, _)| *name == field.name);
        let mut inputs = self.inputs();
        let chosen = inputs.iter().position(|(_, input)| {
            input.fields.iter().filter(|field| field.place == Place::Path).all(is_given)
        });
        let at = chosen.or(inputs.len().checked_sub(1)).context("the command has no operation")?;
        let (line, input) = inputs.swap_remove(at);
        let missing = input.fields.iter().find(|field| field.is_required && !is_given(field));
        if let Some(field) = missing {
            anyhow::bail!("--{} is required", self.flag_of(&field.name));
        }
        let args: Map<String, Value> = arguments::typed(&input, pairs);
        show(config, target, line.name, args).await
    }
}

/// Returns the ID of a field's argument. A field may have the name of a global option, such as
/// `token`.
fn id_of(field: &str) -> String {
    format!("field {field}")
}

/// Returns the name of a flag's value in help.
fn value_name(field: &Field) -> &'static str {
    if field.name.ends_with("_seconds") {
        return "SPAN";
    }
    match &*field.kind {
        kind if kind.contains("date-time") => "INSTANT",
        kind if kind.contains("uuid") => "ID",
        kind if kind.contains("integer") || kind.contains("number") => "NUMBER",
        _ if field.types.has(Types::STRING) => "TEXT",
        _ if field.types.has(Types::ARRAY) => "VALUE",
        _ if field.types.has(Types::OBJECT) => "NAME=VALUE|JSON",
        _ => "TEXT",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_names_operations_and_fields_that_exist() {
        for verb in verbs() {
            let words = format!("{} {}", verb.noun, verb.name);
            assert_eq!(verb.inputs().len(), verb.operations.len(), "{words}");
            let inputs = verb.inputs();
            let is_field = |name: &str| inputs.iter().any(|(_, i)| i.named(name).is_some());
            let named = verb.positionals.iter().chain(&verb.renamed).chain(&verb.defaults);
            let named = named.map(|(field, _)| *field).chain(verb.switches.iter().map(|s| s.1));
            for name in named.chain(verb.without.iter().copied()) {
                assert!(is_field(name), "{words}: no operation has the field {name}");
            }
        }
    }
}
