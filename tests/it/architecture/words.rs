//! The words of the server and of its tests: plain English in messages, help texts, comments and names.
//! `plain_words.rs` checks those of the documents.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};

use super::{files, root, sources};

/// Words and phrases that are not plain English. `for ever` and its like may break over a line.
pub(super) const DIALECT: [&str; 19] = [
    "told",
    "tell",
    "tells",
    "telling",
    "whoever",
    "whomever",
    "nobody",
    "somebody",
    "anybody",
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

/// Folders of test code in Rust. Their identifiers are checked, too.
const TESTS: [&str; 10] = [
    "tests/it",
    "tests/macros",
    "cp-server/tests",
    "cp-server/benches",
    "dp-verifier/tests",
    "dp-verifier/benches",
    "cp-contracts/tests",
    "cp-contracts/benches",
    "fuzz/fuzz_targets",
    "peers/src",
];
/// Folders of test code in other languages, and the extensions of its files.
const SCRIPTS: [&str; 3] = ["tests/interop", "cp-server/tests/process/faults", "peers"];
const EXTENSIONS: [&str; 7] = ["", "c", "cjs", "py", "sh", "toml", "ts"];
/// Files that contain the words because they list them.
const LISTS: [&str; 2] = ["tests/it/architecture/words.rs", "tests/it/architecture/plain_words.rs"];

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

/// Collects the identifiers of a file.
fn identifiers(tokens: TokenStream, found: &mut BTreeSet<String>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => identifiers(group.stream(), found),
            TokenTree::Ident(name) => drop(found.insert(name.to_string())),
            _ => {}
        }
    }
}

/// The words of an identifier: those of `for_ever`, `FOR_EVER` and `ForEver` are the same.
fn words_of(identifier: &str) -> String {
    let mut words = String::new();
    let mut follows_lower_case = false;
    for c in identifier.chars() {
        if c.is_uppercase() && follows_lower_case {
            words.push(' ');
        }
        follows_lower_case = c.is_lowercase();
        words.push(if c == '_' { ' ' } else { c });
    }
    words
}

/// The comments of a file, documentation included, as one text.
fn comments(text: &str) -> String {
    let lines = text.lines().map(str::trim_start).filter(|line| line.starts_with("//"));
    lines.map(|line| line.trim_start_matches(['/', '!'])).collect::<Vec<_>>().join("\n")
}

#[test]
fn messages_and_comments_are_plain_english() {
    let mut found = Vec::new();
    for (file, text) in sources("cp-server/src") {
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

#[test]
fn test_code_is_plain_english() {
    let mut found = Vec::new();
    for folder in TESTS {
        for (file, text) in sources(folder) {
            let file = format!("{folder}/{file}");
            if LISTS.contains(&&*file) {
                continue;
            }
            let tokens: TokenStream = text.parse().unwrap();
            let mut texts = vec![comments(&text)];
            literals(tokens.clone(), &mut texts);
            for text in texts {
                found.extend(dialect(&text).iter().map(|phrase| format!("{file}: {phrase}")));
            }
            let mut names = BTreeSet::new();
            identifiers(tokens, &mut names);
            names.retain(|name| !dialect(&words_of(name)).is_empty());
            found.extend(names.iter().map(|name| format!("{file}: {name}")));
        }
    }
    for folder in SCRIPTS {
        for file in files(folder) {
            let extension = file.extension().unwrap_or_default().to_str().unwrap();
            if !EXTENSIONS.contains(&extension) {
                continue;
            }
            let path = root().join(folder).join(&file);
            let text = std::fs::read_to_string(path).unwrap();
            let phrases = dialect(&text.replace('_', " "));
            let file = file.display();
            found.extend(phrases.iter().map(|phrase| format!("{folder}/{file}: {phrase}")));
        }
    }
    assert!(found.is_empty(), "write plain English (CONTRIBUTING.md): {found:#?}");
}

#[test]
fn dialect_is_recognized() {
    assert_eq!(dialect("What it is told, for\never."), ["told", "for ever"]);
    assert_eq!(dialect(&words_of("a_bundle_IS_OVER")), ["is over"]);
    assert_eq!(dialect(&words_of("WasTold")), ["told"]);
    assert!(dialect("the retold story; audit_tell").is_empty());
}
