use std::collections::{BTreeMap, BTreeSet};

use super::sources;

/// The floors of the house, lowest first: each may look down, never up.
const FLOORS: [&str; 6] = ["kernel", "tenancy", "identity", "licensing", "metering", "lifecycle"];

/// The longest file that still tells one story.
const LINES: usize = 450;

#[test]
fn imports_go_downward_only() {
    let floor_of = |name: &str| FLOORS.iter().position(|floor| *floor == name);
    let mut upward = Vec::new();
    for (file, text) in sources("cp-server/src") {
        let Some(own) = floor_of(file.split(['/', '.']).next().unwrap()) else { continue };
        for path in paths_in(&text) {
            let above = match floor_of(&path) {
                Some(other) => other > own,
                // The library itself and the audit trail stand beside the kernel; the shell may
                // be used by nobody below it.
                None => ["cli", "config", "quickstart", "client", "telemetry"].contains(&&*path),
            };
            if above {
                upward.push(format!("{file} uses crate::{path}"));
            }
        }
    }
    assert!(upward.is_empty(), "{upward:#?}");
}

/// The first segments after `crate::`, in grouped imports too.
fn paths_in(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for rest in text.split("crate::").skip(1) {
        let group = rest.strip_prefix('{').map(|inner| inner.split('}').next().unwrap_or(inner));
        for path in group.unwrap_or(rest).split(',').take(if group.is_some() { 99 } else { 1 }) {
            let name: String = path
                .trim()
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
                .collect();
            found.insert(name);
        }
    }
    found
}

#[test]
fn each_table_is_written_by_one_module() {
    let mut writers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (file, text) in sources("cp-server/src") {
        for words in ["INSERT INTO", "DELETE FROM", "UPDATE"] {
            for rest in text.split(words).skip(1) {
                let mut tokens = rest.split_whitespace();
                let table: String = tokens
                    .next()
                    .unwrap_or_default()
                    .chars()
                    .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                    .collect();
                // `FOR UPDATE` and `DO UPDATE SET` name no table.
                // Coverage keeps its marks in columns of its own, on what it covers.
                let is_mark = file == "licensing/coverage/marks.rs";
                if !table.is_empty() && !is_mark && words_follow(words, tokens.next()) {
                    writers.entry(table).or_default().insert(module_of(&file));
                }
            }
        }
    }
    assert_eq!(writers.len(), 37, "{writers:#?}");
    let shared: Vec<_> = writers.iter().filter(|(_, modules)| modules.len() > 1).collect();
    assert!(shared.is_empty(), "written by several modules: {shared:#?}");
}

fn words_follow(words: &str, next: Option<&str>) -> bool {
    match words {
        "UPDATE" => next == Some("SET"),
        "DELETE FROM" => next == Some("WHERE"),
        _ => true,
    }
}

/// A file, or the folder that a file has become.
fn module_of(file: &str) -> String {
    let parts: Vec<&str> = file.trim_end_matches(".rs").split('/').take(2).collect();
    parts.join("/")
}

#[test]
fn no_file_is_longer_than_a_story() {
    let mut long = Vec::new();
    for folder in ["cp-server/src", "cp-contracts/src", "dp-verifier/src", "tests/it"] {
        for (file, text) in sources(folder) {
            // Tests at the end of a file tell another story.
            let story = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or(&text);
            let lines = story.lines().count();
            if lines > LINES {
                long.push(format!("{folder}/{file}: {lines} lines"));
            }
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn time_and_randomness_are_arguments() {
    let calls =
        ["Utc::now", "SystemTime::now", "Uuid::now_v7", "Uuid::new_v4", "SystemRandom::new"];
    let mut found = Vec::new();
    for (file, text) in sources("cp-server/src") {
        // Signing draws its blinding itself; `clock.rs` is where both are injected.
        if matches!(&*file, "kernel/clock.rs" | "licensing/keys/signer.rs") {
            continue;
        }
        let calls = calls.iter().filter(|call| text.contains(**call));
        found.extend(calls.map(|call| format!("{file} calls {call}")));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn one_module_knows_the_database() {
    let mut found = Vec::new();
    for (file, text) in sources("cp-server/src") {
        let files = ["db.rs", "query.rs", "error.rs", "tables.rs"];
        let known = file.strip_prefix("kernel/").is_some_and(|file| {
            files.contains(&file) || file.starts_with("db/") || file.starts_with("tables/")
        });
        if !known && ["sqlx::query", "SqlitePool", "PgPool"].iter().any(|name| text.contains(name))
        {
            found.push(file);
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
