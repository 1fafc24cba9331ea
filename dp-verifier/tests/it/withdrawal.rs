//! Withdrawal is monotone: what was taken back by a trusted document comes back by no other one that
//! knows less, in whatever order they come, and over restarts.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use dp_verifier::ErrorCode::{ClaimsInvalid, KeyWithdrawn, KidUnknown, Suspended};
use dp_verifier::LicenseState::{self, Valid};
use dp_verifier::{
    ErrorCode, KeySet, Verifier, VerifierBuilder, log_record, reset_state, state_record,
};
use serde_json::json;

use crate::log::{Log, builder as logging};
use crate::support::*;

pub(crate) static KEYS: LazyLock<[Key; 4]> =
    LazyLock::new(|| ["key-a", "key-b", "key-c", "key-d"].map(Key::new));

pub(crate) struct Disk(tempfile::TempDir);

impl Disk {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state.json")
    }

    fn builder(&self) -> VerifierBuilder {
        let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).clock(|| NOW);
        builder.state_path(self.state())
    }

    /// Starts with a key set file of these keys.
    pub(crate) fn pinned(&self, keys: &[&Key]) -> Verifier {
        self.builder().jwks(jwks(keys)).build().unwrap()
    }
}

fn jwks(keys: &[&Key]) -> String {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() }).to_string()
}

pub(crate) fn by(verifier: &Verifier, key: &Key) -> Result<LicenseState, ErrorCode> {
    let verified = verifier.verify(&key.token(&claims()));
    verified.map(|license| license.state()).map_err(|error| error.code())
}

#[test]
fn key_that_a_file_left_out_stays_withdrawn_against_an_older_pin() {
    let [a, b, ..] = &*KEYS;
    let disk = Disk::new();
    let verifier = disk.pinned(&[a, b]);
    let license = verifier.verify(&a.token(&claims())).unwrap();
    verifier.import(&a.file(&file_claims(1, &[a, b]))).unwrap();
    assert_eq!(by(&verifier, a), Ok(Valid));
    verifier.import(&b.file(&file_claims(2, &[b]))).unwrap();
    // At once: what the cache holds, and what an app was given.
    assert_eq!(by(&verifier, a), Err(KeyWithdrawn));
    assert_eq!(verifier.state_of(&license), LicenseState::Revoked);
    assert_eq!(by(&verifier, b), Ok(Valid));
    drop(verifier);
    for pin in [&[a, b][..], &[a]] {
        let restarted = disk.pinned(pin);
        assert_eq!(by(&restarted, a), Err(KeyWithdrawn));
        assert_eq!(by(&restarted, b), Ok(Valid));
        restarted.replace_keys(KeySet::from_json(jwks(&[a, b]).as_bytes()).unwrap());
        assert_eq!(by(&restarted, a), Err(KeyWithdrawn));
    }
    let refused = disk.pinned(&[a]).verify(&a.token(&claims())).unwrap_err();
    assert_eq!(refused.detail(), "key \"key-a\" was withdrawn by license file 2");
    let record = state_record(&disk.state()).unwrap();
    let withdrawn: Vec<_> =
        record.withdrawn_keys.iter().map(|key| (&*key.kid, key.by_file)).collect();
    assert_eq!(withdrawn, [("key-a", 2)]);
}

#[test]
fn key_that_was_only_given_is_withdrawn_by_the_first_file_without_it() {
    let [a, b, ..] = &*KEYS;
    let disk = Disk::new();
    disk.pinned(&[a, b]).import(&b.file(&file_claims(7, &[b]))).unwrap();
    assert_eq!(by(&disk.pinned(&[a, b]), a), Err(KeyWithdrawn));
}

/// A key set that was downloaded after the file was made.
#[test]
fn key_that_is_newer_than_a_file_is_trusted_from_the_next_file_on() {
    let [a, b, ..] = &*KEYS;
    let disk = Disk::new();
    let verifier = disk.pinned(&[a, b]);
    verifier.import(&a.file(&file_claims(1, &[a]))).unwrap();
    assert_eq!(by(&verifier, b), Err(KeyWithdrawn));
    verifier.import(&a.file(&file_claims(2, &[a, b]))).unwrap();
    assert_eq!(by(&verifier, b), Ok(Valid));
    // From then on it is like any other.
    verifier.import(&a.file(&file_claims(3, &[a]))).unwrap();
    verifier.import(&a.file(&file_claims(4, &[a, b]))).unwrap();
    assert_eq!(by(&verifier, b), Err(KeyWithdrawn));
    assert_eq!(by(&disk.pinned(&[a, b]), b), Err(KeyWithdrawn));
}

#[test]
fn key_stays_withdrawn_under_another_name() {
    let [a, b, ..] = &*KEYS;
    let disk = Disk::new();
    let verifier = disk.pinned(&[a, b]);
    verifier.import(&b.file(&file_claims(1, &[b]))).unwrap();
    drop(verifier);
    let mut renamed = a.jwk();
    renamed["kid"] = json!("key-z");
    let keys = json!({ "keys": [renamed, b.jwk()] }).to_string();
    let verifier = disk.builder().jwks(keys).build().unwrap();
    let header = json!({ "alg": "RS256", "typ": "license+jwt", "kid": "key-z" });
    let forged = a.sign(header.to_string(), claims().to_string());
    assert_refused(verifier.verify(&forged), KidUnknown);
}

/// What a new key calls itself is its own affair.
#[test]
fn another_key_of_a_withdrawn_name_is_trusted() {
    let [a, b, ..] = &*KEYS;
    let disk = Disk::new();
    let verifier = disk.pinned(&[a, b]);
    verifier.import(&b.file(&file_claims(1, &[b]))).unwrap();
    let another = Key::new("key-a");
    verifier.import(&b.file(&file_claims(2, &[b, &another]))).unwrap();
    assert_eq!(by(&verifier, &another), Ok(Valid));
    assert_refused(verifier.verify(&a.token(&claims())), ErrorCode::SignatureInvalid);
}

#[test]
fn withdrawn_key_vouches_for_nothing_and_nothing_vouches_for_it() {
    let [a, b, c, d] = &*KEYS;
    let disk = Disk::new();
    let verifier = disk.pinned(&[a]);
    let mut first = file_claims(1, &[a, b]);
    first["key_chain"] = json!([a.endorse(b)]);
    verifier.import(&a.file(&first)).unwrap();
    verifier.import(&a.file(&file_claims(2, &[a]))).unwrap();
    // The key that was stolen was endorsed once, and endorses the thief's.
    for chain in [vec![a.endorse(b), b.endorse(d)], vec![b.endorse(d)]] {
        let mut forged = file_claims(9, &[a, b, d]);
        forged["key_chain"] = json!(chain);
        assert_not_taken(verifier.import(&d.file(&forged)), KidUnknown);
        assert_not_taken(verifier.import(&b.file(&forged)), KeyWithdrawn);
    }
    // Others go on.
    let mut third = file_claims(3, &[c]);
    third["key_chain"] = json!([a.endorse(b), a.endorse(c)]);
    verifier.import(&c.file(&third)).unwrap();
    assert_eq!(by(&verifier, c), Ok(Valid));
    // A key that was only a step on the way is one no more.
    let mut fourth = file_claims(4, &[d]);
    fourth["key_chain"] = json!([c.endorse(&Key::new("key-x")), c.endorse(d)]);
    verifier.import(&d.file(&fourth)).unwrap();
    let withdrawn = state_record(&disk.state()).unwrap().withdrawn_keys;
    let withdrawn: BTreeSet<_> = withdrawn.into_iter().map(|key| key.kid).collect();
    assert_eq!(withdrawn, ["key-a", "key-b", "key-c", "key-x"].map(str::to_owned).into());
}

#[test]
fn token_of_a_withdrawn_key_in_a_newer_file_is_refused_with_the_file() {
    let [a, b, ..] = &*KEYS;
    let disk = Disk::new();
    let verifier = disk.pinned(&[a, b]);
    verifier.import(&b.file(&file_claims(1, &[a, b]))).unwrap();
    verifier.import(&b.file(&file_claims(2, &[b]))).unwrap();
    let mut claims = file_claims(3, &[a, b]);
    claims["token"] = json!(a.token(&self::claims()));
    assert_not_taken(verifier.import(&b.file(&claims)), KeyWithdrawn);
}

/// An app and `dp-verify` beside it.
#[test]
fn key_that_another_process_withdrew_signs_no_file() {
    let [a, b, ..] = &*KEYS;
    let disk = Disk::new();
    let (app, other) = (disk.pinned(&[a, b]), disk.pinned(&[a, b]));
    other.import(&b.file(&file_claims(1, &[b]))).unwrap();
    assert_not_taken(app.import(&a.file(&file_claims(2, &[a]))), KeyWithdrawn);
    assert_eq!(by(&app, a), Err(KeyWithdrawn));
    drop((app, other));
    assert_eq!(by(&disk.pinned(&[a, b]), a), Err(KeyWithdrawn));
}

#[test]
fn number_that_would_lock_out_later_files_is_refused() {
    let numbered = |seq: i64, iat: i64| {
        let mut claims = file_claims(1, &[&KEY]);
        (claims["seq"], claims["iat"]) = (json!(seq), json!(iat));
        KEY.file(&claims)
    };
    let day = 86_400;
    for (before, seq, iat, is_taken) in [
        (None, 1, NOW, true),
        (None, NOW, NOW, true),
        (None, NOW + day, NOW, true),
        (None, NOW + day + 1, NOW, false),
        (None, i64::MAX, NOW, false),
        (Some(5), 6, NOW, true),
        (Some(5), NOW, NOW, true),
        (Some(5), i64::MAX, NOW, false),
        // The issuer's clock was set back, after its files were numbered by the second.
        (Some(NOW), NOW + 1, NOW - 30 * day, true),
        (Some(NOW), NOW + day, NOW - 30 * day, true),
        (Some(NOW), NOW + day + 1, NOW - 30 * day, false),
        (Some(5), NOW, NOW - day, true),
        (Some(5), NOW, NOW - day - 1, false),
    ] {
        let disk = Disk::new();
        let verifier = disk.pinned(&[&KEY]);
        if let Some(before) = before {
            verifier
                .import(&numbered(before, NOW - 40 * day))
                .unwrap_or_else(|_| verifier.import(&numbered(before, NOW)).unwrap());
        }
        let taken = verifier.import(&numbered(seq, iat));
        match is_taken {
            true => drop(taken.unwrap()),
            false => {
                let words = assert_not_taken(taken, ClaimsInvalid);
                assert!(words.contains(&format!("(got {seq})")), "{words}");
                verifier.import(&numbered(before.unwrap_or(0) + 1, NOW)).unwrap();
            }
        }
    }
}

#[test]
fn reset_state_keeps_the_log_and_the_former_content() {
    let [a, b, ..] = &*KEYS;
    let disk = Disk::new();
    let state = disk.state();
    assert!(state_record(&state).unwrap_err().contains("there is no state file"));
    assert!(reset_state(&state, "why not").unwrap_err().contains("there is no state file"));
    let mut log = Log::of(3);
    let token = a.token(&claims());
    let index = log.issue_as(&token, a);
    let start = || {
        let builder = logging(&log).jwks(jwks(&[a, b])).state_path(&state);
        builder.build().unwrap()
    };
    let verifier = start();
    verifier.verify_with_proof(&token, &log.proof(index)).unwrap();
    verifier.import(&b.file(&file_claims(7, &[b]))).unwrap();
    let report = verifier.usage_report([].into()).unwrap();
    assert!(report.contains("\"sequence\": 1"), "{report}");
    verifier.import_status_list(&b.list(&list_claims(NOW, 1))).unwrap();
    let before = state_record(&state).unwrap();
    let seen = log_record(&state).unwrap();
    assert_eq!((seen.size, seen.proofs), (Some(4), 1));
    assert!(reset_state(&state, " ").unwrap_err().contains("reason"));
    let after = reset_state(&state, "file 7 left out key-a").unwrap();

    assert_eq!((after.time_floor, &after.file), (0, &None));
    assert!(after.withdrawn_keys.is_empty() && after.status_lists.is_empty());
    assert_eq!(after.report, Some(1));
    let [former] = &*after.former else { panic!("{after:?}") };
    assert_eq!(former.because, "file 7 left out key-a");
    assert!(former.time_floor >= before.time_floor);
    assert_eq!(former.file, before.file);
    assert_eq!(former.withdrawn_keys, before.withdrawn_keys);
    assert_eq!(former.status_lists, before.status_lists);
    assert_eq!(log_record(&state).unwrap(), seen);
    assert_eq!(state_record(&state).unwrap(), after);

    // One that was running brings nothing of it back.
    verifier.import_status_list(&b.list(&list_claims(NOW, 2))).unwrap();
    drop(verifier);
    let record = state_record(&state).unwrap();
    assert_eq!((record.file, record.former), (None, after.former));
    // The data plane restarts, and proved tokens stay proved.
    let again = start();
    assert_eq!(again.verify(&token).err().map(|error| error.code()), Some(Suspended));
    again.import_status_list(&b.list(&list_claims(NOW + 1, 0))).unwrap();
    assert_eq!(again.verify(&token).unwrap().log_index(), Some(3));
    again.import(&a.file(&file_claims(1, &[a, b]))).unwrap();
    let report = again.usage_report([].into()).unwrap();
    assert!(report.contains("\"sequence\": 2"), "{report}");
}

#[test]
fn known_log_key_stays_required() {
    let mut log = Log::of(3);
    let token = crate::log::token();
    let index = log.issue(&token);
    let disk = Disk::new();
    let given = |builder: VerifierBuilder| builder.jwks(jwks(&[&KEY])).state_path(disk.state());
    let verifier = given(logging(&log)).build().unwrap();
    assert_refused(verifier.verify(&token), ErrorCode::ProofMissing);
    verifier.verify_with_proof(&token, &log.proof(index)).unwrap();
    drop(verifier);
    let other = KEY.token(&claims_with("/jti", json!("018f2a00-0000-7000-8000-00000000ffff")));
    // Without the setting, and after `log accept` or `state reset`.
    for start_again in [
        (|_| ()) as fn(&PathBuf),
        |state| drop(dp_verifier::accept_log(state, "moved").unwrap()),
        |state| drop(reset_state(state, "moved").unwrap()),
    ] {
        start_again(&disk.state());
        let verifier = disk.pinned(&[&KEY]);
        assert_refused(verifier.verify(&other), ErrorCode::ProofMissing);
        assert!(verifier.log_health().is_some());
        drop(verifier);
        let allowing = disk.builder().jwks(jwks(&[&KEY])).allow_unlogged().build().unwrap();
        assert_eq!(allowing.verify(&other).unwrap().log_index(), None);
    }
    // Of no log nothing is known.
    let fresh = Disk::new();
    assert_eq!(by(&fresh.pinned(&[&KEY]), &KEY), Ok(Valid));
    fs::remove_file(fresh.state()).unwrap();
}
