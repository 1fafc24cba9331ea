//! JSON, read strictly: what two readers could understand differently is refused.
//!
//! # Design
//!
//! A reader of our own, because serde_json cannot be made strict from outside: it skips the UTF-8
//! check in members it ignores, lets the last of two equal names win, reads arrays as structs by
//! position, and changes how numbers arrive when any crate of the host's build turns on
//! `arbitrary_precision`. Here every name is unique (RFC 8259 §4 leaves that open, RFC 7515 §4 and
//! RFC 7519 §4 ask for it), nesting is bounded, and the whole text is UTF-8 (RFC 8259 §8.1).

mod object;
mod reader;
mod values;

pub(crate) use self::object::object;
pub(crate) use self::reader::{Fault, Read, Reader, document};
pub(crate) use self::values::{found, keep, keep_unknown};

#[cfg(test)]
mod tests;
