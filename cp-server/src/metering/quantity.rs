//! Quantities: decimals of at least 0 with at most six places, always exact.
//!
//! # Design
//! Sums of binary fractions are not exact: ten times 0.1 is not 1. A quantity is a whole number of
//! millionths. The server reads it from the digits of the JSON number and writes it as digits.
//! Events store the digits as a string. Sums are stored as two integers, whole units and
//! millionths: one 64-bit number of millionths would end at 9.2 terabytes.

use std::borrow::Cow;
use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;

/// The number of decimal places.
const PLACES: i64 = 6;
const UNIT: i128 = 1_000_000;
/// The largest quantity of one event or limit, in units.
const MOST: i128 = 1_000_000_000_000_000;

/// A quantity, in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity(i128);

impl Quantity {
    /// Builds a quantity from whole units and millionths. As sums, the millionths may be more than
    /// a unit.
    pub fn from_parts(units: i64, micros: i64) -> Self {
        Self(i128::from(units) * UNIT + i128::from(micros))
    }

    /// Returns the whole units and the remaining millionths.
    pub fn parts(self) -> (i64, i64) {
        let part = |n: i128| i64::try_from(n).expect("sums are kept below 2^63 units");
        (part(self.0 / UNIT), part(self.0 % UNIT))
    }

    pub const MOST: Self = Self(MOST * UNIT);

    /// Returns the product, rounded half up to a millionth. Both factors are at most
    /// [`Self::MOST`].
    pub fn times(self, factor: Self) -> Self {
        Self((self.0 * factor.0 + UNIT / 2) / UNIT)
    }

    /// Returns this quantity in percent of the whole, with two decimal places, rounded half up.
    /// `None` of nothing.
    pub fn percent_of(self, whole: Self) -> Option<Self> {
        // A hundredth of a percent is ten thousand millionths.
        let hundredths = |n: i128| (2 * n * 10_000 + whole.0) / (2 * whole.0);
        (whole.0 > 0).then(|| Self(hundredths(self.0) * 10_000))
    }

    /// Returns the quantity as parts of equal size that add up to it, the first ones a step larger:
    /// whole units if the quantity is whole, else millionths.
    pub fn shares(self, parts: usize) -> impl Iterator<Item = Self> {
        let step = if self.0 % UNIT == 0 { UNIT } else { 1 };
        let (steps, parts) = (self.0 / step, i128::try_from(parts.max(1)).unwrap_or(i128::MAX));
        let (each, more) = (steps / parts, steps % parts);
        (0..parts).map(move |n| Self((each + i128::from(n < more)) * step))
    }

    /// Subtracts `other`; the result is at least 0.
    pub fn less(self, other: Self) -> Self {
        Self((self.0 - other.0).max(0))
    }

    /// Reads the digits of a JSON number and drops digits beyond a millionth.
    pub fn cut(number: &str) -> Result<Self, String> {
        Self::read(number, false)
    }

    fn read(number: &str, exactly: bool) -> Result<Self, String> {
        let refused = || "must be a decimal number such as 1.5".to_owned();
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
        // The position of the last digit, counted from the sixth decimal place.
        let length = |text: &str| i64::try_from(text.len()).unwrap_or(i64::MAX);
        let shift = exponent.saturating_sub(length(fraction)).saturating_add(PLACES);
        if digits.is_empty() {
            return Ok(Self(0));
        }
        if negative {
            return Err(format!("must be at least 0 (got {number})"));
        }
        let too_large = || format!("must be at most {MOST} (got {number})");
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
                return Err(format!("must have at most {PLACES} decimal places (got {number})"));
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
        // The digits as the caller sent them: a float would have lost some of them.
        let text = Box::<RawValue>::deserialize(deserializer)?;
        match text.get() {
            number if number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
                number.parse().map_err(de::Error::custom)
            }
            _ => Err(de::Error::custom("must be a number")),
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
            "description": "A decimal with at most six decimal places, stored and summed exactly.",
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Shares add up to the whole exactly, and two of them differ by one step at most.
        #[test]
        fn shares_add_up_and_differ_by_a_step(millionths in 0..i128::from(i64::MAX), parts in 1..200_usize) {
            for whole in [Quantity(millionths), Quantity(millionths / UNIT * UNIT)] {
                let shares: Vec<Quantity> = whole.shares(parts).collect();
                prop_assert_eq!(shares.len(), parts);
                prop_assert_eq!(shares.iter().map(|share| share.0).sum::<i128>(), whole.0);
                let step = if whole.0 % UNIT == 0 { UNIT } else { 1 };
                prop_assert!(shares[0].0 - shares[parts - 1].0 <= step);
                prop_assert!(shares.is_sorted_by(|one, next| one.0 >= next.0));
            }
        }
    }

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
    fn quantity_malformed_is_refused_in_words() {
        for (text, words) in [
            ("-1", "must be at least 0 (got -1)"),
            ("0.0000001", "must have at most 6 decimal places (got 0.0000001)"),
            ("1e-7", "must have at most 6 decimal places (got 1e-7)"),
            (
                "1e-99999999999999999",
                "must have at most 6 decimal places (got 1e-99999999999999999)",
            ),
            (
                "1000000000000000.000001",
                "must be at most 1000000000000000 (got 1000000000000000.000001)",
            ),
            ("1e16", "must be at most 1000000000000000 (got 1e16)"),
            ("1e99999999999", "must be at most 1000000000000000 (got 1e99999999999)"),
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
