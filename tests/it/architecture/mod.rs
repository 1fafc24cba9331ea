//! Rules of the house that no compiler knows, read off the sources and the migrated databases.

mod console;
mod cycles;
mod declarations;
mod documents;
mod graph;
mod import_page;
mod openapi;
mod plain_words;
pub mod policy;
mod schema;
mod source;
mod upgrade;
mod words;

use std::path::{Path, PathBuf};

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Asserts that a committed file is what is derived now; with `UPDATE=1` it is written.
fn is_current(path: &str, current: &str, test: &str) {
    let path = root().join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, current).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "{} is not what the code says; run UPDATE=1 cargo test -p tests --test it -- {test}",
        path.display()
    );
}

/// The files below a folder of the workspace, by path from there. Build outputs are left out.
fn files(folder: &str) -> Vec<PathBuf> {
    let top = root().join(folder);
    let mut found = Vec::new();
    let mut folders = vec![top.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_dir() {
                found.push(path.strip_prefix(&top).unwrap().to_owned());
            } else if !path.ends_with("target") {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Every Rust file below a folder of the workspace: its path from there, and its text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let top = root().join(folder);
    let is_rust = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "rs");
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(top.join(&path)).unwrap();
        (path.to_str().unwrap().to_owned(), text)
    };
    files(folder).into_iter().filter(is_rust).map(read).collect()
}
