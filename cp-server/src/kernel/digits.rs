//! JSON values that keep the digits of their numbers.
//!
//! # Design
//! A [`Value`] has integers of 64 bits and doubles, so it rounds 123456789012345.654321. A quantity
//! is exact from its request to its answer. The command line, the console and audit events handle it
//! as a `Value` in between. There, a number that a double would round is a string: U+0000 and its
//! digits. No other string begins so, because requests, forms and arguments with U+0000 are refused.
//! All other numbers stay numbers, so that the canonical form of earlier events stays the same.
//!
//! Rejected: the feature `arbitrary_precision` of serde_json. It changes every crate of the build,
//! its numbers do not pass through flattened members and untagged types, and an earlier event with
//! an integer above 64 bits would have another canonical form. Rejected: a type of our own for
//! values, which every page and command would have to use.

use std::borrow::Cow;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Number, Value};

/// The first character of a string that stands for a number.
const MARK: char = '\0';
/// The beginning of such a string in JSON.
const MARKED: &str = "\"\\u0000";
/// The length up to which a double keeps every number without an exponent: 15 digits and a point.
const SHORT: usize = 16;

/// Reads JSON of this server, and keeps the digits of its numbers.
///
/// # Errors
/// Fails when the text is not JSON of this type.
pub fn read<T: DeserializeOwned>(json: &[u8]) -> serde_json::Result<T> {
    serde_json::from_slice(&marked(json))
}

/// Reads JSON that a person wrote, and keeps the digits of its numbers. `None` when it is not JSON,
/// or has an escaped U+0000.
pub fn parse(json: &str) -> Option<Value> {
    if json.contains("\\u0000") { None } else { read(json.as_bytes()).ok() }
}

/// Reads a number that a person wrote, and keeps its digits.
pub fn number(text: &str) -> Option<Value> {
    text.parse::<Number>().ok()?;
    parse(text)
}

/// Converts a value as [`serde_json::to_value`] does, and keeps the digits of its numbers.
///
/// # Errors
/// Fails when the value has no form in JSON.
pub fn value_of<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Value> {
    read(&serde_json::to_vec(value)?)
}

/// Writes a value with the digits of its numbers.
///
/// # Errors
/// Fails when the value has no form in JSON.
pub fn write<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<String> {
    Ok(unmarked(serde_json::to_string(value)?))
}

/// Writes a value with the digits of its numbers, indented.
///
/// # Errors
/// Fails when the value has no form in JSON.
pub fn write_pretty<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<String> {
    Ok(unmarked(serde_json::to_string_pretty(value)?))
}

/// Returns the digits of a string that stands for a number.
pub fn of(text: &str) -> Option<&str> {
    text.strip_prefix(MARK).filter(|digits| is_number(digits))
}

/// Returns the text of a number, with all its digits.
pub fn of_number(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Number(number) => Some(number.to_string().into()),
        Value::String(text) => of(text).map(Cow::Borrowed),
        _ => None,
    }
}

/// Returns a number as a double, for a picture or a comparison.
pub fn rounded(value: &Value) -> Option<f64> {
    match value {
        Value::String(text) => of(text)?.parse().ok(),
        value => value.as_f64(),
    }
}

/// Writes strings in the place of the numbers that a double would round.
pub fn marked(json: &[u8]) -> Cow<'_, [u8]> {
    let (mut text, mut copied, mut at) = (Vec::new(), 0, 0);
    while let Some(byte) = json.get(at) {
        match byte {
            b'"' => at = end_of_string(json, at),
            b'-' | b'0'..=b'9' => {
                let is_part =
                    |byte: &&u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
                let end = at + json[at..].iter().take_while(is_part).count();
                let digits = std::str::from_utf8(&json[at..end]).unwrap_or_default();
                if !is_kept(digits) && is_number(digits) {
                    text.extend_from_slice(&json[copied..at]);
                    text.extend_from_slice(format!("{MARKED}{digits}\"").as_bytes());
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(json);
    }
    text.extend_from_slice(&json[copied..]);
    Cow::Owned(text)
}

/// Writes numbers in the place of the strings that stand for them.
pub fn unmarked(json: String) -> String {
    if !json.contains(MARKED) {
        return json;
    }
    let (mut text, mut copied, mut at) = (String::new(), 0, 0);
    while let Some(byte) = json.as_bytes().get(at) {
        if *byte != b'"' {
            at += 1;
            continue;
        }
        let end = end_of_string(json.as_bytes(), at);
        let digits = json[at..end].strip_prefix(MARKED).and_then(|rest| rest.strip_suffix('"'));
        if let Some(digits) = digits.filter(|digits| is_number(digits)) {
            text.push_str(&json[copied..at]);
            text.push_str(digits);
            copied = end;
        }
        at = end;
    }
    text.push_str(&json[copied..]);
    text
}

/// Returns the position behind the string that begins here.
fn end_of_string(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = json.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    json.len()
}

fn is_number(text: &str) -> bool {
    text.parse::<Number>().is_ok()
}

/// Whether a [`Number`] keeps the value of these digits.
fn is_kept(digits: &str) -> bool {
    let is_short = digits.len() <= SHORT && !digits.contains(['e', 'E']);
    if is_short || digits.parse::<i64>().is_ok() || digits.parse::<u64>().is_ok() {
        return true;
    }
    let Ok(double) = digits.parse::<f64>() else { return true };
    !double.is_finite() || decimal(digits) == decimal(&format!("{double:e}"))
}

/// Returns the significant digits of a number, and the power of ten of the last one. The sign is not
/// a part of it.
fn decimal(number: &str) -> Option<(String, i64)> {
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (number, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
    let digits = digits.trim_start_matches('0');
    let significant = digits.trim_end_matches('0');
    if significant.is_empty() {
        return Some((String::new(), 0));
    }
    let length = |text: &str| i64::try_from(text.len()).ok();
    let zeros = length(digits)? - length(significant)?;
    let power = exponent.checked_sub(length(fraction)?)?.checked_add(zeros)?;
    Some((significant.to_owned(), power))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Numbers that a double rounds, such as the quantities that need more than 15 digits.
    const FINE: [&str; 5] = [
        "123456789012345.654321",
        "3000000000001001.100001",
        "99999999999.123456",
        "-0.12345678901234567890",
        "18446744073709551617",
    ];

    #[test]
    fn digits_survive_a_value() {
        for digits in FINE {
            let text = format!("{{\"a\":[{digits},1.5,\"\\\"{digits}\"],\"b\":{digits}}}");
            let value: Value = read(text.as_bytes()).unwrap();
            assert_eq!(of_number(&value["b"]).as_deref(), Some(digits));
            assert_eq!(value["a"][1], json!(1.5));
            assert_eq!(value["a"][2], json!(format!("\"{digits}")));
            assert_eq!(write(&value).unwrap(), text);
            assert_eq!(number(digits), Some(value["b"].clone()));
        }
    }

    #[test]
    fn number_that_a_double_has_stays_a_number() {
        for digits in [
            "0",
            "-0",
            "-0.0",
            "1",
            "1.0",
            "1.50",
            "0.1",
            "1e3",
            "1E-7",
            "5e-324",
            "1e23",
            "100000000000000000000000",
            "99999999999999970000000",
            "9223372036854775807",
            "18446744073709551615",
            "-9223372036854775808",
            "123456789.654321",
            "1.7976931348623157e308",
            "0.0000033333333333333333",
            "1e400",
            "01",
            "1.",
            "--1",
        ] {
            assert_eq!(marked(digits.as_bytes()), Cow::Borrowed(digits.as_bytes()), "{digits}");
        }
    }

    #[test]
    fn text_of_a_person_does_not_stand_for_a_number() {
        assert_eq!(parse("\"\\u000012\""), None);
        assert_eq!(parse("{\"a\": \"\\u000012\"}"), None);
        assert_eq!(parse("\"12"), None);
        assert_eq!(number("abc"), None);
        assert_eq!(number("[1]"), None);
        assert_eq!(number("1e400"), None);
        for text in ["", "12", "\0", "\0abc", "a\u{0}12"] {
            assert_eq!(of(text), None, "{text:?}");
            assert_eq!(write(text).unwrap(), serde_json::to_string(text).unwrap());
        }
    }
}
