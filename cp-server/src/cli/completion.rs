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

/// How long a server may take to list its IDs.
const PATIENCE: Duration = Duration::from_secs(1);
/// The most organizations whose objects are listed.
const ORGANIZATIONS: usize = 20;

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

/// Completes a positional argument of a verb: the IDs of the objects that its path names.
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

/// Returns the resource that a field names: the one before it in the path, or that of its name.
fn resource(path: &str, field: &str) -> Option<String> {
    if let Some((before, _)) = path.split_once(&format!("/{{{field}}}")) {
        return before.rsplit('/').next().map(|resource| resource.replace('-', "_"));
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
    let operation = |name: &str| client::line(&format!("{resource}.{name}")).ok();
    let all = [operation("list_all"), operation("list")].into_iter().flatten();
    let Some(line) = all.min_by_key(|line| line.path.matches('{').count()) else {
        return Vec::new();
    };
    let mut items = Vec::new();
    if line.path.contains("{org}") {
        let organizations = page(&client, "organizations.list", Map::new()).await;
        for organization in organizations.iter().take(ORGANIZATIONS) {
            let args = Map::from_iter([("org".to_owned(), organization["id"].clone())]);
            items.extend(page(&client, line.name, args).await);
        }
    } else {
        items = page(&client, line.name, Map::new()).await;
    }
    let key = if resource == "organizations" { "slug" } else { key_of(&line) };
    let candidate = |item: &Value| {
        let name = item["name"].as_str().or(item["status"].as_str()).unwrap_or_default();
        Some(CompletionCandidate::new(id_of(key, item)?).help(Some(name.to_owned().into())))
    };
    items.iter().filter_map(candidate).collect()
}

async fn page(client: &Client, operation: &str, mut args: Map<String, Value>) -> Vec<Value> {
    args.insert("limit".into(), json!(100));
    let mut answer = client.call(operation, args).await.unwrap_or_default();
    match answer["items"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}
