//! The words of the project: plain English in messages, help texts and documentation.

use proc_macro2::{TokenStream, TokenTree};

use super::{root, sources};

/// Words and phrases that are not plain English. `for ever` and its like may break over a line.
const DIALECT: [&str; 18] = [
    "told",
    "tell",
    "tells",
    "telling",
    "whoever",
    "whomever",
    "nobody",
    "somebody",
    "anew",
    "for ever",
    "at hand",
    "in any case",
    "of ours",
    "come about",
    "came about",
    "it takes",
    "is over",
    "has the say",
];

/// The parts of `cp-server/src` whose words are finished; the list only grows. An entry names a file,
/// or a folder with the file of the same name.
const FINISHED: [&str; 36] = [
    "audit",
    "backup",
    "cli",
    "client",
    "config",
    "example",
    "identity",
    "jobs",
    "kernel/access",
    "kernel/app",
    "kernel/cache",
    "kernel/change",
    "kernel/clock",
    "kernel/completion",
    "kernel/db",
    "kernel/declaration",
    "kernel/effect",
    "kernel/error",
    "kernel/files",
    "kernel/http",
    "kernel/journal",
    "kernel/kek",
    "kernel/panics",
    "kernel/secret",
    "kernel/section",
    "kernel/taken",
    "kernel/text",
    "lib",
    "licensing",
    "lifecycle",
    "main",
    "metering",
    "quickstart",
    "server",
    "telemetry",
    "tenancy",
];

/// The maximum number of dialect words in the comments of all of `cp-server/src`. It only shrinks.
const IN_COMMENTS: usize = 20;

fn is_finished(file: &str) -> bool {
    let file = file.trim_end_matches(".rs").trim_end_matches("/mod");
    FINISHED.iter().any(|part| {
        file.strip_prefix(part).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// The words of a text in lower case, with one blank between them.
fn plain(text: &str) -> String {
    let words: Vec<String> = text
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    format!(" {} ", words.join(" "))
}

fn dialect(text: &str) -> Vec<&'static str> {
    let text = plain(text);
    let mut found = Vec::new();
    for phrase in DIALECT {
        found.extend(text.matches(&format!(" {phrase} ")).map(|_| phrase));
    }
    found
}

/// Collects the string literals of a file with at least two words, and its documentation by line.
fn literals(tokens: TokenStream, found: &mut Vec<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => literals(group.stream(), found),
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                let text = text.trim_start_matches(['r', '#', 'b']).trim_matches(['#', '"']);
                if text.contains(' ') {
                    found.push(text.replace("\\n", " "));
                }
            }
            _ => {}
        }
    }
}

/// The comments of a file, documentation included, as one text.
fn comments(text: &str) -> String {
    let lines = text.lines().map(str::trim_start).filter(|line| line.starts_with("//"));
    lines.map(|line| line.trim_start_matches(['/', '!'])).collect::<Vec<_>>().join("\n")
}

#[test]
fn finished_messages_and_documentation_are_plain_english() {
    let mut found = Vec::new();
    for (file, text) in sources("cp-server/src") {
        if !is_finished(&file) {
            continue;
        }
        let mut texts = vec![comments(&text)];
        literals(text.parse().unwrap(), &mut texts);
        for text in texts {
            found.extend(dialect(&text).iter().map(|phrase| format!("{file}: {phrase}")));
        }
    }
    found.sort();
    found.dedup();
    assert!(found.is_empty(), "write plain English (CONTRIBUTING.md): {found:#?}");
}

/// A Markdown document without its code.
fn prose(text: &str) -> String {
    let blocks = text.split("```").step_by(2);
    blocks.flat_map(|block| block.split('`').step_by(2)).collect::<Vec<_>>().join(" ")
}

#[test]
fn documents_are_plain_english() {
    let mut found = Vec::new();
    for folder in ["", "docs"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            // The descriptions of permissions, which are not finished.
            let is_generated = path.ends_with("docs/policy.md");
            if is_generated || path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let text = prose(&std::fs::read_to_string(&path).unwrap());
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            // Released sections of the changelog stay as they are.
            if name != "CHANGELOG.md" {
                found.extend(dialect(&text).iter().map(|phrase| format!("{name}: {phrase}")));
            }
        }
    }
    assert!(found.is_empty(), "write plain English (CONTRIBUTING.md): {found:#?}");
}

#[test]
fn dialect_in_comments_only_shrinks() {
    let files = sources("cp-server/src");
    let count: usize = files.iter().map(|(_, text)| dialect(&comments(text)).len()).sum();
    assert!(count <= IN_COMMENTS, "{count} words, at most {IN_COMMENTS}");
}

#[test]
fn dialect_is_recognized() {
    assert_eq!(dialect("What it is told, for\never."), ["told", "for ever"]);
    assert!(dialect("the retold story; audit_tell").is_empty());
}
