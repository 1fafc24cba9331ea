//! Filters (RFC 7644, section 3.4.2.2): comparisons with `eq` that `and` joins.
//!
//! # Design
//! Identity providers look for one resource by its key, so that is what a filter can express here.
//! Each comparison is one indexed condition. Rejected: the whole grammar, whose `or`, `not` and `co`
//! let a caller write a slow query.

use std::iter::Peekable;
use std::str::CharIndices;

use super::protocol::refused;
use super::shapes::without_schema;
use crate::kernel::error::{Error, Result};

/// The largest number of characters of a filter.
const LENGTH: usize = 1000;
/// The largest number of comparisons of a filter.
const TERMS: usize = 5;

/// A comparison: the attribute is equal to the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    /// The path of the attribute in lower case, without its schema.
    pub(super) attribute: String,
    pub(super) value: String,
}

#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Open,
    Close,
}

/// Parses a filter. `emails[type eq "work"]` is the same as `emails.type eq "work"`.
pub(super) fn parse(text: &str) -> Result<Vec<Term>> {
    if text.chars().count() > LENGTH {
        return Err(refusal(&format!("must have at most {LENGTH} characters")));
    }
    let mut tokens = tokens(text)?.into_iter().peekable();
    let mut terms = Vec::new();
    joined(&mut tokens, "", &mut terms)?;
    if tokens.next().is_some() {
        return Err(malformed());
    }
    Ok(terms)
}

/// Reads comparisons until the end, or until the end of the brackets.
fn joined(
    tokens: &mut Peekable<std::vec::IntoIter<Token>>,
    below: &str,
    terms: &mut Vec<Term>,
) -> Result<()> {
    loop {
        let Some(Token::Word(name)) = tokens.next() else { return Err(malformed()) };
        let attribute = format!("{below}{}", without_schema(&name).to_lowercase());
        if below.is_empty() && tokens.next_if_eq(&Token::Open).is_some() {
            joined(tokens, &format!("{attribute}."), terms)?;
            if tokens.next() != Some(Token::Close) {
                return Err(malformed());
            }
        } else {
            match tokens.next() {
                Some(Token::Word(operator)) if operator.eq_ignore_ascii_case("eq") => {}
                _ => return Err(malformed()),
            }
            let value = match tokens.next() {
                Some(Token::Text(value)) => value,
                Some(Token::Word(value)) if is_literal(&value) => value.to_lowercase(),
                _ => return Err(malformed()),
            };
            terms.push(Term { attribute, value });
        }
        if terms.len() > TERMS {
            return Err(refusal(&format!("must have at most {TERMS} comparisons")));
        }
        match tokens.peek() {
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("and") => drop(tokens.next()),
            None | Some(Token::Close) => return Ok(()),
            Some(_) => return Err(malformed()),
        }
    }
}

fn is_literal(word: &str) -> bool {
    ["true", "false"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = text.char_indices().peekable();
    while let Some(&(start, c)) = chars.peek() {
        match c {
            c if c.is_whitespace() => drop(chars.next()),
            '[' | ']' => {
                chars.next();
                tokens.push(if c == '[' { Token::Open } else { Token::Close });
            }
            '(' | ')' => return Err(malformed()),
            '"' => {
                let end = end_of_text(&mut chars).ok_or_else(malformed)?;
                let value: String =
                    serde_json::from_str(&text[start..end]).map_err(|_| malformed())?;
                if value.contains('\0') {
                    return Err(refusal("must not contain U+0000"));
                }
                tokens.push(Token::Text(value));
            }
            _ => {
                let ends = |c: char| c.is_whitespace() || "[]()\"".contains(c);
                let rest = &text[start..];
                let word = &rest[..rest.find(ends).unwrap_or(rest.len())];
                for _ in word.chars() {
                    chars.next();
                }
                tokens.push(Token::Word(word.to_owned()));
            }
        }
    }
    Ok(tokens)
}

/// Reads a string with its quotes. Returns the position after it.
fn end_of_text(chars: &mut Peekable<CharIndices<'_>>) -> Option<usize> {
    chars.next();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some(at + 1),
            '\\' => drop(chars.next()),
            _ => {}
        }
    }
    None
}

/// Returns the refusal of a filter, with the rule that it breaks.
fn refusal(rule: &str) -> Error {
    refused("invalidFilter", format!("`filter` {rule}."))
}

fn malformed() -> Error {
    refusal(
        "must be comparisons with `eq` that `and` joins, such as userName eq \"anna@example.com\"",
    )
}

/// Returns the refusal of an attribute that a filter cannot compare.
pub(super) fn unknown(known: &str) -> Error {
    refusal(&format!("can compare only these attributes: {known}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(text: &str) -> Vec<(String, String)> {
        let terms = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        terms.into_iter().map(|term| (term.attribute, term.value)).collect()
    }

    #[test]
    fn filters_of_identity_providers_are_read() {
        let one = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let urn = "urn:ietf:params:scim:schemas:core:2.0:User";
        for (text, expected) in [
            (r#"userName eq "a@b.example""#.to_owned(), vec![one("username", "a@b.example")]),
            (r#"userName Eq "a \"b\" é""#.to_owned(), vec![one("username", "a \"b\" é")]),
            (format!(r#"{urn}:externalId eq "7""#), vec![one("externalid", "7")]),
            (
                r#"emails[type eq "work" AND value eq "x"] and active eq True"#.to_owned(),
                vec![one("emails.type", "work"), one("emails.value", "x"), one("active", "true")],
            ),
            (
                r#"id eq "1" and members[value eq "2"]"#.to_owned(),
                vec![one("id", "1"), one("members.value", "2")],
            ),
        ] {
            assert_eq!(terms(&text), expected, "{text}");
        }
    }

    #[test]
    fn other_filters_are_refused() {
        let long = format!("userName eq \"{}\"", "x".repeat(LENGTH));
        let many = ["active eq true"; TERMS + 1].join(" and ");
        for text in [
            "",
            "userName",
            "userName eq",
            "userName eq anna",
            "userName pr",
            r#"userName co "a""#,
            r#"userName eq "a" or active eq true"#,
            r#"not (userName eq "a")"#,
            r#"(userName eq "a")"#,
            r#"userName eq "a"#,
            r#"userName eq "a\u0000""#,
            r#"userName eq "a" and"#,
            r#"emails[type eq "work""#,
            r#"emails[a[b eq "c"]]"#,
            r#"userName eq "a"]"#,
            &long,
            &many,
        ] {
            let refused = parse(text).unwrap_err();
            assert_eq!(refused.member("scim_type").unwrap(), "invalidFilter", "{text}");
        }
    }
}
