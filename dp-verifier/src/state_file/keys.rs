//! The keys of license files: trusted ones, and permanently withdrawn ones.
//!
//! # Design
//!
//! A license file has the whole key set of its issuer. So a key that the file omits was withdrawn:
//! it was replaced, or stolen. A withdrawal overrides every source with older information: an older
//! key set file, an older license file, an earlier endorsement of the key, a cached copy of the
//! published set, and a server that was restored from a backup. So the state file stores the
//! withdrawal by the key itself and not by its `kid`. Only a reset of the state ends it.
//!
//! A configured key set has no date. Its keys that no file has had so far may be newer than a file
//! that omits them. Such a key is withdrawn too, but a later file that has it restores it, because
//! no file had the key before. Key sets from a URL have neither a number nor a date, and replicas
//! may lag. So they withdraw no key permanently, and the verifier removes withdrawn keys from them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::files::KeptFile;
use crate::KeySet;
use crate::crypto::hex;
use crate::keys::{KeyId, Withdrawn, read_id};

/// The history of one key in license files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptKey {
    pub(crate) kid: String,
    /// The number of the first file that had the key, or that the key signed. `None` for a key that
    /// was only configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<i64>,
    /// The number of the newest file that omitted the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_out: Option<i64>,
}

impl KeptKey {
    /// Returns the number of the file that withdrew the key.
    pub(crate) fn withdrawn_by(&self) -> Option<i64> {
        self.left_out.filter(|left_out| self.first.is_none_or(|first| first <= *left_out))
    }

    fn merge(&mut self, other: Self) {
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.left_out = self.left_out.max(other.left_out);
    }
}

/// The keys of a license file, and the keys that it may omit.
pub(crate) struct FileKeys<'a> {
    /// The number of the file.
    pub(crate) seq: i64,
    pub(crate) keys: &'a KeySet,
    /// The keys that verified the file.
    pub(crate) led_by: &'a KeySet,
    /// The configured keys.
    pub(crate) given: Option<&'a KeySet>,
}

/// The histories of keys in license files, by the key's identity in hex.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct KeptKeys(BTreeMap<String, KeptKey>);

impl KeptKeys {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &KeptKey> {
        self.0.values()
    }

    /// Merges the histories of another process. The order does not matter.
    pub(crate) fn merge(&mut self, other: Self) {
        for (id, key) in other.0 {
            match self.0.get_mut(&id) {
                Some(ours) => ours.merge(key),
                None => drop(self.0.insert(id, key)),
            }
        }
    }

    /// Records a file, which comes after `before`. The file omits all keys that it does not have:
    /// those of earlier files, the configured ones, and those that verified it.
    pub(crate) fn take(&mut self, before: Option<&KeptFile>, file: &FileKeys<'_>) {
        let FileKeys { seq, keys, led_by, given } = *file;
        // This set was valid when it was stored.
        let former = before.and_then(|file| Some((file.seq, KeySet::of(&file.jwks).ok()?)));
        for (seq, keys) in former.iter().map(|(seq, keys)| (*seq, keys)).chain([(seq, keys)]) {
            keys.iter().for_each(|(kid, id)| self.add(kid, id, Some(seq), None));
        }
        for (kid, id) in led_by.iter().filter(|(_, id)| !keys.has(id)) {
            self.add(kid, id, Some(seq), Some(seq));
        }
        for (kid, id) in given.iter().flat_map(|keys| keys.iter()).filter(|(_, id)| !keys.has(id)) {
            self.add(kid, id, None, Some(seq));
        }
        let there: Vec<String> = keys.iter().map(|(_, id)| hex(id)).collect();
        for (_, key) in self.0.iter_mut().filter(|(id, _)| !there.contains(id)) {
            key.left_out = key.left_out.max(Some(seq));
        }
    }

    fn add(&mut self, kid: &str, id: &KeyId, first: Option<i64>, left_out: Option<i64>) {
        let key = KeptKey { kid: kid.to_owned(), first, left_out };
        match self.0.get_mut(&hex(id)) {
            Some(ours) => ours.merge(key),
            None => drop(self.0.insert(hex(id), key)),
        }
    }

    pub(crate) fn withdrawn(&self) -> Withdrawn {
        let withdrawn = self.0.iter().filter_map(|(id, key)| {
            let seq = key.withdrawn_by()?;
            // `is_plausible` has checked the identities.
            Some((read_id(id)?, (key.kid.clone(), seq)))
        });
        withdrawn.collect()
    }

    /// Returns whether every identity is well-formed.
    pub(crate) fn is_plausible(&self) -> bool {
        self.0.keys().all(|id| read_id(id).is_some_and(|read| hex(&read) == *id))
    }
}
