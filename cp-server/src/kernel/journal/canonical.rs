//! Canonical JSON (RFC 8785): one encoding per value, so that equal values have equal hashes.
//!
//! Integers and quantities keep all their digits: both databases return them as they were written.
//! Beyond 2^53 and beyond 15 digits this goes further than RFC 8785, which knows only doubles.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer, ser};
use serde_json::value::RawValue;
use serde_json::{Number, Value};
use sqlx::types::Json;

use crate::kernel::digits;

/// A JSON column that keeps its canonical form. The committed bytes are stored as they are and need
/// no parsing before they are hashed again. SQLite returns the same bytes; PostgreSQL returns
/// another encoding of the same value.
#[derive(Clone, Debug, sqlx::Type)]
#[sqlx(transparent)]
pub struct Text(Json<Box<RawValue>>);

impl Text {
    /// Encodes the value canonically.
    pub fn of(value: &Value) -> Self {
        let mut text = Vec::new();
        self::value(&mut text, value);
        let text = String::from_utf8(text).expect("JSON is written as UTF-8");
        Self(Json(RawValue::from_string(text).expect("a value is written as JSON")))
    }

    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Returns the value with the digits of its numbers, to be encoded again.
    pub fn exact(&self) -> Value {
        digits::read(self.as_str().as_bytes()).expect("its column accepts only JSON")
    }

    /// Returns the value. Doubles stand for its numbers.
    pub fn value(&self) -> Value {
        serde_json::from_str(self.as_str()).expect("its column accepts only JSON")
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // As a value, so that both databases answer alike.
        let text = digits::write(&self.exact()).map_err(ser::Error::custom)?;
        RawValue::from_string(text).map_err(ser::Error::custom)?.serialize(serializer)
    }
}

impl JsonSchema for Text {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        Value::schema_name()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Value::json_schema(generator)
    }
}

/// Writes the canonical form of the value.
pub fn value(text: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => text.extend_from_slice(b"null"),
        Value::Bool(true) => text.extend_from_slice(b"true"),
        Value::Bool(false) => text.extend_from_slice(b"false"),
        Value::Number(n) => text.extend_from_slice(number(n).as_bytes()),
        Value::String(s) => match digits::of(s) {
            Some(number) => text.extend_from_slice(number.as_bytes()),
            None => string(text, s),
        },
        Value::Array(items) => {
            text.push(b'[');
            for (n, item) in items.iter().enumerate() {
                if n > 0 {
                    text.push(b',');
                }
                self::value(text, item);
            }
            text.push(b']');
        }
        Value::Object(members) => object(text, members),
    }
}

/// Writes an object, with members sorted by the UTF-16 code units of their names (RFC 8785, section
/// 3.2.3).
pub fn object(text: &mut Vec<u8>, members: &serde_json::Map<String, Value>) {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    text.push(b'{');
    for (n, (name, member)) in sorted.into_iter().enumerate() {
        if n > 0 {
            text.push(b',');
        }
        string(text, name);
        text.push(b':');
        value(text, member);
    }
    text.push(b'}');
}

/// Writes a string. `serde_json` and RFC 8785 escape the same characters in the same way (section
/// 3.2.2.2).
pub fn string(text: &mut Vec<u8>, value: &str) {
    serde_json::to_writer(text, value).expect("writing into memory cannot fail");
}

/// Encodes a number; doubles as ECMAScript writes them (RFC 8785, section 3.2.2.3).
fn number(number: &Number) -> String {
    match number.as_f64() {
        Some(double) if number.is_f64() => ecmascript(double),
        _ => number.to_string(),
    }
}

fn ecmascript(double: f64) -> String {
    if double == 0.0 {
        return "0".into();
    }
    // The shortest digits that read back as the same double: `-d.ddde-7`.
    let shortest = format!("{:e}", double.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    // The number of digits before the decimal point.
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    let zeros = |n: i32| "0".repeat(usize::try_from(n).unwrap_or(0));
    let (first, rest) = digits.split_at(1);
    let text = if count <= point && point <= 21 {
        format!("{digits}{}", zeros(point - count))
    } else if 0 < point && point <= 21 {
        let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
        format!("{whole}.{fraction}")
    } else if -6 < point && point <= 0 {
        format!("0.{}{digits}", zeros(-point))
    } else {
        let sign = if point > 0 { '+' } else { '-' };
        let dot = if rest.is_empty() { "" } else { "." };
        format!("{first}{dot}{rest}e{sign}{}", (point - 1).abs())
    };
    if double < 0.0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(json: &str) -> String {
        let mut text = Vec::new();
        value(&mut text, &serde_json::from_str(json).unwrap());
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_examples_of_rfc_8785() {
        let given = r#"{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
            "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
            "literals": [null, true, false]}"#;
        let wanted = "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,\
            0.002,1e-27],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(canonical(given), wanted);
        // Section 3.2.3: the order is that of UTF-16 code units, not of code points.
        let given = r#"{"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\ud83d\ude00": 5, "\u0080": 6, "\u00f6": 7}"#;
        let values: String = canonical(given).split(':').skip(1).map(|rest| &rest[..1]).collect();
        assert_eq!(values, "2467153");
    }

    #[test]
    fn numbers_match_the_examples_of_ecmascript() {
        // Appendix B of RFC 8785.
        for (bits, text) in [
            (0x0000_0000_0000_0001_u64, "5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x8000_0000_0000_0000, "0"),
        ] {
            assert_eq!(ecmascript(f64::from_bits(bits)), text);
        }
        assert_eq!(canonical("[-7, 18446744073709551615, 1.0]"), "[-7,18446744073709551615,1]");
    }

    #[test]
    fn quantity_keeps_its_digits_and_other_numbers_keep_their_form() {
        let text =
            r#"{"a":3000000000001001.100001,"b":99999999999.123456,"c":18446744073709551615}"#;
        let exact = Text::of(&digits::read(text.as_bytes()).unwrap());
        assert_eq!(exact.as_str(), text);
        assert_eq!(Text::of(&exact.exact()).as_str(), text);
        assert_eq!(exact.value()["a"], serde_json::json!(3_000_000_000_001_001.0));
        // What PostgreSQL returns for a double is the same double.
        for (stored, form) in [
            ("100000000000000000000000", "1e+23"),
            ("0.0000009999999999999997", "9.999999999999997e-7"),
            ("123456789012345680000000000000", "1.2345678901234568e+29"),
            ("333333333.3333332", "333333333.3333332"),
            ("1.50", "1.5"),
        ] {
            let read: Value = digits::read(stored.as_bytes()).unwrap();
            assert_eq!(Text::of(&read).as_str(), form, "{stored}");
            assert_eq!(canonical(stored), form, "{stored}");
        }
    }
}
