//! Large events: the difference in place of the whole, twice.
//!
//! # Design
//! A change of one member of an object of 64 KiB must not write 128 KiB: the log would grow by what
//! is stored, not by what is sent. So a large event tells the members that differ. Of `before` it tells
//! members that are large by their digest, because an earlier event tells them whole. Each side
//! has a digest of its whole state besides, which shows that it continues what other events tell.
//!
//! This happens before the event is committed to. The leaf, verification, export and erasure know no
//! other content than this one.

use serde_json::{Map, Value, json};

use super::canonical::Text;
use crate::kernel::secret::{hex, sha256};

/// Up to so many bytes together, both states are told whole.
const WHOLE: usize = 16 * 1024;
/// The largest member of `before` that is not told by its digest, in bytes.
const MEMBER: usize = 1024;
/// The member of an abridged state that tells of the whole one.
const MARK: &str = "$whole";

/// The states before and after, as the event tells them.
pub(super) fn texts(before: Value, after: Value) -> (Text, Text) {
    let (whole_before, whole_after) = (Text::of(&before), Text::of(&after));
    if whole_before.as_str().len() + whole_after.as_str().len() <= WHOLE || before.is_null() {
        return (whole_before, whole_after);
    }
    let (mut earlier, mut later) = (before, after);
    if let (Value::Object(before), Value::Object(after)) = (&mut earlier, &mut later) {
        keep_difference(before, after);
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

/// Takes away what both have.
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

/// Puts digests in the place of what is large.
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

/// The size and the SHA-256 of a value's canonical text (RFC 8785).
fn digest(whole: &Text) -> Value {
    let text = whole.as_str().as_bytes();
    json!({"bytes": text.len(), "sha256": hex(&sha256(text))})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(before: Value, after: Value) -> (Value, Value) {
        let (before, after) = texts(before, after);
        (before.value(), after.value())
    }

    fn digest_of(value: &Value) -> Value {
        digest(&Text::of(value))
    }

    #[test]
    fn small_states_and_new_things_are_told_whole() {
        let (before, after) = (json!({"a": 1, "b": [2]}), json!({"a": 1, "b": [3]}));
        assert_eq!(told(before.clone(), after.clone()), (before, after));
        let large = json!({"a": "x".repeat(100_000)});
        assert_eq!(told(Value::Null, large.clone()), (Value::Null, large));
    }

    #[test]
    fn a_large_state_is_told_by_what_differs() {
        let large = "x".repeat(20_000);
        let before = json!({"id": 1, "name": "A", "gone": 2, "metadata": {"k": large, "n": 1}});
        let after = json!({"id": 1, "name": "B", "new": 3, "metadata": {"k": large, "n": 2}});
        assert_eq!(
            told(before.clone(), after.clone()),
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
    fn what_an_earlier_event_told_is_told_by_its_digest() {
        let (old, new) = ("x".repeat(20_000), "y".repeat(20_000));
        let (before, after) = (json!({"m": {"k": old, "n": 1}}), json!({"m": {"k": new, "n": 1}}));
        assert_eq!(
            told(before.clone(), after.clone()),
            (
                json!({"m": {"k": digest_of(&json!(old))}, "$whole": digest_of(&before)}),
                json!({"m": {"k": new}, "$whole": digest_of(&after)}),
            )
        );
        // It is gone, or is answered with something else: it is not told whole each time.
        let many: Map<String, Value> = (0..5000).map(|n| (n.to_string(), json!(n))).collect();
        let before = json!({"n": 1, "m": many});
        let short = json!({
            "n": 1, "m": digest_of(&before["m"]), "$whole": digest_of(&before),
        });
        assert_eq!(told(before.clone(), Value::Null), (short.clone(), Value::Null));
        assert_eq!(told(before, json!([1])), (short, json!([1])));
        let list = json!(vec!["x".repeat(1000); 20]);
        let whole = json!({"$whole": digest_of(&list)});
        assert_eq!(told(list, Value::Null), (whole, Value::Null));
    }
}
