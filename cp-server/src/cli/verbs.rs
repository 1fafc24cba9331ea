//! The commands that are operations, such as `cp-server plan create`.
//!
//! # Design
//!
//! A verb names an operation and its positional arguments. The other fields of the operation are
//! its flags, with the types and descriptions of the schema. So a verb is one entry of a list, and
//! a new field of the API is a new flag without a change here.

use anyhow::Context;
use clap::{Arg, ArgAction, ArgMatches, Command, Subcommand};
use clap_complete::engine::ArgValueCompleter;
use serde_json::{Map, Value};

use super::completion;
use super::fields::{Field, Input, Place, Types};
use super::target::{Target, show};
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

/// A command that is an operation.
pub(super) struct Verb {
    noun: &'static str,
    name: &'static str,
    about: &'static str,
    /// The operations. The first one whose path is given is called.
    operations: &'static [&'static str],
    /// Positional arguments: the field and its name in help.
    positionals: Vec<(&'static str, &'static str)>,
    /// Flags of path parameters: the field and its flag.
    renamed: Vec<(&'static str, &'static str)>,
    defaults: Vec<(&'static str, &'static str)>,
    /// Flags without a value: the flag, the field and the field's value.
    switches: Vec<(&'static str, &'static str, &'static str)>,
    without: &'static [&'static str],
}

impl Verb {
    fn new(
        words: &'static str,
        about: &'static str,
        operations: &'static [&'static str],
        positionals: &[(&'static str, &'static str)],
    ) -> Self {
        let (noun, name) = words.rsplit_once(' ').unwrap_or((words, words));
        Self {
            noun,
            name,
            about,
            operations,
            positionals: positionals.into(),
            renamed: Vec::new(),
            defaults: Vec::new(),
            switches: Vec::new(),
            without: &[],
        }
    }

    fn flag(mut self, field: &'static str, flag: &'static str) -> Self {
        self.renamed.push((field, flag));
        self
    }

    fn default(mut self, field: &'static str, value: &'static str) -> Self {
        self.defaults.push((field, value));
        self
    }

    fn switch(mut self, flag: &'static str, field: &'static str, value: &'static str) -> Self {
        self.switches.push((flag, field, value));
        self
    }

    fn without(mut self, fields: &'static [&'static str]) -> Self {
        self.without = fields;
        self
    }
}

const ORG: (&str, &str) = ("org", "ORG");
const ID: (&str, &str) = ("id", "ID");

#[rustfmt::skip]
fn verbs() -> Vec<Verb> {
    let verb = Verb::new;
    vec![
        verb("org create", "Create an organization with its subscription, its quotas and its owner",
             &["organizations.create"], &[("name", "NAME")]),
        verb("org list", "List the organizations", &["organizations.list"], &[]),
        verb("org show", "Show an organization", &["organizations.read"], &[ORG]),
        verb("org quota", "Show the quotas, or check whether an amount of one metric fits",
             &["quotas.check", "quotas.list"], &[ORG, ("metric", "METRIC")]),
        verb("member add", "Add a person to an organization; an unknown address creates a user",
             &["memberships.create"], &[ORG, ("email", "EMAIL")]).default("role", "member"),
        verb("member list", "List the members of an organization", &["memberships.list"], &[ORG]),
        verb("plan create", "Create a plan", &["plans.create"], &[("code", "CODE")]),
        verb("plan list", "List the plans", &["plans.list"], &[]),
        verb("plan show", "Show a plan", &["plans.read"], &[("code", "CODE")]),
        verb("subscription create", "Subscribe an organization to a plan",
             &["subscriptions.create"], &[ORG, ("plan_code", "PLAN")]),
        verb("subscription list", "List the subscriptions of an organization",
             &["subscriptions.list"], &[ORG]),
        verb("subscription show", "Show a subscription", &["subscriptions.read"], &[ID]),
        verb("subscription update", "Change a subscription", &["subscriptions.update"], &[ID]),
        verb("subscription cancel", "Cancel a subscription, now or later",
             &["subscriptions.cancel"], &[ID]),
        verb("deployment create", "Create a deployment of an organization",
             &["deployments.create"], &[ORG, ("name", "NAME")]),
        verb("deployment list", "List the deployments of an organization",
             &["deployments.list"], &[ORG]),
        verb("deployment show", "Show a deployment", &["deployments.read"], &[ID]),
        verb("license create", "Create a license for a deployment",
             &["licenses.create"], &[("id", "DEPLOYMENT")]),
        verb("license list", "List the licenses, of an organization or of all",
             &["licenses.list", "licenses.list_all"], &[ORG]),
        verb("license show", "Show a license and its effective features and limits",
             &["licenses.read"], &[ID]),
        verb("license suspend", "Suspend a license until it is reinstated",
             &["licenses.suspend"], &[ID]),
        verb("license reinstate", "Reinstate a suspended license", &["licenses.reinstate"], &[ID]),
        verb("license revoke", "Revoke a license and its bundles permanently",
             &["licenses.revoke"], &[ID]),
        verb("license key create", "Create a key of a license. It is printed once",
             &["license_keys.create"], &[("id", "LICENSE")]).without(&["key"]),
        verb("license key list", "List the keys of a license", &["license_keys.list"],
             &[("id", "LICENSE")]),
        verb("license key rotate", "Replace a license key. The new one is printed once",
             &["license_keys.rotate"], &[ID]),
        verb("license key revoke", "Revoke a license key permanently",
             &["license_keys.revoke"], &[ID]),
        verb("license pools", "Show the pools of a license, and how many of their seats are taken",
             &["leases.pools"], &[ID]),
        verb("lease claim", "Claim a seat of a license", &["leases.claim"],
             &[("id", "LICENSE"), ("holder", "HOLDER")]),
        verb("lease list", "List the live leases of a license", &["leases.list"],
             &[("id", "LICENSE")]).without(&["license"]),
        verb("lease show", "Show a lease, also an ended one", &["leases.read"], &[ID]),
        verb("lease return", "Return a borrowed seat before its end", &["leases.return"], &[ID]),
        verb("lease release", "End a lease", &["leases.release"], &[ID]).without(&["holder"]),
        verb("lease reset", "End all leases of a license, or of one of its pools",
             &["leases.reset"], &[("id", "LICENSE")]),
        verb("license token", "Sign a license token, with the vendor's own life and audience",
             &["licenses.token"], &[ID]),
        verb("token create", "Create a service token. It is printed once",
             &["service_tokens.create", "service_tokens.create_for_deployment",
               "service_tokens.create_for_platform"], &[("name", "NAME")]).flag("id", "deployment"),
        verb("token list", "List service tokens",
             &["service_tokens.list", "service_tokens.list_for_deployment",
               "service_tokens.list_all"], &[]).flag("id", "deployment"),
        verb("token rotate", "Replace the secret of a token. The new one is printed once",
             &["service_tokens.rotate"], &[ID]),
        verb("token revoke", "Revoke a service token", &["service_tokens.revoke"], &[ID]),
        verb("token whoami", "Show the identity of a token, its permissions, and their origin",
             &["me.read"], &[]),
        verb("keys list", "List the signing keys", &["keys.list"], &[]),
        verb("keys info", "Show the signing configuration, and when the next rotation is due",
             &["keys.info"], &[]),
        verb("keys show", "Show a key and the number of tokens that it signed",
             &["keys.read"], &[("kid", "KID")]),
        verb("keys generate", "Create a key and publish it. It signs after a rotation",
             &["keys.create"], &[]).without(&["pem", "passphrase", "publish"]),
        verb("keys activate", "Activate a published key, so that it signs",
             &["keys.activate"], &[("kid", "KID")]),
        verb("keys rotate", "Activate the successor key, and publish the next one",
             &["keys.rotate"], &[]),
        verb("keys retire", "Retire a key whose tokens have all expired",
             &["keys.retire"], &[("kid", "KID")]),
        verb("keys compromise", "Withdraw a leaked key: its successor signs, its tokens are revoked",
             &["keys.compromise"], &[("kid", "KID")]),
        verb("usage record", "Record the usage of a metric",
             &["usage.record"], &[ORG, ("metric", "METRIC"), ("quantity", "QUANTITY")])
            .switch("enforce", "mode", "enforce"),
        verb("usage summary", "Sum up usage by metric and unit", &["usage.summarize"], &[ORG]),
    ]
}

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
                Arg::new(field.name.clone())
                    .value_name(*shown)
                    .required(field.is_required)
                    // A thumbprint in base64url may begin with a hyphen.
                    .allow_hyphen_values(*name == "kid")
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
            command =
                command.arg(Arg::new(*flag).long(*flag).action(ArgAction::SetTrue).help(help));
        }
        command
    }

    fn argument(&self, field: Field, flag: &str) -> Arg {
        let full = field.name.replace('_', "-");
        let mut help = fields::first_sentence(&field.description).to_owned();
        let mut arg = Arg::new(field.name.clone()).long(flag.to_owned());
        if full != flag {
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
            let values = matches.get_many::<String>(&field.name).into_iter().flatten();
            pairs.extend(values.map(|value| (field.name.clone(), value.clone())));
        }
        for (flag, field, value) in &self.switches {
            if matches.get_flag(flag) {
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
