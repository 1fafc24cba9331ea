//! The engine on small crates.

use std::fs;

use super::Graph;

/// Returns the graph of a crate with these files.
fn graph(files: &[(&str, &str)]) -> Graph {
    let src = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = src.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    Graph::of(src.path())
}

/// Returns the edges of that graph, as `from:line to`.
fn edges(files: &[(&str, &str)]) -> Vec<String> {
    let graph = graph(files);
    let edges = graph.edges.iter();
    edges.map(|edge| format!("{}:{} {}", edge.from, edge.line, edge.to)).collect()
}

#[test]
fn module_declaration_is_no_edge() {
    let files = [("lib.rs", "mod a;\npub(crate) mod b;"), ("a.rs", ""), ("b/mod.rs", "")];
    assert_eq!(graph(&files).files, ["a.rs", "b/mod.rs", "lib.rs"]);
    assert!(edges(&files).is_empty());
}

#[test]
fn grouped_import_has_an_edge_for_each_file() {
    let lib = ("lib.rs", "mod a; mod b; mod c; mod d;");
    let b = ("b.rs", "pub mod e; pub struct B;");
    let files = [
        lib,
        ("a.rs", "use std::fmt;\nuse crate::{\n  b::{self, B, e::E},\n  c as other,\n  d::*,\n};"),
        b,
        ("b/e.rs", "pub struct E;"),
        ("c.rs", ""),
        ("d.rs", "pub struct D;"),
    ];
    assert_eq!(edges(&files), ["a.rs:3 b.rs", "a.rs:3 b/e.rs", "a.rs:4 c.rs", "a.rs:5 d.rs"]);
}

#[test]
fn super_and_self_lead_through_the_tree() {
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "mod c;\nuse self::c::C;\npub struct A;"),
        ("a/c.rs", "use super::super::b::B;\nuse super::A;\npub struct C;"),
        ("b.rs", "pub struct B;"),
    ];
    assert_eq!(edges(&files), ["a.rs:2 a/c.rs", "a/c.rs:2 a.rs", "a/c.rs:1 b.rs"]);
}

#[test]
fn inline_path_is_an_edge() {
    let a = "fn f(x: crate::b::B) -> u8 {\n  let b = 1;\n  vec![b, crate::c::C, $crate::d::D]\n}";
    let e = "use crate::b as other;\nfn f() { other::g::G }\n#[serde(with = \"crate::c::C\")]\nstruct E;";
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d; mod e;"),
        ("a.rs", a),
        ("b.rs", "pub mod g; pub struct B;"),
        ("b/g.rs", "pub const G: u8 = 1;"),
        ("c.rs", "pub const C: u8 = 1;"),
        ("d.rs", "pub const D: u8 = 1;"),
        ("e.rs", e),
    ];
    let expected = [
        "a.rs:1 b.rs",
        "a.rs:3 c.rs",
        "a.rs:3 d.rs",
        "e.rs:1 b.rs",
        "e.rs:2 b/g.rs",
        "e.rs:3 c.rs",
    ];
    assert_eq!(edges(&files), expected);
}

#[test]
fn reexported_name_leads_to_its_definition() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\npub use b::{B, Enum};\npub const HERE: u8 = 1;"),
        ("a.rs", "use crate::B;\nuse crate::Enum::Variant;\nuse crate::b::B as Again;"),
        ("b.rs", "mod c;\npub use self::c::*;\nmade!(Enum);"),
        ("b/c.rs", "mod d;\npub use d::B;"),
        ("b/c/d.rs", "pub struct B;"),
    ];
    let expected = [
        "a.rs:2 b.rs",
        "a.rs:1 b/c/d.rs",
        "b.rs:2 b/c.rs",
        "b.rs:2 b/c/d.rs",
        "b/c.rs:2 b/c/d.rs",
        "lib.rs:3 b.rs",
        "lib.rs:3 b/c/d.rs",
    ];
    assert_eq!(edges(&files), expected);
}

#[test]
fn name_defined_in_the_root_is_an_edge_to_the_root() {
    let lib = ("lib.rs", "mod a;\npub use a::A;\npub const HERE: u8 = 1;");
    let files = [lib, ("a.rs", "use crate::HERE;\npub struct A;")];
    assert_eq!(edges(&files), ["a.rs:1 lib.rs", "lib.rs:2 a.rs"]);
}

#[test]
fn macro_leads_to_its_definition() {
    let b = "#[macro_export]\nmacro_rules! exported { () => { $crate::c::C } }\n\
             macro_rules! shared { () => {} }\npub(crate) use shared;";
    let files = [
        ("lib.rs", "#[macro_use] mod d;\nmod a; mod b; mod c;"),
        ("a.rs", "crate::exported!();\nfn f() { textual!(x) }\n"),
        ("b.rs", b),
        ("c.rs", "use crate::b::shared;\npub struct C;"),
        ("d.rs", "macro_rules! textual { ($x:ident) => { $x::y } }"),
    ];
    assert_eq!(edges(&files), ["a.rs:1 b.rs", "a.rs:2 d.rs", "b.rs:2 c.rs", "c.rs:1 b.rs"]);
}

#[test]
fn comments_strings_and_tests_have_no_edges() {
    let a = "
        //! See [`crate::b::B`].
        /// Like [B](crate::b::B).
        #[doc = \"crate::b::B\"]
        #[cfg_attr(test, doc = \"\")]
        pub(in crate::b) fn f() -> &'static str { /* crate::b::B */ \"crate::b::B\" }
        #[cfg(test)]
        use crate::b::B;
        #[cfg(all(test, feature = \"x\"))]
        fn g(_: crate::b::B) {}
        impl X { #[cfg(test)] const Y: crate::b::B = crate::b::B; }
        #[cfg(test)]
        mod tests { use crate::b::B; }
        #[cfg(test)]
        mod missing;
    ";
    let files = [("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", "pub struct B;")];
    assert!(edges(&files).is_empty(), "{:?}", edges(&files));
}

#[test]
fn item_compiled_without_tests_has_an_edge() {
    let a =
        "#[cfg(not(test))]\nuse crate::b::B;\n#[cfg(any(test, feature = \"x\"))]\nuse crate::c::C;";
    let files = [
        ("lib.rs", "mod a; mod b; mod c;"),
        ("a.rs", a),
        ("b.rs", "pub struct B;"),
        ("c.rs", "pub struct C;"),
    ];
    assert_eq!(edges(&files), ["a.rs:2 b.rs", "a.rs:4 c.rs"]);
}

#[test]
fn inline_module_belongs_to_its_file() {
    let a = "mod inner {\n  use super::super::b::B;\n  pub struct I;\n}\nuse inner::I;";
    let files = [
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", a),
        ("b.rs", "use crate::a::inner::I;\npub struct B;"),
    ];
    assert_eq!(edges(&files), ["a.rs:2 b.rs", "b.rs:1 a.rs"]);
}

#[test]
fn command_is_a_separate_crate() {
    let files = [
        ("lib.rs", "mod a;"),
        ("a.rs", "pub struct A;"),
        ("main.rs", "mod a;\nuse crate::a::A;"),
        ("bin/one.rs", "use a::A;"),
        ("bin/two/main.rs", "mod b;\nuse b::B;\nstruct C;"),
        ("bin/two/b.rs", "use super::C;\npub struct B;"),
    ];
    let expected =
        ["bin/two/b.rs:1 bin/two/main.rs", "bin/two/main.rs:2 bin/two/b.rs", "main.rs:2 a.rs"];
    assert_eq!(edges(&files), expected);
}

#[test]
fn shortest_of_two_cycles_is_found() {
    let files = [
        ("lib.rs", "mod a; mod b; mod c; mod d; mod e; pub use a::A;"),
        ("a.rs", "\nuse crate::b::B;\npub struct A;"),
        ("b.rs", "use crate::c::C;\npub struct B;"),
        ("c.rs", "use crate::{A, b::B};\npub struct C;"),
        ("d.rs", "use crate::e::E;\npub struct D;"),
        ("e.rs", "use crate::c::C;\npub struct E;"),
    ];
    let graph = graph(&files);
    let cycle: Vec<String> =
        graph.shortest_cycle().unwrap().iter().map(ToString::to_string).collect();
    let expected = ["b.rs:1 uses crate::c::C of c.rs", "c.rs:1 uses crate::b::B of b.rs"];
    assert_eq!(cycle, expected);
    assert_eq!(
        graph.cycles().iter().map(Vec::from_iter).collect::<Vec<_>>(),
        [[&"a.rs", &"b.rs", &"c.rs"]]
    );
    let without = graph.without("c.rs");
    assert_eq!(without.cycles(), Vec::<std::collections::BTreeSet<&str>>::new());
    without.assert_acyclic();
}

#[test]
#[should_panic(expected = "a.rs:1 uses crate::b::B of b.rs\n  b.rs:1 uses crate::a::A of a.rs")]
fn cycle_is_printed_with_file_and_line() {
    graph(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B;\npub struct A;"),
        ("b.rs", "use crate::a::A;\npub struct B;"),
    ])
    .assert_acyclic();
}
