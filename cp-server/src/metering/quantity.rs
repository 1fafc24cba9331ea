//! Quantities: decimals of at least 0 with at most six places, exact wherever they go.
//!
//! # Design
//! Binary fractions do not add up: ten times 0.1 is not 1. A quantity is a whole number of
//! millionths, read from the digits of the JSON number and written as digits again. Events keep
//! the digits as text; sums are kept as two integers, whole units and millionths, because one
//! 64-bit number of millionths would end at 9.2 terabytes.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;

/// Places behind the point.
const PLACES: i64 = 6;
const UNIT: i128 = 1_000_000;
/// The largest quantity that is said at once, in units.
const MOST: i128 = 1_000_000_000_000_000;

/// A quantity, in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i128);

impl Quantity {
    /// Whole units, and millionths on top of them; as summed, these may be more than a unit.
    pub fn from_parts(units: i64, micros: i64) -> Self {
        Self(i128::from(units) * UNIT + i128::from(micros))
    }

    /// Whole units and the millionths that are left.
    pub fn parts(self) -> (i64, i64) {
        let part = |n: i128| i64::try_from(n).expect("sums are kept below 2^63 units");
        (part(self.0 / UNIT), part(self.0 % UNIT))
    }

    /// What is left of it after `other`, at least 0.
    pub fn less(self, other: Self) -> Self {
        Self((self.0 - other.0).max(0))
    }

    /// Reads the digits of a JSON number; what is finer than a millionth is cut off.
    pub fn cut(number: &str) -> Result<Self, String> {
        Self::read(number, false)
    }

    fn read(number: &str, exactly: bool) -> Result<Self, String> {
        let refused = || "is not a decimal number such as 1.5".to_owned();
        let (mantissa, exponent) = match number.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse().map_err(|_| refused())?),
            None => (number, 0_i64),
        };
        let negative = mantissa.starts_with('-');
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{}{fraction}", whole.trim_start_matches('-'));
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refused());
        }
        let digits = digits.trim_start_matches('0');
        // Where the digits end, counted from the sixth place behind the point.
        let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
        let shift = exponent.saturating_sub(length(fraction)).saturating_add(PLACES);
        if digits.is_empty() {
            return Ok(Self(0));
        }
        if negative {
            return Err(format!("is {number}; it takes at least 0"));
        }
        let too_large = || format!("is {number}; it takes at most {MOST}");
        let micros = if shift >= 0 {
            if length(digits).saturating_add(shift) > 22 {
                return Err(too_large());
            }
            let zeros = usize::try_from(shift).map_err(|_| too_large())?;
            digits.to_owned() + &"0".repeat(zeros)
        } else {
            let cut = usize::try_from(-shift).unwrap_or(usize::MAX).min(digits.len());
            let (kept, finer) = digits.split_at(digits.len() - cut);
            if exactly && finer.bytes().any(|b| b != b'0') {
                return Err(format!("is {number}; it takes at most {PLACES} decimal places"));
            }
            format!("0{kept}")
        };
        let micros: i128 = micros.parse().map_err(|_| too_large())?;
        if micros > MOST * UNIT { Err(too_large()) } else { Ok(Self(micros)) }
    }
}

impl FromStr for Quantity {
    type Err = String;
    fn from_str(number: &str) -> Result<Self, String> {
        Self::read(number, true)
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, micros) = (self.0 / UNIT, self.0 % UNIT);
        if micros == 0 {
            return write!(f, "{units}");
        }
        f.write_str(format!("{units}.{micros:06}").trim_end_matches('0'))
    }
}

impl Add for Quantity {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for Quantity {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The digits as they were sent: a float would have lost some already.
        let text = Box::<RawValue>::deserialize(deserializer)?;
        match text.get() {
            number if number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                number.parse().map_err(de::Error::custom)
            }
            _ => Err(de::Error::custom("is not a number")),
        }
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match i64::try_from(self.0 / UNIT) {
            Ok(whole) if self.0 % UNIT == 0 => serializer.serialize_i64(whole),
            _ => RawValue::from_string(self.to_string())
                .map_err(ser::Error::custom)?
                .serialize(serializer),
        }
    }
}

impl JsonSchema for Quantity {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "number", "minimum": 0,
            "description": "A decimal with at most six places; kept and summed exactly.",
        })
    }
}

impl<DB: sqlx::Database> sqlx::Type<DB> for Quantity
where
    str: sqlx::Type<DB>,
{
    fn type_info() -> DB::TypeInfo {
        <str as sqlx::Type<DB>>::type_info()
    }
    fn compatible(ty: &DB::TypeInfo) -> bool {
        <str as sqlx::Type<DB>>::compatible(ty)
    }
}

impl<'q, DB: sqlx::Database> sqlx::Encode<'q, DB> for Quantity
where
    String: sqlx::Encode<'q, DB>,
{
    fn encode_by_ref(
        &self,
        buffer: &mut DB::ArgumentBuffer,
    ) -> Result<sqlx::encode::IsNull, sqlx::error::BoxDynError> {
        <String as sqlx::Encode<'q, DB>>::encode(self.to_string(), buffer)
    }
}

impl<'r, DB: sqlx::Database> sqlx::Decode<'r, DB> for Quantity
where
    &'r str: sqlx::Decode<'r, DB>,
{
    fn decode(value: DB::ValueRef<'r>) -> Result<Self, sqlx::error::BoxDynError> {
        <&'r str as sqlx::Decode<'r, DB>>::decode(value)?.parse().map_err(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        text.parse::<Quantity>().map(|quantity| quantity.to_string())
    }

    #[test]
    fn digits_are_read_and_written_exactly() {
        for (text, same) in [
            ("0", "0"),
            ("-0", "0"),
            ("-0.0e5", "0"),
            ("0e999999999999999999", "0"),
            ("1", "1"),
            ("0.1", "0.1"),
            ("1.500000", "1.5"),
            ("1.5000000000", "1.5"),
            ("0.000001", "0.000001"),
            ("1e3", "1000"),
            ("1.25E+2", "125"),
            ("12e-6", "0.000012"),
            ("1200e-7", "0.00012"),
            ("1000000000000000", "1000000000000000"),
            ("999999999999999.999999", "999999999999999.999999"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(same), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_in_words() {
        for (text, words) in [
            ("-1", "is -1; it takes at least 0"),
            ("0.0000001", "is 0.0000001; it takes at most 6 decimal places"),
            ("1e-7", "is 1e-7; it takes at most 6 decimal places"),
            ("1e-99999999999999999", "is 1e-99999999999999999; it takes at most 6 decimal places"),
            (
                "1000000000000000.000001",
                "is 1000000000000000.000001; it takes at most 1000000000000000",
            ),
            ("1e16", "is 1e16; it takes at most 1000000000000000"),
            ("1e99999999999", "is 1e99999999999; it takes at most 1000000000000000"),
        ] {
            assert_eq!(read(text).unwrap_err(), words, "{text}");
        }
        for text in ["", "-", ".", "1.5.2", "x", "1e", "+1", "NaN"] {
            assert!(read(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn sums_do_not_drift() {
        let tenth: Quantity = "0.1".parse().unwrap();
        let sum = (0..10).fold(Quantity::default(), |sum, _| sum + tenth);
        assert_eq!(sum.to_string(), "1");
        assert_eq!(serde_json::to_string(&[tenth, sum]).unwrap(), "[0.1,1]");
        let parts = Quantity::from_parts(2, 3_500_000);
        assert_eq!((parts.to_string().as_str(), parts.parts()), ("5.5", (5, 500_000)));
        assert_eq!(Quantity::cut("0.30000000000000004").unwrap().to_string(), "0.3");
    }

    #[test]
    fn a_number_keeps_its_digits_from_request_to_answer() {
        #[derive(Deserialize, JsonSchema, Serialize)]
        struct Body {
            quantity: Quantity,
        }
        let text = r#"{"quantity":999999999999999.123457}"#;
        let body: Body = crate::kernel::http::json::read(text.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&body).unwrap(), text);
        for bad in ["\"1\"", "null", "true", "[]", "-1"] {
            let refused = crate::kernel::http::json::read::<Body>(
                format!(r#"{{"quantity":{bad}}}"#).as_bytes(),
            );
            let problem = refused.err().unwrap().document();
            assert_eq!(problem.field.as_deref(), Some("quantity"), "{problem:?}");
        }
    }
}
