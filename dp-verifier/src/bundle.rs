//! Bundle files: a license token together with the keys that it is checked with.

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::json::document;
use crate::{BuildError, KeySet, KeySetError, files};

/// The largest file that is read, in bytes.
const MAX_FILE: usize = 256 * 1024;

pub(crate) struct Bundle {
    token: Option<String>,
    members: Map<String, Value>,
}

impl Bundle {
    pub(crate) fn read(path: PathBuf) -> Result<Self, BuildError> {
        let read = || {
            let text = files::read(&path, MAX_FILE).map_err(|error| error.to_string())?;
            Self::parse(&text)
        };
        read().map_err(|why| BuildError::BundleFile { path, why })
    }

    fn parse(text: &[u8]) -> Result<Self, String> {
        if text.len() > MAX_FILE {
            return Err(format!("it has more than {MAX_FILE} bytes"));
        }
        let mut members: Map<String, Value> = document(text).map_err(|fault| fault.to_string())?;
        let token = match members.remove("token") {
            // A refresh file brings keys for a token that is there already.
            None | Some(Value::Null) => None,
            Some(Value::String(token)) => Some(token),
            Some(_) => return Err("token: must be a string".to_owned()),
        };
        Ok(Self { token, members })
    }

    /// The file's keys, judged like any other set.
    pub(crate) fn keys(&self) -> Result<KeySet, KeySetError> {
        match self.members.get("jwks") {
            Some(Value::Object(set)) => KeySet::of(set),
            _ => KeySet::of(&Map::new()),
        }
    }

    pub(crate) fn into_token(self) -> Option<String> {
        self.token
    }
}

#[cfg(test)]
mod tests {
    use super::{Bundle, MAX_FILE};

    #[test]
    fn v07_a_bundle_is_strict_json() {
        for text in [
            "",
            "[]",
            "\"token\"",
            r#"{"token":"a","token":"b"}"#,
            r#"{"token":1}"#,
            r#"{"token":"a","jwks":{"keys":[],"keys":[]}}"#,
            r#"{"token":"a"} x"#,
        ] {
            assert!(Bundle::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Bundle::parse(b"{\"token\":\"\xff\"}").is_err());
        let bundle = Bundle::parse(br#"{"token":"a","later":[1]}"#).unwrap();
        assert!(bundle.keys().is_err());
        assert_eq!(bundle.into_token().as_deref(), Some("a"));
    }

    #[test]
    fn v01_a_bundle_has_at_most_256_kib() {
        let padded = |size: usize| format!("{{{}}}", " ".repeat(size - 2));
        assert!(Bundle::parse(padded(MAX_FILE).as_bytes()).is_ok());
        assert!(Bundle::parse(padded(MAX_FILE + 1).as_bytes()).is_err());
    }
}
