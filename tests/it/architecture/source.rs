use std::collections::{BTreeMap, BTreeSet};

use super::{root, sources};

/// The maximum number of lines in a file, by folder.
const LINES: [(&str, usize); 5] = [
    ("cp-server/src", 400),
    ("cp-contracts/src", 400),
    ("dp-verifier/src", 400),
    ("cp-signer/src", 400),
    ("tests/it", 450),
];

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
    assert!(writers.len() > 30, "{writers:#?}");
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

/// A file, or the folder that a file has become. A floor of one resource is one module.
fn module_of(file: &str) -> String {
    let depth = if file.starts_with("webhooks") { 1 } else { 2 };
    let parts: Vec<&str> = file.trim_end_matches(".rs").split('/').take(depth).collect();
    parts.join("/")
}

#[test]
fn no_file_is_longer_than_a_story() {
    let mut long = Vec::new();
    for (folder, most) in LINES {
        for (file, text) in sources(folder) {
            // Unit tests at the end of a file do not count.
            let story = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or(&text);
            let lines = story.lines().count();
            if lines > most {
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

/// The tables that the kernel names: its own, and the organization with what callers and events
/// refer to.
const KERNEL_TABLES: [&str; 8] = [
    "audit_events",
    "idempotency_keys",
    "installation",
    "log_checkpoints",
    "log_hashes",
    "log_tree",
    "organizations",
    "projects",
];

#[test]
fn kernel_names_no_table_of_a_slice() {
    let mut named = BTreeSet::new();
    for (file, text) in sources("cp-server/src/kernel") {
        // Tables of the databases themselves, and those that its tests make.
        let story = text.split("\n#[cfg(test)]").next().unwrap();
        for words in ["FROM ", "JOIN ", "INTO ", "UPDATE "] {
            for rest in story.split(words).skip(1) {
                let table: String =
                    rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
                let is_of_a_database = ["pragma_", "pg_", "sqlite_", "_sqlx", "json_"];
                if table.len() > 2 && !is_of_a_database.iter().any(|own| table.starts_with(own)) {
                    named.insert((table, file.clone()));
                }
            }
        }
    }
    let tables: BTreeSet<&str> = named.iter().map(|(table, _)| table.as_str()).collect();
    assert_eq!(tables, BTreeSet::from(KERNEL_TABLES), "{named:#?}");
}

#[test]
fn one_module_knows_the_database() {
    let mut found = Vec::new();
    for (file, text) in sources("cp-server/src") {
        let known = ["db.rs", "query.rs", "error.rs"];
        let known = file
            .strip_prefix("kernel/")
            .is_some_and(|file| file.starts_with("db/") || known.contains(&file))
            || file.starts_with("backup/tables");
        if !known && ["sqlx::query", "SqlitePool", "PgPool"].iter().any(|name| text.contains(name))
        {
            found.push(file);
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn each_dependency_is_used() {
    let mut unused = Vec::new();
    for package in
        ["cp-contracts", "cp-server", "dp-verifier", "cp-signer", "tests", "tests/macros"]
    {
        let manifest = std::fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        let folders = ["src", "tests", "benches", "examples", "it"];
        let folders = folders.map(|folder| format!("{package}/{folder}"));
        let folders = folders.iter().filter(|folder| root().join(folder).is_dir());
        let code: String =
            folders.flat_map(|folder| sources(folder)).map(|(_, text)| text).collect();
        let mut is_list = false;
        for line in manifest.lines() {
            if line.starts_with('[') {
                is_list = line.ends_with("dependencies]");
                continue;
            }
            let name = line.split(['.', ' ', '=']).next().unwrap();
            if is_list && !name.is_empty() && !name.starts_with('#') {
                let word = name.replace('-', "_");
                let is_used = code.contains(&format!("{word}::"))
                    || code.contains(&format!("use {word}"))
                    || code.contains(&format!("{word}!"));
                if !is_used {
                    unused.push(format!("{package}: {name}"));
                }
            }
        }
    }
    assert!(unused.is_empty(), "{unused:#?}");
}
