//! The fields of imports in docs/import.md.

use std::fmt::Write;

use cp_server::lifecycle::import::kind::Kind;

use super::documents::with_generated;
use super::is_current;

fn fields() -> String {
    let mut text = String::new();
    for kind in Kind::ALL {
        let _ = write!(text, "### {kind}\n\n| field | meaning |\n| --- | --- |\n");
        for field in kind.fields() {
            let star = if field.is_required { " *" } else { "" };
            let about = field.about.replace('|', "\\|");
            let _ = writeln!(text, "| `{}`{star} | {about} |", field.name);
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}

#[test]
fn the_committed_fields_of_imports_are_those_of_the_code() {
    let page = "docs/import.md";
    is_current(page, &with_generated(page, &fields()), "the_committed");
}
