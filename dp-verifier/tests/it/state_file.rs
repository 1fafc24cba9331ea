//! The state file: what a restart must not forget.

use std::fs;
use std::path::{Path, PathBuf};

use dp_verifier::ErrorCode::{
    KeyWithdrawn, OtherLicense, Replayed, Revoked, StateUnwritable, Suspended,
};
use dp_verifier::LicenseState::Stale;
use dp_verifier::{BuildError, ErrorCode, Verifier, VerifierBuilder};
use serde_json::{Value, json};

use crate::support::*;

/// A data plane's disk.
struct Disk {
    dir: tempfile::TempDir,
}

impl Disk {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state.json")
    }

    fn builder(&self) -> VerifierBuilder {
        let builder = Verifier::builder().issuer(ISSUER).audience(AUDIENCE).clock(|| NOW);
        builder.state_path(self.state())
    }

    /// Starts with keys that were given.
    fn with_keys(&self) -> Verifier {
        self.builder().jwks(json!({ "keys": [KEY.jwk()] }).to_string()).build().unwrap()
    }

    /// Starts with a license file.
    fn with_file(&self, file: &str) -> Result<Verifier, BuildError> {
        let path = self.dir.path().join("license.lic");
        fs::write(&path, file).unwrap();
        self.builder().bundle_file(path).build()
    }

    fn refuses(&self, file: &str, code: ErrorCode) {
        match self.with_file(file).unwrap_err() {
            BuildError::BundleRefused { error, .. } => assert_eq!(error.code(), code, "{error}"),
            other => panic!("{other}"),
        }
    }
}

fn bundle(seq: i64, status: u8) -> String {
    let mut claims = file_claims(seq, &[&KEY]);
    claims["token"] = json!(KEY.token(&claims_on_stale("degrade")));
    claims["status_list"] = json!(KEY.list(&list_claims(NOW - 50 + seq, status)));
    KEY.file(&claims)
}

fn refresh(seq: i64, status: u8) -> String {
    let mut claims = file_claims(seq, &[&KEY]);
    claims["status_list"] = json!(KEY.list(&list_claims(NOW - 50 + seq, status)));
    KEY.file(&claims)
}

fn token() -> String {
    KEY.token(&claims_on_stale("degrade"))
}

#[test]
fn a_revocation_outlives_a_restart() {
    let disk = Disk::new();
    disk.with_keys().import_status_list(&KEY.list(&list_claims(NOW - 10, 1))).unwrap();
    let restarted = disk.with_keys();
    assert_refused(restarted.verify(&token()), Revoked);
    let older = KEY.list(&list_claims(NOW - 11, 0));
    assert_not_taken(restarted.import_status_list(&older), Replayed);
    assert_eq!(restarted.time_floor(), NOW - 10);
    restarted.import_status_list(&KEY.list(&list_claims(NOW - 9, 2))).unwrap();
    assert_refused(disk.with_keys().verify(&token()), Suspended);
    // Without the state file, nothing is known.
    fs::remove_file(disk.state()).unwrap();
    assert_eq!(disk.with_keys().verify(&token()).unwrap().state(), Stale);
}

#[test]
fn a_list_of_a_key_that_is_gone_still_bars_older_ones() {
    let disk = Disk::new();
    disk.with_keys().import_status_list(&KEY.list(&list_claims(NOW - 10, 1))).unwrap();
    let jwks = json!({ "keys": [OTHER_KEY.jwk()] }).to_string();
    let restarted = disk.builder().jwks(jwks).build().unwrap();
    // It was genuine, so what it has taken back stays so.
    assert_refused(restarted.verify(&OTHER_KEY.token(&claims_on_stale("degrade"))), Revoked);
    let older = OTHER_KEY.list(&list_claims(NOW - 11, 0));
    assert_not_taken(restarted.import_status_list(&older), Replayed);
}

#[test]
fn the_file_of_the_last_start_goes_on_being_good() {
    let disk = Disk::new();
    disk.with_file(&bundle(3, 0)).unwrap();
    // Byte for byte the same, give or take the end of the line.
    for same in [bundle(3, 0), bundle(3, 0) + "\n"] {
        let verifier = disk.with_file(&same).unwrap();
        assert_not_taken(verifier.import(&same), Replayed);
        verifier.verify(&verifier.bundled_token().unwrap()).unwrap();
    }
    disk.refuses(&bundle(3, 1), Replayed);
    disk.refuses(&bundle(2, 0), Replayed);
    let newer = disk.with_file(&bundle(4, 2)).unwrap();
    assert_refused(newer.verify(&newer.bundled_token().unwrap()), Suspended);
    disk.refuses(&bundle(3, 0), Replayed);
}

#[test]
fn a_refresh_outlives_a_restart_with_the_older_bundle() {
    let disk = Disk::new();
    let first = disk.with_file(&bundle(1, 0)).unwrap();
    first.verify(&first.bundled_token().unwrap()).unwrap();
    first.import(&refresh(2, 2)).unwrap();
    // The app still starts with the file that has the token.
    let restarted = disk.with_file(&bundle(1, 0)).unwrap();
    assert_refused(restarted.verify(&restarted.bundled_token().unwrap()), Suspended);
    assert_not_taken(restarted.import(&refresh(2, 2)), Replayed);
    assert_not_taken(restarted.import(&refresh(1, 0)), Replayed);
    restarted.import(&refresh(3, 0)).unwrap();
    let again = disk.with_file(&bundle(1, 0)).unwrap();
    again.verify(&again.bundled_token().unwrap()).unwrap();
}

#[test]
fn keys_of_a_file_are_a_source_of_keys() {
    let disk = Disk::new();
    let mut rotated = file_claims(2, &[&OTHER_KEY]);
    rotated["key_chain"] = json!([KEY.endorse(&OTHER_KEY)]);
    disk.with_file(&bundle(1, 0)).unwrap().import(&OTHER_KEY.file(&rotated)).unwrap();
    let restarted = disk.builder().build().unwrap();
    restarted.verify(&OTHER_KEY.token(&claims())).unwrap();
    assert_refused(restarted.verify(&token()), KeyWithdrawn);
    // The first file was signed by a key that is gone: it is known, and changes nothing.
    let with_file = disk.with_file(&bundle(1, 0)).unwrap();
    assert_refused(with_file.verify(&with_file.bundled_token().unwrap()), KeyWithdrawn);
    with_file.verify(&OTHER_KEY.token(&claims())).unwrap();
    // No other file is trusted on first use any more.
    disk.refuses(&bundle(3, 0), KeyWithdrawn);
    assert_not_taken(restarted.import(&bundle(3, 0)), KeyWithdrawn);
}

#[test]
fn a_state_belongs_to_one_license() {
    let disk = Disk::new();
    disk.with_file(&bundle(1, 0)).unwrap();
    let mut other = file_claims(2, &[&KEY]);
    other["license_id"] = json!("018f2a00-0000-7000-8000-00000000ffff");
    disk.refuses(&KEY.file(&other), OtherLicense);
}

#[test]
fn two_processes_with_one_file_forget_nothing() {
    let disk = Disk::new();
    let (one, two) = (disk.with_keys(), disk.with_keys());
    one.import(&refresh(5, 0)).unwrap();
    two.import_status_list(&KEY.list(&list_claims(NOW - 5, 1))).unwrap();
    assert_not_taken(two.import(&refresh(4, 0)), Replayed);
    drop((one, two));
    let restarted = disk.with_keys();
    assert_refused(restarted.verify(&token()), Revoked);
    assert_not_taken(restarted.import(&refresh(5, 0)), Replayed);
}

#[test]
fn many_writers_lose_nothing_of_each_other_s() {
    let disk = Disk::new();
    let list = |n: i64| {
        let mut claims = list_claims(NOW - 1_000 + n, 0);
        claims["sub"] = json!(format!("https://cp.example/api/v1/status-lists/{n}"));
        KEY.list(&claims)
    };
    std::thread::scope(|scope| {
        for first in [0, 8, 16, 24] {
            let (disk, list) = (&disk, &list);
            scope.spawn(move || {
                let verifier = disk.with_keys();
                (first..first + 8).for_each(|n| {
                    verifier.import_status_list(&list(n)).unwrap();
                });
            });
        }
    });
    assert_eq!(disk.with_keys().status_lists().len(), 32);
    let names = fs::read_dir(disk.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, ["state.json", "state.json.lock"], "a temporary file is left");
}

#[test]
fn an_older_list_in_a_newer_file_is_not_kept() {
    let disk = Disk::new();
    let verifier = disk.with_keys();
    verifier.import_status_list(&KEY.list(&list_claims(NOW - 10, 2))).unwrap();
    verifier.import(&refresh(1, 0)).unwrap();
    assert_refused(verifier.verify(&token()), Suspended);
    assert_refused(disk.with_keys().verify(&token()), Suspended);
}

#[test]
fn import_with_unwritable_state_is_refused() {
    let disk = Disk::new();
    // The floor is as high as it gets, or it would be written while the file is damaged.
    drop(disk.builder().time_floor(NOW).jwks(r#"{"keys":[]}"#).build().unwrap());
    let verifier = disk.with_keys();
    let before = fs::read(disk.state()).unwrap();
    let list = KEY.list(&list_claims(NOW, 1));
    // The file was damaged meanwhile: it is kept as evidence.
    write_private(&disk.state(), "{");
    let words = assert_not_taken(verifier.import(&refresh(1, 1)), StateUnwritable);
    assert!(words.contains("damaged"), "{words}");
    assert_not_taken(verifier.import_status_list(&list), StateUnwritable);
    assert!(verifier.state_error().unwrap().contains("damaged"));
    assert_eq!(fs::read(disk.state()).unwrap(), b"{");
    assert_eq!(verifier.verify(&token()).unwrap().state(), Stale);
    write_private(&disk.state(), before);
    verifier.import(&refresh(1, 1)).unwrap();
    verifier.import_status_list(&list).unwrap();
    assert_eq!(verifier.state_error(), None);
    assert_refused(verifier.verify(&token()), Revoked);
}

#[cfg(unix)]
#[test]
fn a_file_that_is_open_to_others_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let disk = Disk::new();
    drop(disk.with_file(&bundle(1, 0)).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&disk.state()), 0o600);
    for open in [0o640, 0o604, 0o620, 0o666, 0o700 | 0o010] {
        fs::set_permissions(disk.state(), fs::Permissions::from_mode(open)).unwrap();
        let refused = disk.with_file(&bundle(1, 0)).unwrap_err();
        assert!(matches!(refused, BuildError::StateFile { .. }), "{refused}");
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
    }
    fs::set_permissions(disk.state(), fs::Permissions::from_mode(0o400)).unwrap();
    disk.with_file(&bundle(1, 0)).unwrap();
}

#[test]
fn a_damaged_file_is_refused_in_words() {
    let disk = Disk::new();
    drop(disk.with_file(&bundle(1, 0)).unwrap());
    let good: Value = serde_json::from_slice(&fs::read(disk.state()).unwrap()).unwrap();
    let with = |pointer: &str, value: Value| {
        let mut state = good.clone();
        *state.pointer_mut(pointer).unwrap() = value;
        state.to_string()
    };
    for text in [
        with("/file/seq", json!(0)),
        with("/file/seq", json!("1")),
        with("/file/license_id", json!("x")),
        with("/file", json!([])),
        with("/lists", json!([])),
        with("/time_floor", json!(-1)),
        good.to_string().replace("\"seq\"", "\"sequence\""),
    ] {
        write_private(&disk.state(), &text);
        let refused = disk.with_file(&bundle(1, 0)).unwrap_err();
        assert!(matches!(refused, BuildError::StateFile { .. }), "{refused}");
        assert!(refused.to_string().contains("remove it"), "{refused}");
        assert_eq!(fs::read_to_string(disk.state()).unwrap(), text, "evidence is kept");
    }
}
