//! The committed header is that of the sources.
//!
//! `UPDATE=1 cargo test -p dp-verifier-c --test header` writes it.

use std::path::Path;

#[test]
fn committed_header_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let bindings = cbindgen::Builder::new().with_crate(root).with_config(config).generate();
    let mut text = Vec::new();
    bindings.unwrap().write(&mut text);
    let file = root.join("include/dpv.h");
    #[expect(clippy::disallowed_methods, reason = "a switch of this test, not a setting")]
    if std::env::var("UPDATE").is_ok() {
        std::fs::write(&file, &text).unwrap();
    }
    let committed = std::fs::read(file).unwrap_or_default();
    assert!(committed == text, "include/dpv.h is not current: run with UPDATE=1");
}
