//! The values of the cells of CSV files.
//!
//! # Design
//! A cell has no type. A spreadsheet writes an account number, a version and a count alike. So a
//! member of `metadata` is JSON only if no digit is lost: the number that is read, written again, has
//! the very same text, and every reader of JSON has it exactly. All else is a string. An operation
//! refuses a wrong type of its own fields, so such a cell is JSON where the field has no strings.

use serde_json::{Number, Value};

use crate::lifecycle::import::kind::Field;

/// The largest whole number that all readers of JSON have exactly (RFC 8259, section 6): 2^53 - 1.
const EXACT: u64 = 9_007_199_254_740_991;

/// Returns the value of a field. A string stays one where the field has strings.
pub(super) fn of_field(field: Option<&Field>, cell: &str) -> Value {
    match field {
        Some(field) if field.is_text => cell.into(),
        _ => serde_json::from_str(cell).unwrap_or_else(|_| cell.into()),
    }
}

/// Returns the value of a member of a field.
pub(super) fn of_member(field: Option<&Field>, cell: &str) -> Value {
    // The members of `meta` are strings.
    if field.is_some_and(|field| field.name == "meta") {
        return cell.into();
    }
    match serde_json::from_str(cell) {
        // Null would remove the member, and an empty cell is how a file names no value.
        Ok(Value::Null) | Err(_) => cell.into(),
        Ok(value) if has_exact_numbers(cell) => value,
        Ok(_) => cell.into(),
    }
}

/// Whether all numbers of a JSON text are exact.
fn has_exact_numbers(json: &str) -> bool {
    let (mut rest, mut is_exact) = (json, true);
    while let Some(at) = rest.find(['"', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
        rest = &rest[at..];
        let end = match rest.strip_prefix('"') {
            Some(string) => 1 + end_of_string(string),
            None => {
                let is_other = |c: char| !c.is_ascii_digit() && !"+-.eE".contains(c);
                let end = rest.find(is_other).unwrap_or(rest.len());
                is_exact &= is_exact_number(&rest[..end]);
                end
            }
        };
        rest = &rest[end..];
    }
    is_exact
}

/// Returns the position after the quotation mark that ends a string.
fn end_of_string(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !is_escaped => return at + 1,
            c => is_escaped = c == '\\' && !is_escaped,
        }
    }
    text.len()
}

fn is_exact_number(text: &str) -> bool {
    let Ok(number) = serde_json::from_str::<Number>(text) else { return false };
    let is_small = match (number.as_i64(), number.as_u64()) {
        (Some(n), _) => n.unsigned_abs() <= EXACT,
        (None, Some(_)) => false,
        (None, None) => true,
    };
    is_small && number.to_string() == text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::lifecycle::import::kind::Kind;

    #[test]
    fn member_is_json_only_if_no_digit_is_lost() {
        for (cell, value) in [
            ("7", json!(7)),
            ("-7", json!(-7)),
            ("0", json!(0)),
            ("1.5", json!(1.5)),
            ("true", json!(true)),
            ("false", json!(false)),
            ("4111111111111111", json!(4_111_111_111_111_111_i64)),
            ("[\"a\", \"b 1.10 \\\" 007\"]", json!(["a", "b 1.10 \" 007"])),
            ("{\"a\": 1, \"b\": [2.5]}", json!({"a": 1, "b": [2.5]})),
        ] {
            assert_eq!(of_member(None, cell), value, "{cell}");
        }
        for text in [
            "1E5",
            "1e5",
            "1.10",
            "1.0e2",
            "007",
            "+7",
            "-0",
            "null",
            "True",
            "12345678901234567890123",
            "18446744073709551615",
            "9007199254740993",
            "0.12345678901234567890",
            "2026-01-31",
            "{\"a\": 1.10}",
            "[1, 12345678901234567890123]",
            "{\"a\"",
        ] {
            assert_eq!(of_member(None, text), json!(text));
        }
    }

    #[test]
    fn members_of_a_lease_are_strings() {
        let meta = Kind::Lease.fields().iter().find(|field| field.name == "meta");
        assert!(meta.is_some());
        assert_eq!(of_member(meta, "7"), json!("7"));
    }
}
