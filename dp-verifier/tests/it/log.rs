//! The issuer's log: proofs, checkpoints, and what is refused without them. The trees are those of
//! ct-merkle, so that two implementations have to agree.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use dp_verifier::ErrorCode::{self, ProofInvalid, ProofMissing, SplitView};
use dp_verifier::{LicenseState, LogKey, Verifier, VerifierBuilder, accept_log};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::support::*;

pub(crate) const ORIGIN: &str = "cp.example/api/v1/log";

/// A log that signs whatever it is asked to.
#[derive(Clone)]
pub(crate) struct Log {
    key: std::sync::Arc<Ed25519KeyPair>,
    pub(crate) tree: MemoryBackedTree<Sha256, Vec<u8>>,
    origin: String,
}

impl Log {
    pub(crate) fn new() -> Self {
        let key = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(key.as_ref()).unwrap().into();
        Self { key, tree: MemoryBackedTree::new(), origin: ORIGIN.to_owned() }
    }

    /// A log with so many entries that are about nothing here.
    pub(crate) fn of(entries: u64) -> Self {
        let mut log = Self::new();
        (0..entries).for_each(|_| log.add("noise"));
        log
    }

    /// An empty log with the key of another one.
    pub(crate) fn of_same_key(log: &Self) -> Self {
        Self { tree: MemoryBackedTree::new(), ..log.clone() }
    }

    pub(crate) fn size(&self) -> u64 {
        self.tree.len()
    }

    fn entry(&self, action: &str) -> Value {
        let at = "2026-01-09T12:00:00.000000Z";
        let target = json!({ "id": "", "type": "thing" });
        json!({
            "action": action, "at": at, "commit": "00", "seq": self.size(), "target": target, "v": 1,
        })
    }

    pub(crate) fn add(&mut self, action: &str) {
        self.push(&self.entry(action));
    }

    /// Adds the entry of a token. Returns its index.
    pub(crate) fn issue(&mut self, token: &str) -> u64 {
        self.issue_as(token, &KEY)
    }

    pub(crate) fn issue_as(&mut self, token: &str, key: &Key) -> u64 {
        let mut entry = self.entry("bundles.issue");
        entry["jti"] = claims()["jti"].clone();
        entry["kid"] = json!(key.kid);
        entry["token_sha256"] = json!(sha256_hex(token));
        self.push(&entry)
    }

    pub(crate) fn issue_with_id(&mut self, token: &str, jti: &str) -> u64 {
        let mut entry = self.entry("bundles.issue");
        entry["jti"] = json!(jti);
        entry["kid"] = json!(KEY.kid);
        entry["token_sha256"] = json!(sha256_hex(token));
        self.push(&entry)
    }

    fn push(&mut self, entry: &Value) -> u64 {
        self.tree.push(entry.to_string().into_bytes());
        self.size() - 1
    }

    pub(crate) fn vkey(&self) -> String {
        let key = [&[1], self.key.public_key().as_ref()].concat();
        let origin = &self.origin;
        format!("{origin}+{}+{}", hex(&self.key_id()), STANDARD.encode(key))
    }

    fn key_id(&self) -> [u8; 4] {
        let key = [&[1], self.key.public_key().as_ref()].concat();
        let hash = Sha256::digest([self.origin.as_bytes(), b"\n", &key].concat());
        hash[..4].try_into().unwrap()
    }

    fn key(&self) -> LogKey {
        self.vkey().parse().unwrap()
    }

    pub(crate) fn checkpoint(&self) -> String {
        let root = STANDARD.encode(self.tree.root().as_bytes());
        self.note(&format!("{}\n{}\n{root}\n", self.origin, self.size()))
    }

    fn note(&self, body: &str) -> String {
        format!("{body}\n{}", self.signature(body))
    }

    fn signature(&self, body: &str) -> String {
        let signature = [&self.key_id()[..], self.key.sign(body.as_bytes()).as_ref()].concat();
        format!("— {} {}\n", self.origin, STANDARD.encode(signature))
    }

    pub(crate) fn proof(&self, index: u64) -> String {
        let index = usize::try_from(index).unwrap();
        let extra = STANDARD.encode(self.tree.get(index).unwrap());
        let path = hashes(self.tree.prove_inclusion(index).as_bytes());
        format!(
            "c2sp.org/tlog-proof@v1\nextra {extra}\nindex {index}\n{path}\n{}",
            self.checkpoint()
        )
    }

    /// That it extends its own first entries.
    pub(crate) fn consistency(&self, from: u64) -> String {
        match self.size() - from {
            0 => String::new(),
            more => {
                let more = usize::try_from(more).unwrap();
                hashes(self.tree.prove_consistency(more).as_bytes())
            }
        }
    }
}

fn hashes(path: &[u8]) -> String {
    path.chunks(32).map(|hash| STANDARD.encode(hash) + "\n").collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256_hex(text: &str) -> String {
    hex(&Sha256::digest(text))
}

pub(crate) fn token() -> String {
    KEY.token(&claims())
}

pub(crate) fn builder(log: &Log) -> VerifierBuilder {
    let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).clock(|| NOW);
    builder.log_key(log.vkey())
}

fn insisting(log: &Log) -> Verifier {
    let jwks = json!({ "keys": [KEY.jwk(), OTHER_KEY.jwk()] }).to_string();
    builder(log).jwks(jwks).require_inclusion().build().unwrap()
}

#[test]
fn a_proof_of_every_entry_of_small_trees_holds_and_of_no_other() {
    let mut log = Log::new();
    let key = log.key();
    for size in 1..=40 {
        log.add("noise");
        for index in 0..size {
            let text = log.proof(index);
            let proof = key.proof(&text).unwrap();
            assert_eq!((proof.index(), proof.checkpoint().size()), (index, size));
            assert_eq!((proof.action(), proof.jti()), ("noise", None));
            assert_eq!(proof.text(), text);
            let elsewhere = text.replacen(&format!("\nindex {index}\n"), "\nindex 40\n", 1);
            assert_refused(key.proof(&elsewhere), ProofInvalid);
        }
    }
}

#[test]
fn every_tree_extends_all_before_it_and_no_other_does() {
    let logs: Vec<Log> = (0..=33)
        .map(|_| ())
        .scan(Log::new(), |log, ()| {
            let now = log.clone();
            log.add("noise");
            Some(now)
        })
        .collect();
    let key = logs[0].key();
    let checkpoint = |log: &Log| key.checkpoint(&log.checkpoint()).unwrap();
    for (size, new) in logs.iter().enumerate() {
        for (from, old) in logs.iter().enumerate().take(size + 1) {
            let proof = if from == 0 { String::new() } else { new.consistency(from as u64) };
            let (old, shown) = (checkpoint(old), checkpoint(new));
            assert_eq!(old.is_extended_by(&shown, &proof), Some(true), "{from} to {size}");
            // Neither with a hash more or less, nor with another one, nor for other sizes.
            let more = format!("{proof}{}\n", STANDARD.encode([7; 32]));
            assert_eq!(old.is_extended_by(&shown, &more), Some(false), "{from} to {size}");
            if let Some((_, less)) = proof.split_once('\n') {
                assert_eq!(old.is_extended_by(&shown, less), Some(false), "{from} to {size}");
                let other = format!("{}\n{less}", STANDARD.encode([7; 32]));
                assert_eq!(old.is_extended_by(&shown, &other), Some(false), "{from} to {size}");
            }
            if from != size && from != 0 {
                assert_eq!(shown.is_extended_by(&old, &proof), Some(false), "{size} to {from}");
            }
        }
    }
    let (old, new) = (checkpoint(&logs[3]), checkpoint(&logs[9]));
    for nonsense in
        ["\n", "x\n", "AAAA\n", &logs[9].consistency(3)[1..], "\n\n", &"x".repeat(9_999)]
    {
        assert_eq!(old.is_extended_by(&new, nonsense), None);
    }
}

/// A tree of one entry more is proved to extend, and the other one is not.
#[test]
fn a_rewritten_entry_is_another_history() {
    for size in 2..=20 {
        let mut honest = Log::of(size);
        let mut other = Log { tree: MemoryBackedTree::new(), ..honest.clone() };
        (0..size).for_each(|index| other.add(if index == size / 2 { "edited" } else { "noise" }));
        let key = honest.key();
        let old = key.checkpoint(&honest.checkpoint()).unwrap();
        honest.add("noise");
        other.add("noise");
        let new = key.checkpoint(&honest.checkpoint()).unwrap();
        assert_eq!(old.is_extended_by(&new, &honest.consistency(size)), Some(true));
        let new = key.checkpoint(&other.checkpoint()).unwrap();
        for proof in [honest.consistency(size), other.consistency(size)] {
            assert_eq!(old.is_extended_by(&new, &proof), Some(false));
        }
    }
}

#[test]
fn checkpoints_are_read_strictly() {
    let log = Log::of(5);
    let key = log.key();
    let good = log.checkpoint();
    let body = good.split_once("\n\n").unwrap().0;
    let root = body.lines().last().unwrap();
    assert_eq!(key.checkpoint(&good).unwrap().size(), 5);
    // Witnesses sign too, and keys of the same name; extensions are allowed.
    let other = Log::of(0);
    let witness = format!("— witness.example {}\n", STANDARD.encode([9; 76]));
    let stranger = other.signature(&format!("{body}\n"));
    for signatures in [&witness, &stranger] {
        let known = log.signature(&format!("{body}\n"));
        for order in [format!("{signatures}{known}"), format!("{known}{signatures}")] {
            key.checkpoint(&format!("{body}\n\n{order}")).unwrap();
        }
        assert_refused(key.checkpoint(&format!("{body}\n\n{signatures}")), ProofInvalid);
    }
    key.checkpoint(&log.note(&format!("{body}\nextension\n"))).unwrap();
    let signed = |body: &str| log.note(body);
    let bad = [
        String::new(),
        good[..good.len() - 1].to_owned(),
        good.clone() + "\n",
        good.replace("\n5\n", "\n6\n"),
        good.replacen("— ", "- ", 1),
        good.replace('\n', "\r\n"),
        format!(" {good}"),
        format!("{good}— {ORIGIN} {}\n", STANDARD.encode([&log.key_id()[..], &[0; 64]].concat())),
        format!("{good}— w.example AAAA\n"),
        format!("{good}— w+x {}\n", STANDARD.encode([9; 76])),
        format!("{good}{}", witness.repeat(32)),
        format!("{good}{}", "x".repeat(70_000)),
        signed(&format!("other.example\n5\n{root}\n")),
        signed(&format!("{ORIGIN}\n05\n{root}\n")),
        signed(&format!("{ORIGIN}\n+5\n{root}\n")),
        signed(&format!("{ORIGIN}\n\n{root}\n")),
        signed(&format!("{ORIGIN}\n9223372036854775808\n{root}\n")),
        signed(&format!("{ORIGIN}\n5\n{}\n", &root[..43])),
        signed(&format!("{ORIGIN}\n5\n{}\n", STANDARD.encode([0; 33]))),
        signed(&format!("{ORIGIN}\n5\n")),
        signed(&format!("{ORIGIN}\n5\n{root}\n\nx\n")),
        signed(&format!("{ORIGIN}\n5\n{root}\nx\t\n")),
    ];
    for text in bad {
        assert_refused(key.checkpoint(&text), ProofInvalid);
    }
}

#[test]
fn log_keys_are_read_strictly() {
    let vkey = Log::new().vkey();
    assert_eq!(vkey.parse::<LogKey>().unwrap().to_string(), vkey);
    let (name, rest) = vkey.split_once('+').unwrap();
    let (id, key) = rest.split_once('+').unwrap();
    let ecdsa = STANDARD.encode([&[2][..], &[0; 32]].concat());
    for bad in [
        String::new(),
        name.to_owned(),
        format!("{name}+{id}"),
        format!("+{id}+{key}"),
        format!("other.example+{id}+{key}"),
        format!("{name}+00000000+{key}"),
        format!("{name}+{}+{key}", id.to_uppercase() + " "),
        format!("{name}+{id}+{}", &key[..40]),
        format!("{name}+{id}+{ecdsa}"),
        format!("a b+{id}+{key}"),
        format!("{vkey}\n"),
    ] {
        assert!(bad.parse::<LogKey>().is_err(), "{bad}");
        let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).jwks(r#"{"keys":[]}"#);
        let refused = builder.log_key(bad).build().unwrap_err();
        assert!(refused.to_string().starts_with("the log key "), "{refused}");
    }
    let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).jwks(r#"{"keys":[]}"#);
    let refused = builder.require_inclusion().build().unwrap_err();
    assert_eq!(refused.to_string(), "the log key is required for require_inclusion");
}

#[test]
fn proofs_are_read_strictly() {
    let mut log = Log::of(6);
    let index = log.issue(&token());
    let key = log.key();
    let good = log.proof(index);
    key.proof(&good).unwrap();
    let first_hash = good.lines().nth(3).unwrap();
    let extra = good.lines().nth(1).unwrap();
    let with_entry = |change: &dyn Fn(&mut Value)| {
        let mut log = Log::of(3);
        let mut entry = log.entry("bundles.issue");
        change(&mut entry);
        let index = log.push(&entry);
        (log.key(), log.proof(index))
    };
    let bad = [
        String::new(),
        good.replace("@v1", "@v2"),
        good.replace(&format!("{extra}\n"), ""),
        good.replace(extra, "extra "),
        good.replace(extra, &format!("{extra}=")),
        good.replace(extra, &format!("extra {}", STANDARD.encode("{}"))),
        good.replace(extra, &format!("extra {}", STANDARD.encode([b' '; 9_000]))),
        good.replace("\nindex 6\n", "\nindex 06\n"),
        good.replace("\nindex 6\n", "\nindex 7\n"),
        good.replace("\nindex 6\n", "\nindex -6\n"),
        good.replace("\nindex 6\n", "\n"),
        good.replace(&format!("{first_hash}\n"), ""),
        good.replace(&format!("{first_hash}\n"), &format!("{first_hash}\n{first_hash}\n")),
        good.replace(first_hash, &STANDARD.encode([0; 32])),
        good.replace(first_hash, "x"),
        good.replace(first_hash, &format!("{}\n", STANDARD.encode([0; 32])).repeat(64)),
        good.replace("\n\n", "\n"),
        good.replace('\n', "\r\n"),
        format!("{good}x"),
        format!("{good}{}", "x".repeat(90_000)),
    ];
    for text in bad {
        assert_refused(key.proof(&text), ProofInvalid);
    }
    let members: [&dyn Fn(&mut Value); 6] = [
        &|entry| entry["v"] = json!(2),
        &|entry| entry["seq"] = json!(2),
        &|entry| entry["seq"] = json!(-1),
        &|entry| entry["jti"] = json!("x"),
        &|entry| entry["token_sha256"] = json!(7),
        &|entry| *entry = json!([]),
    ];
    for change in members {
        let (key, proof) = with_entry(change);
        assert_refused(key.proof(&proof), ProofInvalid);
    }
    // Later versions may add to the entry.
    let (key, proof) = with_entry(&|entry| entry["later"] = json!({ "a": 1 }));
    assert_eq!(key.proof(&proof).unwrap().index(), 3);
}

#[test]
fn a_license_needs_the_proof_of_exactly_its_token() {
    let mut log = Log::of(3);
    let index = log.issue(&token());
    log.add("noise");
    let verifier = insisting(&log);
    assert_refused(verifier.verify(&token()), ProofMissing);
    let license = verifier.verify_with_proof(&token(), &log.proof(index)).unwrap();
    assert_eq!((license.log_index(), license.state()), (Some(3), LicenseState::Valid));
    // From then on the token alone will do.
    assert_eq!(verifier.verify(&token()).unwrap().log_index(), Some(3));
    let health = verifier.log_health().unwrap();
    assert_eq!((health.checkpoint.unwrap().size(), health.anomaly), (5, None));

    // Signed by a genuine key, but not in the log: another text, another key, another id.
    let mut other = claims();
    other["license"]["seat_cap"] = json!(9_999);
    for forged in [KEY.token(&other), OTHER_KEY.token(&claims())] {
        let verifier = insisting(&log);
        assert_refused(verifier.verify(&forged), ProofMissing);
        assert_refused(verifier.verify_with_proof(&forged, &log.proof(index)), ProofInvalid);
        verifier.verify_with_proof(&token(), &log.proof(index)).unwrap();
        assert_refused(verifier.verify(&forged), ProofInvalid);
        verifier.verify(&token()).unwrap();
    }
    let another = KEY.token(&claims_with("/jti", json!("018f2a00-0000-7000-8000-00000000ffff")));
    assert_refused(verifier.verify_with_proof(&another, &log.proof(index)), ProofInvalid);
    // An entry that names another key than signed it.
    let mut log = Log::new();
    let index = log.issue_as(&token(), &OTHER_KEY);
    assert_refused(insisting(&log).verify_with_proof(&token(), &log.proof(index)), ProofInvalid);
    // Another log's proof, and one of something else than a token.
    let stranger = Log::of(4);
    assert_refused(verifier.verify_with_proof(&token(), &stranger.proof(1)), ProofInvalid);
    let log = Log::of(4);
    assert_refused(insisting(&log).verify_with_proof(&token(), &log.proof(1)), ProofInvalid);
}

#[test]
fn a_proof_heals_no_token() {
    let mut log = Log::new();
    let token = KEY.token(&claims_with("/exp", json!(NOW - 60)));
    let index = log.issue(&token);
    let refused = insisting(&log).verify_with_proof(&token, &log.proof(index));
    assert_refused(refused, ErrorCode::Expired);
    let refused = insisting(&log).verify_with_proof("x", &log.proof(index));
    assert_refused(refused, ErrorCode::TokenMalformed);
    let without = verifier(&json!({ "keys": [KEY.jwk()] }));
    assert_refused(without.verify_with_proof(&self::token(), &log.proof(index)), ProofInvalid);
    assert_eq!(without.log_health(), None);
}

#[test]
fn contradicting_log_is_reported_stored_and_refused() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    let mut log = Log::of(3);
    let jwks = json!({ "keys": [KEY.jwk()] }).to_string();
    let other_token =
        KEY.token(&claims_with("/jti", json!("018f2a00-0000-7000-8000-00000000ffff")));
    let verifier = |log: &Log| {
        let builder = builder(log).jwks(jwks.clone()).state_path(&state);
        builder.require_inclusion().build().unwrap()
    };
    let mut fork = log.clone();
    let index = log.issue(&token());
    let (seen, proof) = (log.checkpoint(), log.proof(index));
    let first = verifier(&log);
    first.verify_with_proof(&token(), &proof).unwrap();
    // Of the same size, and another root.
    let forked = fork.issue_with_id(&other_token, "018f2a00-0000-7000-8000-00000000ffff");
    let forked = fork.proof(forked);
    assert_refused(first.verify_with_proof(&other_token, &forked), SplitView);
    drop(first);
    // After a restart: a proved token stays admitted, in its own state; others are refused.
    for _ in 0..2 {
        let verifier = verifier(&log);
        let license = verifier.verify(&token()).unwrap();
        assert_eq!(license.state(), LicenseState::LogAnomaly);
        assert_eq!(verifier.state_of(&license), LicenseState::LogAnomaly);
        assert_refused(verifier.verify(&other_token), ProofMissing);
        assert_refused(verifier.verify_with_proof(&other_token, &forked), SplitView);
        let anomaly = verifier.log_health().unwrap().anomaly.unwrap();
        assert_eq!((anomaly.code, anomaly.at), (SplitView, NOW));
        assert_eq!((anomaly.seen.text(), anomaly.shown.text()), (&*seen, &*fork.checkpoint()));
        let honest = log.issue(&other_token);
        assert_refused(verifier.verify_with_proof(&other_token, &log.proof(honest)), ProofInvalid);
    }
    // An operator who knows why begins again.
    let kept = std::fs::read_to_string(&state).unwrap();
    accept_log(&state, "restored").unwrap();
    let again = verifier(&log);
    assert_eq!(again.log_health().unwrap().anomaly, None);
    assert_refused(again.verify(&token()), ProofMissing);
    let license = again.verify_with_proof(&token(), &proof).unwrap();
    assert_eq!(license.state(), LicenseState::Valid);
    drop(again);
    write_private(&state, kept);
    // Another log key is another log.
    let another = Log::new();
    let verifier = verifier(&another);
    assert_refused(verifier.verify(&token()), ProofMissing);
    assert_eq!(verifier.log_health().unwrap().anomaly, None);
}

#[test]
fn record_and_proof_outlive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state.json");
    let mut log = Log::of(3);
    let index = log.issue(&token());
    let jwks = json!({ "keys": [KEY.jwk()] }).to_string();
    let build = || builder(&log).jwks(jwks.clone()).state_path(&state).require_inclusion().build();
    build().unwrap().verify_with_proof(&token(), &log.proof(index)).unwrap();
    let license = build().unwrap().verify(&token()).unwrap();
    assert_eq!((license.state(), license.log_index()), (LicenseState::Valid, Some(3)));
    // What was changed by hand is noticed.
    let kept = std::fs::read_to_string(&state).unwrap();
    assert_eq!(kept.matches("tlog-proof@v1").count(), 1);
    for (from, to) in [("\\n4\\n", "\\n5\\n"), ("\"size\":4", "\"size\":3")] {
        assert!(kept.contains(from));
        write_private(&state, kept.replace(from, to));
        let refused = build().unwrap_err().to_string();
        assert!(refused.contains("is damaged"), "{refused}");
    }
}

#[test]
fn a_full_disk_does_not_make_a_verifier_forget_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("place");
    std::fs::create_dir(&place).unwrap();
    let mut log = Log::of(3);
    let mut fork = log.clone();
    let index = log.issue(&token());
    let jwks = json!({ "keys": [KEY.jwk()] }).to_string();
    let builder = builder(&log).jwks(jwks).state_path(place.join("state.json"));
    let verifier = builder.require_inclusion().build().unwrap();
    std::fs::remove_dir_all(&place).unwrap();
    verifier.verify_with_proof(&token(), &log.proof(index)).unwrap();
    assert_eq!(verifier.verify(&token()).unwrap().log_index(), Some(3));
    let forked = fork.issue(&KEY.token(&claims_with("/exp", json!(NOW + 999))));
    let checkpoint = fork.key().proof(&fork.proof(forked)).unwrap().checkpoint().clone();
    let refused = verifier.import(&file(1, &token(), None, Some(checkpoint.text().to_owned())));
    assert_not_taken(refused, SplitView);
    assert_eq!(verifier.log_health().unwrap().anomaly.unwrap().shown, checkpoint);
    assert!(!place.exists());
}

/// A bundle file of the golden license.
fn file(seq: i64, token: &str, proof: Option<String>, checkpoint: Option<String>) -> String {
    let mut claims = file_claims(seq, &[&KEY]);
    claims["token"] = json!(token);
    claims["proof"] = json!(proof);
    claims["checkpoint"] = json!(checkpoint);
    KEY.file(&claims)
}

#[test]
fn license_files_bring_their_proof() {
    let mut log = Log::of(3);
    let index = log.issue(&token());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("license.lic");
    let build = || builder(&log).bundle_file(&path).require_inclusion().build();
    std::fs::write(&path, file(1, &token(), Some(log.proof(index)), Some(log.checkpoint())))
        .unwrap();
    let verifier = build().unwrap();
    let bundled = verifier.bundled_token().unwrap();
    assert_eq!(verifier.verify(&bundled).unwrap().log_index(), Some(3));
    // Without one, or with another token's, the file is refused and nothing has changed.
    let other = KEY.token(&claims_with("/jti", json!("018f2a00-0000-7000-8000-00000000ffff")));
    for (seq, token, proof, code) in [
        (2, &other, None, ProofMissing),
        (2, &other, Some(log.proof(index)), ProofInvalid),
        (2, &other, Some("x".to_owned()), ProofInvalid),
    ] {
        assert_not_taken(verifier.import(&file(seq, token, proof, None)), code);
        assert_eq!(verifier.bundled_token().as_deref(), Some(&self::token()));
    }
    let refused = verifier.import(&file(2, &token(), None, Some("x".to_owned())));
    assert_not_taken(refused, ProofInvalid);
    // The proof of a token is needed once.
    verifier.import(&file(2, &token(), None, None)).unwrap();

    // Or beside the file.
    std::fs::write(&path, file(1, &token(), None, None)).unwrap();
    let refused = build().unwrap_err().to_string();
    assert!(refused.contains("proof_missing"), "{refused}");
    let beside = dir.path().join("license.lic.tlog-proof");
    std::fs::write(&beside, log.proof(index)).unwrap();
    assert_eq!(build().unwrap().verify(&token()).unwrap().log_index(), Some(3));
    std::fs::write(&beside, log.proof(0)).unwrap();
    assert!(build().unwrap_err().to_string().contains("proof_invalid"));

    // A checkpoint of a file is seen, too.
    let mut fork = log.clone();
    fork.add("noise");
    log.add("other");
    std::fs::write(&beside, log.proof(index)).unwrap();
    let verifier = builder(&log).bundle_file(&path).require_inclusion().build().unwrap();
    let refused = verifier.import(&file(2, &token(), None, Some(fork.checkpoint())));
    assert_not_taken(refused, SplitView);
    assert_eq!(verifier.verify(&token()).unwrap().state(), LicenseState::LogAnomaly);
}

#[test]
fn unlogged_tokens_that_are_allowed_need_no_proof_and_a_proof_is_still_checked() {
    let mut log = Log::of(3);
    let index = log.issue(&token());
    let builder = builder(&log).jwks(json!({ "keys": [KEY.jwk()] }).to_string());
    let verifier = builder.allow_unlogged().build().unwrap();
    assert_eq!(verifier.verify(&token()).unwrap().log_index(), None);
    assert_refused(verifier.verify_with_proof(&token(), &log.proof(0)), ProofInvalid);
    let license = verifier.verify_with_proof(&token(), &log.proof(index)).unwrap();
    assert_eq!(license.log_index(), Some(3));
}
