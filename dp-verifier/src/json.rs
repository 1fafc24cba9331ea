//! A strict JSON reader: it refuses texts that two readers could understand differently.
//!
//! # Design
//!
//! This crate has its own reader because serde_json cannot be made strict from outside. serde_json
//! skips the UTF-8 check in members that it ignores, lets the last of two equal names win, and
//! reads arrays as structs by position. It also changes how numbers arrive when any crate of the
//! host's build enables `arbitrary_precision`. In this reader every name is unique (RFC 8259 §4
//! allows duplicates, RFC 7515 §4 and RFC 7519 §4 do not), nesting is bounded, and the whole text
//! is UTF-8 (RFC 8259 §8.1).

mod object;
mod reader;
mod values;

pub(crate) use self::object::object;
pub(crate) use self::reader::{Fault, Read, Reader, document};
pub(crate) use self::values::{found, keep, keep_unknown};

#[cfg(test)]
mod tests;
