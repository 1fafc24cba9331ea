//! Large events: the difference instead of the whole state, twice.
//!
//! # Design
//!
//! A change of one member of an object of 64 KiB must not write 128 KiB. The log would grow by what
//! is stored, not by what is sent. So a large event contains only the members that differ. In
//! `before`, digests replace large members, because an earlier event contains them in full. Each
//! side also has a digest of its whole state, which proves that the state continues that of earlier
//! events.
//!
//! This happens before the event is committed to. The leaf, verification, export and erasure know
//! no other content than this one.

use serde_json::{Map, Value, json};

use super::canonical::Text;
use crate::kernel::secret::{hex, sha256};

/// The total size in bytes up to which an event contains both states in full.
const WHOLE: usize = 16 * 1024;
/// The largest member of `before` that no digest replaces, in bytes.
const MEMBER: usize = 1024;
/// The member of an abridged state that holds the digest of the whole state.
const MARK: &str = "$whole";

/// The member that `after` keeps although it is equal on both sides: lists of events filter by it.
const PRODUCT: &str = "product";

/// Returns the states before and after in the form that the event contains.
pub(super) fn texts(before: Value, after: Value) -> (Text, Text) {
    let (whole_before, whole_after) = (Text::of(&before), Text::of(&after));
    if whole_before.as_str().len() + whole_after.as_str().len() <= WHOLE || before.is_null() {
        return (whole_before, whole_after);
    }
    let (mut earlier, mut later) = (before, after);
    if let (Value::Object(before), Value::Object(after)) = (&mut earlier, &mut later) {
        let product = after.get(PRODUCT).filter(|label| label.is_string()).cloned();
        keep_difference(before, after);
        after.extend(product.map(|label| (PRODUCT.to_owned(), label)));
        after.insert(MARK.into(), digest(&whole_after));
    }
    match &mut earlier {
        Value::Object(members) => {
            members.values_mut().for_each(shorten);
            members.insert(MARK.into(), digest(&whole_before));
        }
        other => *other = json!({MARK: digest(&whole_before)}),
    }
    (Text::of(&earlier), Text::of(&later))
}

/// Removes the members that are equal on both sides.
fn keep_difference(before: &mut Map<String, Value>, after: &mut Map<String, Value>) {
    let names: Vec<String> = before.keys().cloned().collect();
    for name in names {
        let (Some(earlier), Some(later)) = (before.get_mut(&name), after.get_mut(&name)) else {
            continue;
        };
        if earlier == later {
            before.remove(&name);
            after.remove(&name);
        } else if let (Value::Object(earlier), Value::Object(later)) = (earlier, later) {
            keep_difference(earlier, later);
        }
    }
}

/// Replaces large values by their digests.
fn shorten(value: &mut Value) {
    let mut text = Text::of(value);
    if text.as_str().len() <= MEMBER {
        return;
    }
    let whole = digest(&text);
    if let Value::Object(members) = value {
        members.values_mut().for_each(shorten);
        text = Text::of(value);
        if text.as_str().len() <= 4 * MEMBER {
            return;
        }
    }
    *value = whole;
}

/// Returns the size and the SHA-256 of a value's canonical form (RFC 8785).
fn digest(whole: &Text) -> Value {
    let text = whole.as_str().as_bytes();
    json!({"bytes": text.len(), "sha256": hex(&sha256(text))})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abridged(before: Value, after: Value) -> (Value, Value) {
        let (before, after) = texts(before, after);
        (before.value(), after.value())
    }

    fn digest_of(value: &Value) -> Value {
        digest(&Text::of(value))
    }

    #[test]
    fn small_states_and_new_things_stay_whole() {
        let (before, after) = (json!({"a": 1, "b": [2]}), json!({"a": 1, "b": [3]}));
        assert_eq!(abridged(before.clone(), after.clone()), (before, after));
        let large = json!({"a": "x".repeat(100_000)});
        assert_eq!(abridged(Value::Null, large.clone()), (Value::Null, large));
    }

    #[test]
    fn large_state_contains_only_differences() {
        let large = "x".repeat(20_000);
        let before = json!({"id": 1, "name": "A", "gone": 2, "metadata": {"k": large, "n": 1}});
        let after = json!({"id": 1, "name": "B", "new": 3, "metadata": {"k": large, "n": 2}});
        assert_eq!(
            abridged(before.clone(), after.clone()),
            (
                json!({
                    "name": "A", "gone": 2, "metadata": {"n": 1}, "$whole": digest_of(&before),
                }),
                json!({
                    "name": "B", "new": 3, "metadata": {"n": 2}, "$whole": digest_of(&after),
                }),
            )
        );
    }

    #[test]
    fn large_state_keeps_its_product() {
        let large = "x".repeat(20_000);
        let before = json!({"product": "studio", "n": 1, "spec": large});
        let after = json!({"product": "studio", "n": 2, "spec": large});
        assert_eq!(
            abridged(before.clone(), after.clone()),
            (
                json!({"n": 1, "$whole": digest_of(&before)}),
                json!({"product": "studio", "n": 2, "$whole": digest_of(&after)}),
            )
        );
    }

    #[test]
    fn large_member_of_an_earlier_event_becomes_a_digest() {
        let (old, new) = ("x".repeat(20_000), "y".repeat(20_000));
        let (before, after) = (json!({"m": {"k": old, "n": 1}}), json!({"m": {"k": new, "n": 1}}));
        assert_eq!(
            abridged(before.clone(), after.clone()),
            (
                json!({"m": {"k": digest_of(&json!(old))}, "$whole": digest_of(&before)}),
                json!({"m": {"k": new}, "$whole": digest_of(&after)}),
            )
        );
        // The object is removed, or the after state is of another type: the event does not repeat
        // it in full.
        let many: Map<String, Value> = (0..5000).map(|n| (n.to_string(), json!(n))).collect();
        let before = json!({"n": 1, "m": many});
        let short = json!({
            "n": 1, "m": digest_of(&before["m"]), "$whole": digest_of(&before),
        });
        assert_eq!(abridged(before.clone(), Value::Null), (short.clone(), Value::Null));
        assert_eq!(abridged(before, json!([1])), (short, json!([1])));
        let list = json!(vec!["x".repeat(1000); 20]);
        let whole = json!({"$whole": digest_of(&list)});
        assert_eq!(abridged(list, Value::Null), (whole, Value::Null));
    }
}
