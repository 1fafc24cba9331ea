//! Documents that several vectors have.

use dp_verifier::cp_contracts::{LICENSE_LIST_BITS, LICENSE_LIST_ENTRIES, StatusList};
use serde_json::{Value, json};

use crate::support::*;

/// A status list of a day, in which an entry has this status.
pub(super) fn list_of(idx: u64, iat: i64, status: u8) -> Value {
    let mut list = StatusList::new(LICENSE_LIST_BITS, LICENSE_LIST_ENTRIES);
    list.set(idx, status.into()).unwrap();
    json!({
        "sub": LIST, "iat": iat, "exp": iat + 86_400, "ttl": 300, "status_list": list.to_claim(),
    })
}

/// The value with a member replaced, or removed.
pub(super) fn with(mut value: Value, name: &str, member: impl Into<Option<Value>>) -> Value {
    let members = value.as_object_mut().unwrap();
    match member.into() {
        Some(member) => members.insert(name.to_owned(), member),
        None => members.remove(name),
    };
    value
}

/// A license file with a token that requires a status, and with a status list.
pub(super) fn bundle(seq: i64, key: &Key) -> Value {
    let mut claims = file_claims(seq, &[key]);
    claims["token"] = json!(key.token(&claims_on_stale("block")));
    claims["status_list"] = json!(key.list(&list_claims(NOW - 50 + seq, 0)));
    claims
}
