//! Import cycles between files, and imports from a lower floor to a higher one.

use super::graph::Graph;
use super::{root, sources};

fn graph(folder: &str) -> Graph {
    Graph::of(&root().join(folder))
}

/// The engine reads every file but those of tests, so that a cycle cannot hide in an unread file.
fn assert_acyclic(folder: &str) {
    let graph = graph(folder);
    let files = sources(folder).into_iter().map(|(file, _)| file);
    let unread: Vec<String> = files.filter(|file| !graph.files.contains(file)).collect();
    let is_test = |file: &String| file.ends_with("/tests.rs");
    assert!(unread.iter().all(is_test), "no module declares {unread:?}");
    graph.assert_acyclic();
}

#[test]
fn contracts_have_no_import_cycle() {
    assert_acyclic("cp-contracts/src");
}

#[test]
fn verifier_has_no_import_cycle() {
    assert_acyclic("dp-verifier/src");
}

/// The floors of the server, lowest first: a file imports from its own floor and those below.
const FLOORS: [&str; 22] = [
    "kernel",
    "audit",
    "tenancy",
    "identity",
    "licensing",
    "metering",
    "governance",
    "lifecycle",
    "events",
    "webhooks",
    "example",
    "backup",
    "console",
    "telemetry",
    "server",
    "jobs",
    // The composition.
    "lib",
    "client",
    "config",
    "quickstart",
    "cli",
    "main",
];

#[test]
fn server_has_no_import_cycle() {
    assert_acyclic("cp-server/src");
}

#[test]
fn server_imports_go_downward_only() {
    let graph = graph("cp-server/src");
    let floor_of = |file: &str| {
        let folder = file.split(['/', '.']).next().unwrap();
        let floor = FLOORS.iter().position(|floor| *floor == folder);
        floor.unwrap_or_else(|| panic!("{folder} has no floor: add it to FLOORS"))
    };
    let upward: Vec<String> = graph
        .edges
        .iter()
        .filter(|edge| floor_of(&edge.to) > floor_of(&edge.from))
        .map(ToString::to_string)
        .collect();
    assert!(upward.is_empty(), "{upward:#?}");
}
