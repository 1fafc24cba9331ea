use proptest::prelude::*;
use serde_json::{Value, json};

use super::document;

fn accepts(text: impl AsRef<[u8]>) -> bool {
    document::<Value>(text.as_ref()).is_ok()
}

#[test]
fn names_are_unique_at_every_depth() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":1}"#,
        r#"{"x":{"a":1,"b":2,"a":3}}"#,
        r#"[[{"a":[],"a":[]}]]"#,
        r#"{"":1,"":2}"#,
    ] {
        assert!(!accepts(text), "{text}");
    }
    assert!(accepts(r#"{"a":{"a":{"a":1}},"A":1}"#));
}

#[test]
fn nesting_is_bounded_at_64() {
    let nested = |open: &str, close: &str, n: usize| open.repeat(n) + "1" + &close.repeat(n);
    assert!(accepts(nested("[", "]", 64)));
    assert!(!accepts(nested("[", "]", 65)));
    assert!(accepts(nested("{\"a\":", "}", 64)));
    assert!(!accepts(nested("{\"a\":", "}", 65)));
    assert!(!accepts("[".repeat(100_000)));
    // Room is given back when a level ends.
    assert!(accepts(format!("[{}]", vec![nested("[", "]", 63); 3].join(","))));
}

#[test]
fn the_whole_text_is_utf8() {
    assert!(!accepts(b"{\"a\":\"\xff\"}"));
    assert!(!accepts(b"\xef\xbb\xbf{}"));
    assert!(!accepts(b"{\"a\":\"\xed\xa0\x80\"}"));
    assert!(accepts("{\"ü\":\"\u{1F600}\"}"));
}

#[test]
fn escapes_and_surrogates() {
    let read = document::<Value>(br#""\u00e9\ud83d\ude00\n\/\"\\\b\f\r\t\u0000""#).unwrap();
    assert_eq!(read, json!("é😀\n/\"\\\u{8}\u{c}\r\t\u{0}"));
    for text in [
        r#""\ud83d""#,
        r#""\ude00""#,
        r#""\ud83dx""#,
        r#""\ud83d\n""#,
        r#""\ud83d\u0041""#,
        r#""\u+123""#,
        r#""\u12""#,
        r#""\x41""#,
        r#""\é""#,
        "\"\n\"",
        "\"\u{0}\"",
        "\"",
        "\"\\",
        "\"\\u",
    ] {
        assert!(!accepts(text), "{text:?}");
    }
}

#[test]
fn an_integer_has_one_spelling() {
    assert_eq!(document::<i64>(b"-17").unwrap(), -17);
    assert_eq!(document::<i64>(b" 9223372036854775807 ").unwrap(), i64::MAX);
    assert_eq!(document::<u64>(b"18446744073709551615").unwrap(), u64::MAX);
    for text in ["1.0", "1e0", "-0", "01", "+1", "1.", ".1", "1e", "0x1", "9223372036854775808"] {
        assert!(document::<i64>(text.as_bytes()).is_err(), "{text}");
    }
    for text in ["\"1\"", "true", "null", "[1]", "", "-", "--1", "NaN", "1 2"] {
        assert!(document::<i64>(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn numbers_that_no_float_can_hold_are_refused() {
    assert!(!accepts("1e400"));
    assert!(!accepts("-1e400"));
    assert!(accepts("1e-400"));
    assert!(accepts("123456789012345678901234567890"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn output_of_serde_json_is_read_back(value in any_json()) {
        let compact = serde_json::to_vec(&value).unwrap();
        prop_assert_eq!(document::<Value>(&compact).unwrap(), value.clone());
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        prop_assert_eq!(document::<Value>(&pretty).unwrap(), value);
    }

    #[test]
    fn accepted_text_is_read_as_serde_json_reads_it(text in r#"[\[\]{}:,"\\ 0-9a-fnrtuleE.+\-]{0,24}"#) {
        if let Ok(ours) = document::<Value>(text.as_bytes()) {
            prop_assert_eq!(ours, serde_json::from_str::<Value>(&text).unwrap());
        }
    }

    #[test]
    fn a_damaged_text_is_read_as_serde_json_reads_it(value in any_json(), at in any::<prop::sample::Index>(), byte: u8) {
        let mut text = serde_json::to_vec(&value).unwrap();
        let at = at.index(text.len());
        text[at] = byte;
        if let Ok(ours) = document::<Value>(&text) {
            prop_assert_eq!(ours, serde_json::from_slice::<Value>(&text).unwrap());
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = document::<Value>(&bytes);
    }
}
