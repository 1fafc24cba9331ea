//! The candidates of a completion: allowed values, fields of an operation, and IDs.
//!
//! # Design
//!
//! IDs come from the server that CP_URL names. The database of this machine is not asked: opening it
//! migrates its schema.

use std::ffi::OsStr;
use std::time::Duration;

use clap_complete::engine::CompletionCandidate;
use serde_json::{Map, Value, json};

use super::fields::{Field, Input};
use super::output::{id_of, key_of};
use super::variables;
use crate::client::{self, Client, Remote};
use crate::config::authorities;
use crate::kernel::http::line::Line;

/// How long a server may take to list its IDs.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most organizations, or other parents, whose objects are listed.
const PARENTS: usize = 20;

/// Completes `name=value` of `call`.
#[expect(clippy::disallowed_methods, reason = "the script sets this variable for one call")]
pub(super) fn pairs(current: &OsStr) -> Vec<CompletionCandidate> {
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let operation = words.iter().skip_while(|word| *word != "call").nth(1);
    let Some(line) = operation.and_then(|name| client::line(name).ok()) else { return Vec::new() };
    let input = Input::of(&line, &Value::Null);
    let current = current.to_string_lossy();
    // Bash ends a word at `=`; other shells do not.
    let index = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|n| n.parse::<usize>().ok());
    let before = index.map(|index| &words[..words.len().min(index + 1)]).unwrap_or_default();
    let (before, name) = match (current.split_once('='), before) {
        (Some((name, _)), _) => (format!("{name}="), Some(name.to_owned())),
        (None, [.., name, equals]) if equals == "=" => (String::new(), Some(name.clone())),
        (None, [.., name]) if input.named(name).is_some() => (String::new(), Some(name.clone())),
        _ => (String::new(), None),
    };
    let candidates: Vec<CompletionCandidate> = match name {
        None => {
            let is_new = |name: &str| {
                !words.iter().any(|word| word == name || word.starts_with(&format!("{name}=")))
            };
            let new = input.fields.iter().filter(|field| is_new(&field.name));
            new.map(|field| {
                let help = format!("{} {}", field.kind, field.description);
                CompletionCandidate::new(format!("{}=", field.name)).help(Some(help.into()))
            })
            .collect()
        }
        Some(name) => {
            let options = input.named(&name).map(|field| field.options.clone()).unwrap_or_default();
            let options = options.into_iter().map(CompletionCandidate::new);
            let all = options.chain(ids(line.path, &name));
            all.map(|candidate| candidate.add_prefix(before.clone())).collect()
        }
    };
    matching(candidates, OsStr::new(&*current))
}

/// Completes the value of a flag: an allowed value, or an ID.
pub(super) fn of(field: &Field) -> impl Fn(&OsStr) -> Vec<CompletionCandidate> + use<> {
    let (name, options) = (field.name.clone(), field.options.clone());
    move |current| {
        let options = options.iter().map(CompletionCandidate::new);
        matching(options.chain(ids("", &name)).collect(), current)
    }
}

/// Completes a positional argument of a command: the IDs of the objects that its path names.
pub(super) fn of_positional(
    operation: &'static str,
    field: &'static str,
) -> impl Fn(&OsStr) -> Vec<CompletionCandidate> {
    move |current| {
        let Ok(line) = client::line(operation) else { return Vec::new() };
        matching(ids(line.path, field), current)
    }
}

pub(super) fn matching(
    candidates: Vec<CompletionCandidate>,
    current: &OsStr,
) -> Vec<CompletionCandidate> {
    let current = current.to_string_lossy();
    let fits = |candidate: &CompletionCandidate| {
        candidate.get_value().to_string_lossy().starts_with(&*current)
    };
    candidates.into_iter().filter(fits).collect()
}

/// Returns the IDs that a field may have; none if the server does not answer in time.
fn ids(path: &str, field: &str) -> Vec<CompletionCandidate> {
    let Some(resource) = resource(path, field) else { return Vec::new() };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let listed = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, list(&resource)).await.unwrap_or_default()
    });
    // A server that does not answer keeps no shell waiting.
    runtime.shutdown_background();
    listed
}

/// Returns the resource that a field names: the one that the path up to the field reads, or that of
/// the field's name.
fn resource(path: &str, field: &str) -> Option<String> {
    let named = format!("/{{{field}}}");
    if let Some((before, _)) = path.split_once(&named) {
        let own = format!("{before}{named}");
        let table = crate::operations().published().table;
        let read = |line: &&Line| line.path == own && line.name.ends_with(".read");
        if let Some(line) = table.iter().find(read) {
            return line.name.split('.').next().map(str::to_owned);
        }
        let last = before.rsplit('/').next()?;
        return Some(last.replace('-', "_"));
    }
    let name = field.strip_suffix("_id").or(field.strip_suffix("_code"))?;
    Some(format!("{name}s"))
}

#[expect(clippy::disallowed_methods, reason = "a completion has no parsed command line")]
async fn list(resource: &str) -> Vec<CompletionCandidate> {
    let setting = |name: &str| std::env::var(name).ok().filter(|text| !text.trim().is_empty());
    let (Some(url), Some(token)) = (setting("CP_URL"), setting("CP_TOKEN")) else {
        return Vec::new();
    };
    let authorities =
        setting("CP_CA_FILE").and_then(|path| authorities("--ca", path.as_ref()).ok());
    let (url, token) = (variables::trimmed(&url), variables::trimmed(&token));
    let client = Client::Remote(Remote::new(url, token, authorities));
    let Some(line) = list_of(resource) else { return Vec::new() };
    let items = items(&client, &line).await;
    let key = if resource == "organizations" { "slug" } else { key_of(&line) };
    let candidate = |item: &Value| {
        let mut names = ["name", "label", "status"].iter().filter_map(|name| item[name].as_str());
        let name = names.find(|name| !name.is_empty()).unwrap_or_default();
        Some(CompletionCandidate::new(id_of(key, item)?).help(Some(name.to_owned().into())))
    };
    items.iter().filter_map(candidate).collect()
}

/// Returns the operation that lists most of a resource.
fn list_of(resource: &str) -> Option<Line> {
    let names = ["list_all", "list_for_organization", "list"];
    names.iter().find_map(|name| client::line(&format!("{resource}.{name}")).ok())
}

/// Lists a resource. Of a resource that other objects contain, lists those of some of these objects.
async fn items(client: &Client, line: &Line) -> Vec<Value> {
    let parameter = line.path.split('{').nth(1).and_then(|rest| rest.split('}').next());
    let Some(parameter) = parameter else { return page(client, line, Map::new()).await };
    let parent = resource(line.path, parameter).and_then(|parent| list_of(&parent));
    let Some(parent) = parent.filter(|parent| parent.name != line.name) else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for object in Box::pin(items(client, &parent)).await.iter().take(PARENTS) {
        let Some(id) = id_of(key_of(&parent), object) else { continue };
        let args = Map::from_iter([(parameter.to_owned(), id.into())]);
        all.extend(page(client, line, args).await);
    }
    all
}

async fn page(client: &Client, line: &Line, mut args: Map<String, Value>) -> Vec<Value> {
    // A short list has no pages.
    if Input::of(line, &Value::Null).named("limit").is_some() {
        args.insert("limit".into(), json!(100));
    }
    let mut answer = client.call(line.name, args).await.unwrap_or_default();
    match answer["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}
