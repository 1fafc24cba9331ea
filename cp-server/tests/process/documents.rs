//! Committed documents that the code alone determines. The tests' world has a resource more.

use std::path::Path;

use cp_server::kernel::http::openapi;
use cp_server::server::examples::EXAMPLES;

/// `UPDATE=1 cargo test -p cp-server --test process -- the_committed` writes it again.
#[test]
fn the_committed_document_is_current() {
    let routes = cp_server::operations().published();
    let mut current =
        serde_json::to_string_pretty(&openapi::document(&routes, "", &EXAMPLES)).unwrap();
    current.push('\n');
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &current).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == current,
        "run UPDATE=1 cargo test -p cp-server --test process the_committed"
    );
}
