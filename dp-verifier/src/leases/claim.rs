//! Claims of seats.

use std::time::Duration;

use cp_contracts::PoolKind;
use serde_json::{Map, Value, json};

use crate::Holder;

/// A claim of a seat, with its options.
///
/// ```
/// use std::time::Duration;
/// use dp_verifier::{Claim, Holder};
///
/// let holder = Holder::id("render-07");
/// let claim = Claim::new("render", &holder).label("render-07").ttl(Duration::from_secs(120));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Claim {
    pool: String,
    holder: Holder,
    options: Map<String, Value>,
}

impl Claim {
    /// Claims a seat of a pool for a holder.
    pub fn new(pool: &str, holder: &Holder) -> Self {
        Self { pool: pool.to_owned(), holder: holder.clone(), options: Map::new() }
    }

    /// Describes the holder for people: at most 255 characters.
    pub fn label(self, text: &str) -> Self {
        self.with("label", json!(text))
    }

    /// Adds a value of the app, which the control plane stores with the lease.
    pub fn meta(mut self, name: &str, value: &str) -> Self {
        let meta = self.options.entry("meta").or_insert_with(|| json!({}));
        if let Some(members) = meta.as_object_mut() {
            members.insert(name.to_owned(), json!(value));
        }
        self
    }

    /// Asks for a shorter time without a heartbeat than the pool's own.
    pub fn ttl(self, time: Duration) -> Self {
        self.with("ttl_seconds", json!(time.as_secs()))
    }

    /// Borrows the seat for this time: the lease then needs no heartbeat.
    pub fn borrow(self, time: Duration) -> Self {
        self.with("borrow_seconds", json!(time.as_secs()))
    }

    /// Takes the seat of another holder when none is free, if the pool allows that.
    pub fn take_over(self) -> Self {
        self.with("take_over", json!(true))
    }

    /// Asks for a lease token, for [checks](crate::Verifier::verify_lease) without a network.
    pub fn token(self) -> Self {
        self.with("token", json!(true))
    }

    fn with(mut self, option: &str, value: Value) -> Self {
        self.options.insert(option.to_owned(), value);
        self
    }

    pub(super) fn pool(&self) -> &str {
        &self.pool
    }

    pub(super) fn holder(&self) -> &Holder {
        &self.holder
    }

    /// Returns the body of the request. The kind of the pool is unknown when the license token does
    /// not have the pool.
    pub(super) fn body(&self, kind: Option<&PoolKind>) -> Value {
        let mut body = self.options.clone();
        body.insert("pool".to_owned(), json!(self.pool));
        body.insert("holder".to_owned(), self.holder.to_json(kind));
        Value::Object(body)
    }
}
