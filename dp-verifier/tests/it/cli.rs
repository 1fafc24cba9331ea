//! The command `dp-verify`.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::*;

/// Runs the command with the key set of the tests, at [`NOW`].
fn run(arguments: &[&str], input: &[u8]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let jwks = dir.path().join("jwks.json");
    std::fs::write(&jwks, json!({ "keys": [KEY.jwk()] }).to_string()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_dp-verify"));
    command.args(["--issuer", ISSUER, "--audience", AUDIENCE, "--now", &NOW.to_string()]);
    command.arg("--jwks").arg(&jwks).args(arguments);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().unwrap();
    let mut stdin = running.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // It stops reading when its keys are unusable.
        scope.spawn(move || drop(stdin.write_all(input)));
        running.wait_with_output().unwrap()
    })
}

fn results(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The code of each result, or "ok".
fn codes(output: &Output) -> Vec<String> {
    let code = |result: &Value| match &result["ok"] {
        Value::Bool(true) => "ok".to_owned(),
        _ => result["code"].as_str().unwrap().to_owned(),
    };
    results(output).iter().map(code).collect()
}

#[test]
fn one_token_is_an_argument() {
    let output = run(&[&KEY.token(&claims())], b"");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.starts_with(b"{\"ok\":true,\"license\":{"));
    assert_eq!(results(&output)[0]["license"]["organization"]["slug"], "acme");
    let output = run(&["x.y"], b"");
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.starts_with(b"{\"ok\":false,\"code\":\"token_malformed\",\"detail\":\""));
    assert_eq!(codes(&run(&[""], b"")), ["token_missing"]);
}

#[test]
fn every_line_of_the_input_has_a_result() {
    let good = KEY.token(&claims());
    let mut input = Vec::new();
    for line in [
        good.as_bytes(),
        b"",
        format!("{good}\r").as_bytes(),
        format!(" {good}\t").as_bytes(),
        format!("\u{feff}{good}").as_bytes(),
        format!("{good}\u{200b}").as_bytes(),
        b"\xff\xfe",
        b"\0",
        &[b'x'; 5_000_000],
        good.as_bytes(),
    ] {
        input.extend(line);
        input.push(b'\n');
    }
    input.extend(b"the last line has no end");
    let expected = [
        "ok",
        "token_missing",
        "ok",
        "ok",
        "ok",
        "token_malformed",
        "token_malformed",
        "token_malformed",
        "token_too_large",
        "ok",
        "token_malformed",
    ];
    for arguments in [["-"].as_slice(), &[]] {
        let output = run(arguments, &input);
        assert_eq!(codes(&output), expected);
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn input_without_a_token_is_a_missing_token() {
    for arguments in [&["-"][..], &[]] {
        for input in ["", "\n", "\n\n \n", "\u{feff}"] {
            let output = run(arguments, input.as_bytes());
            assert_eq!(codes(&output), ["token_missing"], "{input:?}");
            assert_eq!(output.status.code(), Some(1), "{input:?}");
        }
    }
}

#[test]
fn empty_lines_count_unless_they_are_the_last_ones_after_a_token() {
    let good = KEY.token(&claims());
    for (input, expected) in [
        (format!("{good}\n\n \r\n\u{feff}"), &["ok"][..]),
        (format!("\n{good}\n\n{good}\n\n"), &["token_missing", "ok", "token_missing", "ok"]),
        ("\n".to_owned(), &["token_missing"]),
        ("\r\n \n".to_owned(), &["token_missing"]),
        (format!("{}x", "\n".repeat(9_000)), &["token_missing"; 9_000]),
    ] {
        let output = run(&[], input.as_bytes());
        assert_eq!(codes(&output)[..expected.len().min(9_000)], *expected);
        assert!(codes(&output).len() <= expected.len() + 1);
        assert_eq!(output.status.code(), Some(i32::from(expected != ["ok"])));
    }
}

#[test]
fn a_key_set_file_is_trimmed_and_what_is_not_json_is_refused_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    let good = json!({ "keys": [KEY.jwk()] }).to_string();
    for (text, why) in [
        (format!("\u{feff}{good}\r\n"), None),
        (format!("\n {good} "), None),
        ("<!DOCTYPE html>".to_owned(), Some("is not JSON: it looks like a web page")),
        (String::new(), Some("is not JSON: it is empty")),
        (" \n".to_owned(), Some("is not JSON: it is empty")),
        (good[..40].to_owned(), Some("is not JSON")),
        ("eyJh.x.y".to_owned(), Some("is not JSON")),
        ("[]".to_owned(), Some("must be an object")),
        ("{}".to_owned(), Some("has no array `keys`")),
    ] {
        std::fs::write(&path, &text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_dp-verify"));
        command.args(["--issuer", ISSUER, "--audience", AUDIENCE, "--now", &NOW.to_string()]);
        let output = command.arg("--jwks").arg(&path).arg(KEY.token(&claims())).output().unwrap();
        match why {
            None => assert_eq!(codes(&output), ["ok"], "{text:?}"),
            Some(why) => {
                let words = String::from_utf8(output.stderr.clone()).unwrap();
                assert!(words.contains(why), "{words}");
                assert_eq!(codes(&output), ["keys_unavailable"]);
            }
        }
    }
}

#[test]
fn many_lines_keep_their_order() {
    let tokens: Vec<String> =
        (0..7).map(|n| KEY.token(&claims_with("/license/seat_cap", json!(n)))).collect();
    let lines = 3_000;
    let input: String = (0..lines).map(|n| format!("{}\n", tokens[n % tokens.len()])).collect();
    let output = run(&["-"], input.as_bytes());
    assert_eq!(output.status.code(), Some(0));
    let seats = results(&output).into_iter().map(|result| result["license"]["seat_cap"].clone());
    assert!(seats.eq((0..lines).map(|n| json!(n % tokens.len()))));
}

#[test]
fn unusable_arguments_end_with_status_2() {
    let bad_keys = ["--jwks", "/does/not/exist", "token"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_dp-verify"));
    let output =
        command.args(["--issuer", "i", "--audience", "a"]).args(bad_keys).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(codes(&output), ["keys_unavailable"]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("/does/not/exist"));
    assert_eq!(run(&["--leeway", "301", "token"], b"").status.code(), Some(2));
    assert_eq!(run(&["--unknown"], b"").status.code(), Some(2));
    let unreachable = ["--issuer", "i", "--audience", "a", "--jwks", "http://127.0.0.1:1/", "t"];
    let output = Command::new(env!("CARGO_BIN_EXE_dp-verify")).args(unreachable).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(codes(&output), ["keys_unavailable"]);
}

#[test]
fn a_refusal_can_be_explained() {
    let output = run(&["--explain", &KEY.token(&claims_with("/exp", json!(NOW - 100)))], b"");
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("Refused (expired): expired 100 s ago."), "{words}");
    assert!(words.contains("Ask for a new license token"), "{words}");
}

#[test]
fn every_state_has_words() {
    let words = |arguments: &[&str]| {
        String::from_utf8(run(&[arguments, &["--explain"]].concat(), b"").stderr).unwrap()
    };
    let mut late = claims_with("/exp", json!(NOW - 100));
    late["enforcement"]["grace_seconds"] = json!(86_400);
    assert!(words(&[&KEY.token(&claims())]).starts_with("Valid. Enterprise for acme-prod of Acme"));
    assert!(words(&[&KEY.token(&late)]).starts_with("Expired and in its grace period"));
    let soon = claims_with("/exp", json!(NOW + 100));
    assert!(words(&[&KEY.token(&soon)]).starts_with("Valid, but expires soon"));
    let stale = KEY.token(&claims_on_stale("degrade"));
    assert!(words(&[&stale]).starts_with("Valid, but there is no recent status list"));
    assert!(words(&["x"]).starts_with("Refused (token_malformed)"));
}
