//! Which keys are trusted, and which never again.
//!
//! # Design
//!
//! A license file brings the whole key set of its issuer, so a key that it leaves out was withdrawn:
//! replaced, or stolen. A withdrawal outlives everything that knows less: a key set file of before
//! that an operator goes on giving, an older license file, an endorsement that the key once got, a
//! copy of the published set in some cache, a server that was restored from a backup. So it is kept
//! by the key itself and not by its name, and only beginning anew with the state file ends it.
//!
//! A key set that was merely given has no date. A key that is in it and in no file so far may be
//! newer than the file that leaves it out. It is not trusted from then on either, but the first
//! later file that has it is believed, because no file has withdrawn it before. Key sets from a URL
//! have neither a number nor a date, and replicas may lag: they withdraw nothing for good, and what
//! a file has withdrawn is left out of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::files::KeptFile;
use crate::KeySet;
use crate::crypto::hex;
use crate::keys::{KeyId, Withdrawn, read_id};

/// What license files have said of one key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeptKey {
    pub(crate) kid: String,
    /// The number of the first file that had it, or that was signed by it; none when it was only
    /// given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first: Option<i64>,
    /// The number of the newest file that left it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left_out: Option<i64>,
}

impl KeptKey {
    /// The file that withdrew it.
    pub(crate) fn withdrawn_by(&self) -> Option<i64> {
        self.left_out.filter(|left_out| self.first.is_none_or(|first| first <= *left_out))
    }

    fn merge(&mut self, other: Self) {
        self.first = [self.first, other.first].into_iter().flatten().min();
        self.left_out = self.left_out.max(other.left_out);
    }
}

/// The keys of a license file, and those that it may leave out.
pub(crate) struct FileKeys<'a> {
    /// The number of the file.
    pub(crate) seq: i64,
    pub(crate) keys: &'a KeySet,
    /// The keys that led to the file.
    pub(crate) led_by: &'a KeySet,
    /// The keys that the verifier was given otherwise.
    pub(crate) given: Option<&'a KeySet>,
}

/// What license files have said of keys, by the key's id in hex.
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

    /// What either knows. The order does not matter.
    pub(crate) fn merge(&mut self, other: Self) {
        for (id, key) in other.0 {
            match self.0.get_mut(&id) {
                Some(ours) => ours.merge(key),
                None => drop(self.0.insert(id, key)),
            }
        }
    }

    /// Takes note of a file, which comes after `before`. It has some keys and leaves out all others:
    /// what files before had, the `given` ones, and those that led to it.
    pub(crate) fn take(&mut self, before: Option<&KeptFile>, file: &FileKeys<'_>) {
        let FileKeys { seq, keys, led_by, given } = *file;
        // A set that was read once can be read again.
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
            // What is no id was refused when the file was read.
            Some((read_id(id)?, (key.kid.clone(), seq)))
        });
        withdrawn.collect()
    }

    /// Whether every id is one.
    pub(crate) fn is_plausible(&self) -> bool {
        self.0.keys().all(|id| read_id(id).is_some_and(|read| hex(&read) == *id))
    }
}
