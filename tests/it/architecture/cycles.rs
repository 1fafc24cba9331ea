//! Import cycles between files.

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

/// `cargo test -p tests print_the_import_cycles -- --ignored --nocapture`
#[test]
#[ignore = "prints the import cycles of the server"]
fn print_the_import_cycles_of_the_server() {
    let graph = graph("cp-server/src");
    println!("with lib.rs: {:#?}", graph.cycles());
    println!("without lib.rs: {:#?}", graph.clone().without("lib.rs").cycles());
}
