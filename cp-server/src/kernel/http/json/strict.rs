//! Strict JSON: no duplicate member, no U+0000, bounded depth and arrays.

use std::collections::HashSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::kernel::text::named;

/// The maximum nesting; no honest request needs more.
const DEPTH: usize = 64;
/// The maximum number of items in an array of a request.
pub const ITEMS: usize = 1000;

pub(super) fn check(text: &str) -> serde_json::Result<()> {
    let mut strict = serde_json::Deserializer::from_str(text);
    Strict(DEPTH).deserialize(&mut strict).and_then(|()| strict.end())
}

/// Checks JSON without keeping it: no duplicate member, no U+0000, bounded depth and arrays.
struct Strict(usize);

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        if text.contains('\0') { Err(E::custom("a string contains U+0000")) } else { Ok(()) }
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let mut count = 0;
        while items.next_element_seed(Strict(depth))?.is_some() {
            count += 1;
            if count > ITEMS {
                return Err(de::Error::custom(format!("an array has more than {ITEMS} items")));
            }
        }
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let depth = self.deeper()?;
        let mut names = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            self.visit_str(&name)?;
            members.next_value_seed(Strict(depth))?;
            if let Some(twice) = names.replace(name) {
                return Err(de::Error::custom(format!(
                    "the member {} is duplicated",
                    named(&twice)
                )));
            }
        }
        Ok(())
    }
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        *self
    }
}
impl Copy for Strict {}

impl Strict {
    fn deeper<E: de::Error>(self) -> Result<usize, E> {
        self.0
            .checked_sub(1)
            .ok_or_else(|| E::custom(format!("values are nested deeper than {DEPTH}")))
    }
}
