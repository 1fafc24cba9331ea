//! The console reaches data only through the table of operations.

use super::sources;

#[test]
fn console_reaches_no_database_and_no_slice() {
    let mut found = Vec::new();
    for (file, text) in sources("cp-server/src/console") {
        let forbidden = [
            "sqlx",
            "kernel::db",
            "http::cx",
            "Cx<",
            "crate::tenancy",
            "crate::identity",
            "crate::licensing",
            "crate::metering",
            "crate::governance",
            "crate::lifecycle",
            "crate::audit",
            "crate::webhooks",
            "crate::events",
        ];
        let names = forbidden.iter().filter(|name| text.contains(**name));
        found.extend(names.map(|name| format!("{file} names {name}")));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn one_file_of_the_console_renders_without_escaping() {
    let escapes = sources("cp-server/src/console").into_iter();
    let files: Vec<String> =
        escapes.filter(|(_, text)| text.contains("PreEscaped")).map(|(file, _)| file).collect();
    assert_eq!(files, ["html.rs"]);
}

#[test]
fn pages_have_no_inline_style_and_no_inline_script() {
    for (file, text) in sources("cp-server/src/console") {
        for line in text.lines().map(str::trim_start) {
            let is_inline = |word: &str| {
                word.starts_with("style=")
                    || word.starts_with("on") && word.contains("=\"") && !word.contains('(')
            };
            let words = line.split_whitespace();
            assert!(!line.contains(" style=\"") && !words.clone().any(is_inline), "{file}: {line}");
        }
    }
}
