//! The documents are in plain words: short sentences, without words that need a second reading.

use super::documents::{GENERATED, pages, prose, read};
use super::words::DIALECT;

/// Words that documents avoid besides those of [`DIALECT`].
const IN_DOCUMENTS: &[&str] = &[
    "nobody's",
    "everybody",
    "whatever",
    "comes about",
    "lets in",
    "let in",
    "stands in",
    "stand in",
    "lies in",
    "lie in",
    "held to",
    "as good as none",
    "at the least",
];
/// The most words of a sentence.
const WORDS: usize = 25;

/// Sentences of the prose of a page; cells of tables and items of lists are sentences of their own.
fn sentences(text: &str) -> Vec<String> {
    let [begin, end] = GENERATED;
    let mut text = text.to_owned();
    while let (Some(from), Some(to)) = (text.find(begin), text.find(end)) {
        text.replace_range(from..to + end.len(), "");
    }
    let mut blocks = vec![String::new()];
    for line in prose(&text).lines() {
        let line = line.trim();
        let item = line.trim_start_matches(|c: char| c.is_ascii_digit());
        let is_item = ["- ", "* ", "#", ". "].iter().any(|start| item.starts_with(start));
        if line.is_empty() || line.starts_with('|') || line.starts_with('<') || is_item {
            blocks.push(String::new());
        }
        if line.starts_with('|') {
            blocks.extend(line.split('|').map(str::to_owned));
            blocks.push(String::new());
        } else if !line.starts_with('<') {
            let block = blocks.last_mut().unwrap();
            block.push_str(line);
            block.push(' ');
        }
    }
    let mut found = Vec::new();
    for block in blocks {
        // What is in code is one word, and ends no sentence.
        let mut plain = String::new();
        for (n, part) in block.split('`').enumerate() {
            plain.push_str(if n % 2 == 1 { "code" } else { part });
        }
        let mut sentence = Vec::new();
        for word in plain.split_whitespace() {
            sentence.push(word);
            if word.trim_end_matches(['*', ')', '"', '”']).ends_with(['.', '?', '!']) {
                found.push(std::mem::take(&mut sentence).join(" "));
            }
        }
        found.push(sentence.join(" "));
    }
    found
}

/// The sentence in lower case, as words between single spaces.
fn words(sentence: &str) -> String {
    let is_of_word = |c: char| c.is_alphanumeric() || c == '\'';
    let words = sentence.split(|c| !is_of_word(c)).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_documents_are_in_plain_words() {
    let mut found = Vec::new();
    // The settings have the words of the help texts.
    for page in pages().iter().filter(|page| *page != "docs/settings.md") {
        for sentence in sentences(&read(page)) {
            let has_letters = |word: &&str| word.contains(char::is_alphanumeric);
            let length = sentence.split_whitespace().filter(has_letters).count();
            if length > WORDS {
                found.push(format!("{page}: {length} words: {sentence}"));
            }
            let padded = format!(" {} ", words(&sentence));
            let avoided = DIALECT.iter().chain(IN_DOCUMENTS);
            for unplain in avoided.filter(|unplain| padded.contains(&format!(" {unplain} "))) {
                found.push(format!("{page}: {unplain}: {sentence}"));
            }
        }
    }
    assert!(found.is_empty(), "{} sentences are not plain:\n{}", found.len(), found.join("\n"));
}
