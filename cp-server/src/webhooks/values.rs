//! Values: strings that callers chose, as letters contain them.
//!
//! # Design
//! A letter comes from the vendor's domain, so its reader trusts it. Mail programs turn names with dots,
//! addresses and schemes into links. A space inside breaks each of them, and leaves a name readable. A
//! value is one line in quotation marks, and contains none itself.

use crate::kernel::text::is_hidden;

/// Returns a value as one line of at most `most` characters, which contains no link.
pub(super) fn plain(value: &str, most: usize) -> String {
    let mut line = String::new();
    let mut before = ' ';
    let mut rest = value.chars().filter(|c| !is_hidden(*c)).peekable();
    while let Some(c) = rest.next() {
        line.push(match c {
            c if c.is_whitespace() => ' ',
            '"' | '\u{ab}' | '\u{bb}' | '\u{201c}'..='\u{201f}' | '\u{ff02}' => '\'',
            c => c,
        });
        let after = rest.peek().copied().unwrap_or(' ');
        // Times and decimals.
        let is_number = matches!(c, '.' | ':') && before.is_ascii_digit() && after.is_ascii_digit();
        if joins(c) && !after.is_whitespace() && !is_number {
            line.push(' ');
        }
        before = c;
    }
    line.chars().take(most).collect()
}

/// Whether the character joins the parts of a link. The dots are those of UTS #46.
fn joins(c: char) -> bool {
    matches!(c, '.' | ':' | '/' | '\\' | '@')
        || matches!(c, '\u{2024}' | '\u{3002}' | '\u{ff0e}' | '\u{ff61}')
        || matches!(c, '\u{ff0f}' | '\u{ff1a}' | '\u{ff20}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_contains_no_link_and_ends_no_quotation() {
        for (value, expected) in [
            ("Acme Inc.", "Acme Inc."),
            ("Acme. Your invoice is overdue", "Acme. Your invoice is overdue"),
            ("pay at https://evil.example/pay now", "pay at https: / / evil. example/ pay now"),
            ("www.evil.example", "www. evil. example"),
            ("evil\u{3002}example", "evil\u{3002} example"),
            ("mail me@evil.example", "mail me@ evil. example"),
            ("mailto:me", "mailto: me"),
            ("1.5 at 2026-01-02T00:00:00.5Z", "1.5 at 2026-01-02T00:00:00.5Z"),
            ("A\". Pay \u{201c}now\u{201d}", "A'. Pay 'now'"),
            ("a\r\n\tb\u{202e}c\u{a0}d", "abc d"),
        ] {
            assert_eq!(plain(value, 200), expected);
        }
        assert_eq!(plain(&"x".repeat(500), 64).len(), 64);
    }
}
