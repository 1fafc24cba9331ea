//! The words of the server: plain English in messages, help texts and comments. `plain_words.rs` holds
//! those of the documents.

use proc_macro2::{TokenStream, TokenTree};

use super::sources;

/// Words and phrases that are not plain English. `for ever` and its like may break over a line.
pub(super) const DIALECT: [&str; 18] = [
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
fn dialect_is_recognized() {
    assert_eq!(dialect("What it is told, for\never."), ["told", "for ever"]);
    assert!(dialect("the retold story; audit_tell").is_empty());
}
