//! The command `dp-verify` on a machine without a network: files in, reports out.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use dp_verifier::cp_contracts::UsageReport;
use serde_json::{Value, json};

use crate::log::{Log, token};
use crate::log_record::split;
use crate::support::*;

/// A directory with the files that were carried there.
pub(crate) struct Machine {
    dir: tempfile::TempDir,
}

/// The status, the one line of JSON, and what is said beside it.
pub(crate) type Said = (Option<i32>, Value, String);

impl Machine {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_dp-verify")).args(arguments).output().unwrap()
    }

    /// Runs the command at [`NOW`] with the machine's state file.
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        let now = NOW.to_string();
        let state = self.path("state.json");
        let common = ["--issuer", ISSUER, "--audience", AUDIENCE, "--now", &now, "--explain"];
        let state = ["--state", state.to_str().unwrap()];
        said(&self.output(&[&common[..], &state, arguments].concat()))
    }
}

pub(crate) fn said(output: &Output) -> Said {
    let words = String::from_utf8(output.stderr.clone()).unwrap();
    let line = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code(), line, words)
}

/// Proofs, with the token and by themselves; license files that bring theirs.
#[test]
fn a_token_is_checked_with_its_proof() {
    let machine = Machine::new();
    let mut log = Log::of(3);
    let index = log.issue(&token());
    let vkey = log.vkey();
    let proof = machine.file("license.tlog-proof", &log.proof(index));
    let key_file = machine.file("log.pub", &format!("{vkey}\n"));
    let jwks = machine.file("jwks.json", &json!({ "keys": [KEY.jwk()] }).to_string());
    let insist = ["--jwks", &jwks, "--log-key", &key_file, "--require-inclusion"];
    let (status, line, words) = machine.run(&[&insist[..], &[&token()]].concat());
    assert_eq!((status, &line["code"]), (Some(1), &json!("proof_missing")));
    assert!(words.contains("log"), "{words}");
    let (status, line, _) = machine.run(&[&insist[..], &["--proof", &proof, &token()]].concat());
    assert_eq!((status, &line["license"]["state"]), (Some(0), &json!("valid")), "{line}");
    // It is remembered.
    let (status, ..) = machine.run(&[&insist[..], &[&token()]].concat());
    assert_eq!(status, Some(0));
    let other = KEY.token(&claims_with("/exp", json!(NOW + 999)));
    let (status, line, _) = machine.run(&[&insist[..], &["--proof", &proof, &other]].concat());
    assert_eq!((status, &line["code"]), (Some(1), &json!("proof_invalid")));

    let (status, line, words) =
        said(&machine.output(&["--log-key", &vkey, "--explain", "proof", &proof]));
    assert_eq!(status, Some(0), "{words}");
    let expected = json!({
        "index": 3, "at": "2026-01-09T12:00:00.000000Z", "action": "bundles.issue",
        "jti": claims()["jti"], "kid": "key-1", "tree_size": 4,
        "token_sha256": line["proof"]["token_sha256"], "root": line["proof"]["root"],
    });
    assert_eq!(line, json!({ "ok": true, "proof": expected }));
    assert!(words.contains("entry 3 of a log of 4 entries"), "{words}");
    let broken = machine.file("broken", "c2sp.org/tlog-proof@v1\n");
    let (status, line, _) = said(&machine.output(&["--log-key", &vkey, "proof", &broken]));
    assert_eq!((status, &line["code"]), (Some(1), &json!("proof_invalid")));
    for bad in [
        &["proof", &proof][..],
        &["--log-key", &vkey, "proof"],
        &["--log-key", "a+b+c", "proof", &proof],
        &["--log-key", "nothing", "proof", &proof],
        &["--proof", &proof, "x"],
    ] {
        assert_eq!(machine.output(bad).status.code(), Some(2), "{bad:?}");
    }

    // A license file brings its own.
    let machine = Machine::new();
    let mut claims = file_claims(1, &[&KEY]);
    claims["token"] = json!(token());
    let without = machine.file("without.lic", &KEY.file(&claims));
    claims["proof"] = json!(log.proof(index));
    claims["checkpoint"] = json!(log.checkpoint());
    let with = machine.file("with.lic", &KEY.file(&claims));
    let insist = ["--log-key", &vkey, "--require-inclusion", "bundle"];
    let (status, line, _) = machine.run(&[&insist[..], &[&without]].concat());
    assert_eq!((status, &line["code"]), (Some(1), &json!("proof_missing")));
    let (status, line, _) = machine.run(&[&insist[..], &[&with]].concat());
    assert_eq!((status, &line["ok"]), (Some(0), &json!(true)), "{line}");
}

#[test]
fn log_accept_shows_and_keeps_the_evidence() {
    let machine = Machine::new();
    let state = machine.path("state.json");
    let state = ["--state", state.to_str().unwrap(), "--explain"];
    let run = |arguments: &[&str]| said(&machine.output(&[&state[..], arguments].concat()));
    let (code, line, words) = run(&["log"]);
    assert_eq!((code, line), (Some(2), Value::Null), "{words}");
    let mut log = Log::of(3);
    let (verifier, fork, _) = split(&mut log, &machine.path("state.json"));
    drop(verifier);
    let (code, line, words) = run(&["log"]);
    assert_eq!((code, &line["ok"]), (Some(1), &json!(false)), "{words}");
    let kept = &line["log"];
    assert_eq!((&kept["size"], &kept["key"]), (&json!(4), &json!(log.vkey())));
    assert_eq!(kept["anomaly"]["code"], "split_view");
    assert_eq!(kept["anomaly"]["seen"], log.checkpoint());
    assert_eq!(kept["anomaly"]["shown"], fork.checkpoint());
    assert!(words.contains("4 entries") && words.contains("`dp-verify log accept`"), "{words}");
    for bad in [&["log", "accept"][..], &["log", "forget"], &["--because", "x", "log"]] {
        assert_eq!(run(bad).0, Some(2), "{bad:?}");
    }
    let (code, line, words) = run(&["--because", "the vendor restored it", "log", "accept"]);
    assert_eq!((code, &line["log"]["anomaly"]), (Some(0), &Value::Null), "{words}");
    assert!(
        words.contains("An earlier log") && words.contains("the vendor restored it"),
        "{words}"
    );
    let (code, again, _) = run(&["log"]);
    assert_eq!((code, &again), (Some(0), &line));
    assert_eq!(again["log"]["former"][0]["anomaly"], kept["anomaly"]);
}

#[test]
fn state_reset_forgets_all_but_the_log() {
    let machine = Machine::new();
    let state = machine.path("state.json");
    let state = ["--state", state.to_str().unwrap(), "--explain"];
    let run = |arguments: &[&str]| said(&machine.output(&[&state[..], arguments].concat()));
    assert_eq!(run(&["state"]).0, Some(2));
    let pin = json!({ "keys": [KEY.jwk(), OTHER_KEY.jwk()] }).to_string();
    let pin = machine.file("jwks.json", &pin);
    let token = OTHER_KEY.token(&claims());
    let given = |arguments: &[&str]| machine.run(&[&["--jwks", &pin][..], arguments].concat());
    assert_eq!(given(&[&token]).0, Some(0));
    let wrong = machine.file("7.lic", &KEY.file(&file_claims(7, &[&KEY])));
    assert_eq!(given(&["import", &wrong]).0, Some(0));
    let (code, line, words) = given(&[&token]);
    assert_eq!((code, &line["code"]), (Some(1), &json!("key_withdrawn")));
    assert!(words.contains("withdrawn by license file 7"), "{words}");
    let (code, line, words) = run(&["state"]);
    assert_eq!((code, &line["state"]["file"]["seq"]), (Some(0), &json!(7)));
    assert_eq!(line["state"]["withdrawn_keys"], json!([{ "kid": "key-2", "by_file": 7 }]));
    assert!(words.contains("File 7 is the newest."), "{words}");
    for bad in [&["state", "reset"][..], &["state", "forget"], &["--because", "x", "state"]] {
        assert_eq!(run(bad).0, Some(2), "{bad:?}");
    }
    let (code, line, words) = run(&["--because", "file 7 was wrong", "state", "reset"]);
    assert_eq!((code, &line["state"]["file"]), (Some(0), &Value::Null), "{words}");
    assert_eq!(line["state"]["former"][0]["because"], "file 7 was wrong");
    assert!(words.contains("Reset at") && words.contains("file 7 was wrong"), "{words}");
    assert_eq!(run(&["state"]).1, line);
    assert_eq!(given(&[&token]).0, Some(0));
}

#[test]
fn known_log_key_requires_proofs_by_default() {
    let machine = Machine::new();
    let mut log = Log::of(3);
    let index = log.issue(&token());
    let jwks = machine.file("jwks.json", &json!({ "keys": [KEY.jwk()] }).to_string());
    let proof = machine.file("proof", &log.proof(index));
    let run = |arguments: &[&str]| machine.run(&[&["--jwks", &jwks][..], arguments].concat());
    let code = |said: &Said| said.1["code"].as_str().unwrap_or("ok").to_owned();
    assert_eq!(code(&run(&[&token()])), "ok");
    assert_eq!(run(&["--require-inclusion", &token()]).0, Some(2));
    let vkey = log.vkey();
    assert_eq!(code(&run(&["--log-key", &vkey, &token()])), "proof_missing");
    assert_eq!(code(&run(&["--log-key", &vkey, "--allow-unlogged", &token()])), "ok");
    assert_eq!(code(&run(&["--log-key", &vkey, "--proof", &proof, &token()])), "ok");
    // The state file remembers the key.
    let other = KEY.token(&claims_with("/jti", json!("018f2a00-0000-7000-8000-00000000ffff")));
    assert_eq!(code(&run(&[&other])), "proof_missing");
    assert_eq!(code(&run(&["--require-inclusion", &other])), "proof_missing");
    assert_eq!(code(&run(&["--allow-unlogged", &other])), "ok");
    let both = run(&["--allow-unlogged", "--require-inclusion", &other]);
    assert_eq!(both.0, Some(2));
}

pub(crate) fn bundle() -> String {
    let mut claims = file_claims(1, &[&KEY]);
    claims["token"] = json!(KEY.token(&claims_on_stale("block")));
    claims["status_list"] = json!(KEY.list(&list_claims(NOW - 50, 0)));
    KEY.file(&claims) + "\n"
}

pub(crate) fn refresh(seq: i64, status: u8) -> String {
    let mut claims = file_claims(seq, &[&KEY]);
    claims["status_list"] = json!(KEY.list(&list_claims(NOW - 50 + seq, status)));
    KEY.file(&claims) + "\n"
}

#[test]
fn a_license_is_suspended_and_revoked_by_files() {
    let machine = Machine::new();
    let bundle = machine.file("license.lic", &bundle());
    let (code, line, words) = machine.run(&["bundle", &bundle]);
    assert_eq!((code, &line["license"]["state"]), (Some(0), &json!("valid")), "{words}");
    let second = machine.file("second.lic", &refresh(2, 2));
    let (code, line, words) = machine.run(&["import", &second]);
    assert_eq!((code, &line["ok"], &line["file"]["seq"]), (Some(0), &json!(true), &json!(2)));
    assert!(
        words.starts_with("File 2 is imported. No new license token, new keys, a status list.")
    );
    let (code, line, words) = machine.run(&["bundle", &bundle]);
    assert_eq!((code, &line["code"]), (Some(1), &json!("suspended")));
    assert!(words.contains("The vendor has suspended this license."), "{words}");
    // Neither the same file nor an older one, nor an older list by itself, undoes that.
    let older = machine.file("older.lic", &refresh(1, 0));
    for (arguments, detail) in [
        (vec!["import", &second], "file 2 is already imported"),
        (vec!["import", &older], "this is file 1, and file 2 is already imported"),
    ] {
        let (code, line, words) = machine.run(&arguments);
        assert_eq!((code, &line["code"]), (Some(1), &json!("replayed")));
        assert_eq!(line["detail"], detail);
        assert!(words.contains("Use the newest file"), "{words}");
    }
    let old_list = machine.file("old.jwt", &KEY.list(&list_claims(NOW - 49, 0)));
    let (code, line, _) = machine.run(&["--status-list", &old_list, "bundle", &bundle]);
    assert_eq!((code, &line["code"]), (Some(1), &json!("replayed")));
    // A list by itself will do.
    let list = machine.file("list.jwt", &KEY.list(&list_claims(NOW - 10, 1)));
    let (code, line, _) = machine.run(&["--status-list", &list, "bundle", &bundle]);
    assert_eq!((code, &line["code"]), (Some(1), &json!("revoked")));
    let (_, line, _) = machine.run(&["bundle", &bundle]);
    assert_eq!(line["code"], "revoked");
}

#[test]
fn whitespace_around_a_file_is_trimmed() {
    let mut log = Log::of(3);
    let index = log.issue(&token());
    let mut claims = file_claims(1, &[&KEY]);
    claims["token"] = json!(token());
    let file = KEY.file(&claims);
    let list = KEY.list(&list_claims(NOW, 0));
    for (before, after, line_end) in
        [("", "", "\n"), ("\u{feff}", "\n", "\n"), ("\n", " \n", "\r\n"), (" ", "\r\n\r\n", "\n")]
    {
        let machine = Machine::new();
        let around = |text: &str| format!("{before}{}{after}", text.replace('\n', line_end));
        let bundle = machine.file("license.lic", &around(&file));
        machine.file("license.lic.tlog-proof", &around(&log.proof(index)));
        let key = machine.file("log.pub", &around(&log.vkey()));
        let list = machine.file("list.jwt", &around(&list));
        let arguments = ["--log-key", &key, "--status-list", &list, "bundle", &bundle];
        let (code, line, words) = machine.run(&arguments);
        assert_eq!((code, &line["ok"]), (Some(0), &json!(true)), "{words}");
        // The state file went through an editor, too.
        let state = fs::read_to_string(machine.path("state.json")).unwrap();
        write_private(&machine.path("state.json"), around(&state));
        let proof = machine.file("proof", &around(&log.proof(index)));
        let (code, line, words) = machine.run(&["--proof", &proof, "bundle", &bundle]);
        assert_eq!((code, &line["ok"]), (Some(0), &json!(true)), "{words}");
        let (code, _, words) = said(&machine.output(&["--log-key", &key, "proof", &proof]));
        assert_eq!(code, Some(0), "{words}");
    }
}

#[test]
fn a_bundle_file_is_checked_with_its_own_keys_or_with_given_ones() {
    let machine = Machine::new();
    let bundle = machine.file("license.lic", &bundle());
    let jwks = |key: &Key| machine.file("jwks.json", &json!({ "keys": [key.jwk()] }).to_string());
    let given = |keys: &str| {
        let now = NOW.to_string();
        let common = ["--issuer", ISSUER, "--audience", AUDIENCE, "--now", &now];
        said(&machine.output(&[&common[..], &["--jwks", keys, "bundle", &bundle]].concat()))
    };
    assert_eq!(given(&jwks(&KEY)).1["ok"], true);
    let (code, line, words) = given(&jwks(&OTHER_KEY));
    assert_eq!((code, &line["code"]), (Some(1), &json!("kid_unknown")), "{words}");
    // Without a token there is nothing to check.
    let (code, line, _) = machine.run(&["bundle", &machine.file("r.lic", &refresh(1, 0))]);
    assert_eq!((code, &line["code"]), (Some(1), &json!("token_missing")));
    let (code, line, _) = machine.run(&["bundle", "/does/not/exist"]);
    assert_eq!((code, &line["code"]), (Some(2), &json!("keys_unavailable")));
    // The form of before, which was not signed.
    let unsigned = json!({ "token": KEY.token(&claims()), "jwks": { "keys": [KEY.jwk()] } });
    let (code, line, _) = machine.run(&["bundle", &machine.file("u.json", &unsigned.to_string())]);
    assert_eq!((code, &line["code"]), (Some(1), &json!("token_malformed")));
}

#[test]
fn usage_is_reported_by_file() {
    let machine = Machine::new();
    machine.run(&["bundle", &machine.file("license.lic", &bundle())]);
    let state = machine.path("state.json");
    let report = |name: &str, counters: &[&str]| {
        let output = machine.path(name);
        let common = ["--state", state.to_str().unwrap(), "-o", output.to_str().unwrap()];
        let counters: Vec<&str> = counters.iter().flat_map(|c| ["--counter", c]).collect();
        said(&machine.output(&[&common[..], &counters, &["report"]].concat()))
    };
    let (code, line, words) = report("one.json", &["api_calls=120", "hours=1.5"]);
    assert_eq!((code, &line["ok"]), (Some(0), &json!(true)), "{words}");
    let read = |name: &str| -> UsageReport {
        serde_json::from_slice(&fs::read(machine.path(name)).unwrap()).unwrap()
    };
    let one = read("one.json");
    assert_eq!((one.sequence, one.previous, one.file_seq), (1, None, Some(1)));
    assert_eq!(json!(one.counters), json!({ "api_calls": 120, "hours": 1.5 }));
    // A report is never overwritten, and a refused one uses up no number.
    for (name, counters) in [
        ("one.json", &[][..]),
        ("two.json", &["seats"]),
        ("two.json", &["seats=many"]),
        ("two.json", &["seats=-1"]),
        ("two.json", &["=1"]),
    ] {
        let (code, _, words) = report(name, counters);
        assert_eq!(code, Some(2), "{words}");
        assert!(!machine.path("two.json").exists());
    }
    report("two.json", &[]);
    let two = read("two.json");
    assert_eq!((two.sequence, two.since), (2, one.until));
    assert!(two.previous.is_some() && two.counters.is_empty());
}

#[test]
fn use_of_pools_is_reported_by_file() {
    let machine = Machine::new();
    machine.run(&["bundle", &machine.file("license.lic", &bundle())]);
    let (state, output) = (machine.path("state.json"), machine.path("one.json"));
    let report = |pools: &[&str]| {
        let common = ["--state", state.to_str().unwrap(), "-o", output.to_str().unwrap()];
        let pools: Vec<&str> = pools.iter().flat_map(|pool| ["--pool", pool]).collect();
        said(&machine.output(&[&common[..], &["report"], &pools].concat()))
    };
    for wrong in ["render", "render=1", "render=-1,0", "render=1,many", "=1,0"] {
        let (code, _, words) = report(&[wrong]);
        assert_eq!(code, Some(2), "{words}");
        assert!(!output.exists());
    }
    let (code, _, words) = report(&["render=12,3", "seats=5,0"]);
    assert_eq!(code, Some(0), "{words}");
    let one: Value = serde_json::from_slice(&fs::read(&output).unwrap()).unwrap();
    let expected = json!({
        "render": { "peak": 12, "refused": 3 }, "seats": { "peak": 5, "refused": 0 },
    });
    assert_eq!((&one["sequence"], &one["leases"]), (&json!(1), &expected));
}

#[test]
fn unusable_command_lines_are_refused() {
    let machine = Machine::new();
    let file = machine.file("license.lic", &bundle());
    let base = ["--issuer", ISSUER, "--audience", AUDIENCE];
    for arguments in [
        &["import", &file][..],
        &["import"],
        &["bundle"],
        &["report"],
        &["x.y.z", &file],
        &["-o", "x", "report"],
        &["--counter", "a=1", "x.y.z"],
        // No keys from anywhere.
        &["x.y.z"],
    ] {
        let (code, line, words) = said(&machine.output(&[&base[..], arguments].concat()));
        assert_eq!((code, line), (Some(2), Value::Null), "{words}");
        assert!(!words.is_empty());
    }
}
