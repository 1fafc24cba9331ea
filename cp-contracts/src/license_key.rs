//! The written form of license keys.

use std::fmt;

/// The symbols of a key, by value: digits and capital letters without I, L, O and U.
const SYMBOLS: [u8; 32] = *b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// The symbols of a key: 23 random ones, then the checksum.
const LENGTH: usize = 25;
const RANDOM: usize = 23;
/// The symbols of a group of the displayed form.
const GROUP: usize = 5;
/// x^9 + x^5 + x^4 + x + 1: the checksum's polynomial without its highest term, x^10.
const POLYNOMIAL: u16 = 0b10_0011_0011;

/// A license key: 23 random symbols (115 bits) and a checksum of 2, such as
/// `01234-56789-ABCDE-FGHJK-MNP8N`. Since 2.10.0.
///
/// The checksum is a CRC of 10 bits over the random symbols, of 5 bits each. It starts with 0 and
/// reads the high bit first. It finds every single wrong symbol and every swap of two neighbours.
///
/// A key is a credential. It has no `Debug` and no `Display`, so that it does not reach a log by
/// accident: [`display`](Self::display) shows the key, [`hint`](Self::hint) names it.
#[derive(Clone, PartialEq, Eq)]
pub struct LicenseKey {
    /// ASCII, of [`SYMBOLS`] only.
    text: String,
}

impl LicenseKey {
    /// Returns the key of 15 random bytes. The first 115 bits count.
    #[must_use]
    pub fn from_random(random: [u8; 15]) -> Self {
        let bits = random.iter().fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
        let mut values: Vec<u8> = (0..RANDOM).map(|n| (bits >> (115 - 5 * n)) as u8 & 31).collect();
        values.extend(checksum(&values));
        Self { text: values.into_iter().map(symbol).collect() }
    }

    /// Reads a key as people write it.
    ///
    /// Upper and lower case, spaces and dashes do not matter. I and L count as 1, and O counts
    /// as 0. The text may begin with `prefix` and a dash; an issuer prints its keys that way.
    ///
    /// ```
    /// use cp_contracts::LicenseKey;
    ///
    /// let key = LicenseKey::parse("acme-ol234 56789 abcde fghjk mnp8n", Some("ACME"))?;
    /// assert_eq!(key.display().to_string(), "01234-56789-ABCDE-FGHJK-MNP8N");
    /// assert_eq!(key.hint(), "01234");
    /// # Ok::<(), cp_contracts::LicenseKeyError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Returns the [`LicenseKeyError`] of the text without the prefix.
    pub fn parse(text: &str, prefix: Option<&str>) -> Result<Self, LicenseKeyError> {
        // The whole text first: the symbols of a key may begin like the prefix.
        match (read(text), prefix.and_then(|prefix| without_prefix(text, prefix))) {
            (Err(_), Some(rest)) => read(rest),
            (whole, _) => whole,
        }
    }

    /// Returns the 25 symbols without dashes, the form that is hashed.
    #[must_use]
    pub fn symbols(&self) -> &str {
        &self.text
    }

    /// Returns the first 5 symbols. They name the key in lists and logs.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.text[..GROUP]
    }

    /// Returns the key as people read it: 5 groups of 5 symbols.
    #[must_use]
    pub fn display(&self) -> impl fmt::Display + '_ {
        LicenseKeyGroups(&self.text)
    }
}

struct LicenseKeyGroups<'a>(&'a str);

impl fmt::Display for LicenseKeyGroups<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for start in (0..LENGTH).step_by(GROUP) {
            let dash = if start == 0 { "" } else { "-" };
            write!(f, "{dash}{}", &self.0[start..start + GROUP])?;
        }
        Ok(())
    }
}

/// The reason why a text is no license key. It contains nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LicenseKeyError {
    /// A character is neither a symbol nor a separator.
    Symbol,
    /// The number of symbols is not 25.
    Length,
    /// The checksum does not match: a symbol is wrong.
    Checksum,
}

impl fmt::Display for LicenseKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Symbol => {
                "a license key has only digits and letters without U, spaces and dashes"
            }
            Self::Length => "a license key has 25 digits and letters",
            Self::Checksum => "the checksum of the license key does not match",
        })
    }
}

impl std::error::Error for LicenseKeyError {}

fn symbol(value: u8) -> char {
    char::from(SYMBOLS[usize::from(value)])
}

/// Returns the value of a symbol, or of a character that counts as one.
fn value(character: char) -> Option<u8> {
    let canonical = match character.to_ascii_uppercase() {
        'I' | 'L' => '1',
        'O' => '0',
        other => other,
    };
    SYMBOLS.iter().position(|symbol| char::from(*symbol) == canonical).map(|n| n as u8)
}

/// Returns whether a character separates symbols. Word processors replace a dash by a longer one.
fn separates(character: char) -> bool {
    character.is_whitespace() || matches!(character, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

fn read(text: &str) -> Result<LicenseKey, LicenseKeyError> {
    let mut values = Vec::with_capacity(LENGTH);
    for character in text.chars().filter(|character| !separates(*character)) {
        values.push(value(character).ok_or(LicenseKeyError::Symbol)?);
        if values.len() > LENGTH {
            return Err(LicenseKeyError::Length);
        }
    }
    match values.split_at_checked(RANDOM) {
        Some((random, check)) if check.len() == LENGTH - RANDOM => {
            let text = values.iter().copied().map(symbol).collect();
            if check == checksum(random) {
                Ok(LicenseKey { text })
            } else {
                Err(LicenseKeyError::Checksum)
            }
        }
        _ => Err(LicenseKeyError::Length),
    }
}

/// Returns the text after the prefix and a separator, or `None` without them.
fn without_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.trim_start().split_at_checked(prefix.len())?;
    let follows = !prefix.is_empty() && start.eq_ignore_ascii_case(prefix);
    (follows && rest.starts_with(separates)).then_some(rest)
}

/// Returns the two symbols of the checksum over symbols of 5 bits.
fn checksum(values: &[u8]) -> [u8; 2] {
    let bits = values.iter().flat_map(|value| (0..5).rev().map(move |n| (value >> n) & 1));
    let crc = bits.fold(0_u16, |crc, bit| {
        let carry = (crc >> 9) ^ u16::from(bit);
        ((crc << 1) & 0x3ff) ^ (carry * POLYNOMIAL)
    });
    [(crc >> 5) as u8, (crc & 31) as u8]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{LENGTH, LicenseKey, LicenseKeyError, SYMBOLS};

    const KEYS: [&str; 2] = ["01234-56789-ABCDE-FGHJK-MNP8N", "ZZZZZ-ZZZZZ-ZZZZZ-ZZZZZ-ZZZ86"];

    fn shown(text: &str, prefix: Option<&str>) -> Result<String, LicenseKeyError> {
        LicenseKey::parse(text, prefix).map(|key| key.display().to_string())
    }

    #[test]
    fn known_keys_are_valid() {
        for key in KEYS {
            assert_eq!(shown(key, None).as_deref(), Ok(key));
        }
        assert_eq!(LicenseKey::from_random([0xff; 15]).display().to_string(), KEYS[1]);
        assert_eq!(LicenseKey::from_random([0; 15]).symbols(), "0".repeat(LENGTH));
        let mut random = [0; 15];
        (random[0], random[14]) = (0b1000_0100, 0b0010_0000);
        let key = LicenseKey::from_random(random);
        assert_eq!((key.hint(), &key.symbols()[20..23]), ("GG000", "001"));
        random[14] |= 0b0001_1111;
        assert!(LicenseKey::from_random(random) == key, "the last 5 bits are spare");
    }

    #[test]
    fn forms_of_one_key_are_accepted() {
        let forms = [
            "0123456789ABCDEFGHJKMNP8N",
            "ol234-56789-abcde-fghjk-mnp8n",
            "OI234 56789 ABCDE FGHJK MNP8N",
            " -o i2-34567\t89A--BCDEF\u{a0}GHJ\u{2013}KMNP8N-\n",
        ];
        for form in forms {
            assert_eq!(shown(form, None).as_deref(), Ok(KEYS[0]), "{form:?}");
            assert_eq!(shown(form, Some("ACME")).as_deref(), Ok(KEYS[0]), "{form:?}");
        }
        for prefix in ["ACME", "acme", "U_1", "01234", "é"] {
            let form = format!(" {}-{}", prefix.to_ascii_lowercase(), KEYS[0]);
            assert_eq!(shown(&form, Some(prefix)).as_deref(), Ok(KEYS[0]), "{form:?}");
        }
        assert_eq!(shown(KEYS[0], Some("01234")).as_deref(), Ok(KEYS[0]));
        assert_eq!(shown(KEYS[0], Some("")).as_deref(), Ok(KEYS[0]));
    }

    #[test]
    fn other_texts_are_refused() {
        use LicenseKeyError::{Checksum, Length, Symbol};
        let cases = [
            ("", Length),
            ("-", Length),
            ("01234-56789-ABCDE-FGHJK-MNP8", Length),
            ("01234-56789-ABCDE-FGHJK-MNP8N-0", Length),
            ("ACME-01234-56789-ABCDE-FGHJK-MNP8N", Length),
            ("U1234-56789-ABCDE-FGHJK-MNP8N", Symbol),
            ("01234_56789_ABCDE_FGHJK_MNP8N", Symbol),
            ("01234-56789-ABCDE-FGHJK-MNP8\u{ff2e}", Symbol),
            ("01234-56789-ABCDE-FGHJK-MNP8M", Checksum),
        ];
        for (text, error) in cases {
            assert_eq!(shown(text, None), Err(error), "{text:?}");
        }
        for text in ["ACME01234-56789-ABCDE-FGHJK-MNP8N", "ACME-ACME-01234", "ACM", "ACME-"] {
            assert!(shown(text, Some("ACME")).is_err(), "{text:?}");
        }
        let endless = format!("{}U", "0".repeat(LENGTH + 1));
        assert_eq!(shown(&endless, None), Err(Length), "the rest is not read");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn wrong_symbols_and_swaps_of_neighbours_are_found(random: [u8; 15]) {
            let key = LicenseKey::from_random(random);
            let text = key.symbols().as_bytes();
            let is_refused = |text: Vec<u8>| {
                let text = String::from_utf8(text).unwrap();
                LicenseKey::parse(&text, None).err() == Some(LicenseKeyError::Checksum)
            };
            for place in 0..LENGTH {
                for symbol in SYMBOLS.into_iter().filter(|symbol| *symbol != text[place]) {
                    let mut wrong = text.to_vec();
                    wrong[place] = symbol;
                    prop_assert!(is_refused(wrong));
                }
                if place > 0 && text[place] != text[place - 1] {
                    let mut swapped = text.to_vec();
                    swapped.swap(place, place - 1);
                    prop_assert!(is_refused(swapped));
                }
            }
        }

        #[test]
        fn displayed_keys_are_read_again(random: [u8; 15], lower: bool) {
            let key = LicenseKey::from_random(random);
            let mut text = format!("ACME-{}", key.display());
            if lower {
                text.make_ascii_lowercase();
            }
            prop_assert!(LicenseKey::parse(&text, Some("ACME")).is_ok_and(|read| read == key));
        }

        #[test]
        fn any_text_is_read_without_panic(text: String, prefix: Option<String>) {
            let _ = LicenseKey::parse(&text, prefix.as_deref());
        }
    }
}
