//! The command `dp-verify` and its files: full disks, links, files without content, and exact
//! counters.

use std::fs;
#[cfg(unix)]
use std::process::Command;

#[cfg(unix)]
use dp_verifier::cp_contracts::UsageReport;
use serde_json::{Value, json};

use crate::cli_files::*;
use crate::log::{Log, token};
use crate::support::*;

#[test]
fn counter_is_reported_exactly_or_refused() {
    let machine = Machine::new();
    machine.run(&["bundle", &machine.file("license.lic", &bundle())]);
    let (state, output) = (machine.path("state.json"), machine.path("one.json"));
    let report = |counters: &[&str]| {
        let common = ["report", "--state", state.to_str().unwrap(), "-o", output.to_str().unwrap()];
        said(&machine.output(&[&common[..], counters].concat()))
    };
    for (counters, why) in [
        (&["--counter=a=123456789012345.654321"][..], "has more digits than a report can contain"),
        (&["--counter=a=9007199254740993.5"], "has more digits"),
        (&["--counter=a=1", "--counter=b=1", "--counter=a=2"], "--counter \"a\" is given twice"),
        (&["--pool=p=1,0", "--pool=p=2,0"], "--pool \"p\" is given twice"),
    ] {
        let (code, line, words) = report(counters);
        assert_eq!((code, line), (Some(2), Value::Null), "{words}");
        assert!(words.contains(why), "{words}");
        assert!(!output.exists());
    }
    let exact = ["a=18446744073709551615", "b=123456789.654321", "c=1e3", "d=0.10", "e=1000000.0"];
    let exact: Vec<String> = exact.iter().map(|counter| format!("--counter={counter}")).collect();
    let exact: Vec<&str> = exact.iter().map(String::as_str).collect();
    let (code, _, words) = report(&exact);
    assert_eq!(code, Some(0), "{words}");
    let text = fs::read_to_string(&output).unwrap();
    for written in ["\"a\": 18446744073709551615,", "\"b\": 123456789.654321,", "\"c\": 1000.0,"] {
        assert!(text.contains(written), "{text}");
    }
}

/// Runs the command where no file can grow beyond some blocks of 512 bytes or more.
#[cfg(unix)]
fn on_full_disk(blocks: u64, arguments: &[&str]) -> Said {
    let mut shell = Command::new("sh");
    let limits = format!("ulimit -f {blocks}; trap '' XFSZ; exec \"$@\"");
    shell.args(["-c", &limits, "sh", env!("CARGO_BIN_EXE_dp-verify")]).args(arguments);
    said(&shell.output().unwrap())
}

#[cfg(unix)]
#[test]
fn full_disk_leaves_no_files_and_costs_no_number() {
    let machine = Machine::new();
    let names = || {
        let entries = fs::read_dir(machine.path("")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    machine.run(&["bundle", &machine.file("license.lic", &bundle())]);
    let refresh = machine.file("refresh.lic", &refresh(2, 0));
    let before = names();
    let (state, now) = (machine.path("state.json"), NOW.to_string());
    let state = ["--state", state.to_str().unwrap()];
    let common = ["--issuer", ISSUER, "--audience", AUDIENCE, "--now", &now];
    for _ in 0..2 {
        let (code, _, words) =
            on_full_disk(0, &[&common[..], &state, &["import", &refresh]].concat());
        assert_eq!(code, Some(2), "{words}");
        assert!(words.contains("cannot be written"), "{words}");
        assert_eq!(names(), before);
    }
    assert_eq!(machine.run(&["import", &refresh]).0, Some(0));

    // The state file still fits. The report does not.
    let blocks = fs::metadata(machine.path("state.json")).unwrap().len() / 512 + 4;
    let counters: Vec<String> =
        (0..blocks * 60).map(|n| format!("--counter=metric-{n}=1")).collect();
    let output = machine.path("one.json");
    let output = ["report", "-o", output.to_str().unwrap()];
    let counters: Vec<&str> = counters.iter().map(String::as_str).collect();
    let report = [&state[..], &output, &counters].concat();
    for _ in 0..2 {
        let (code, _, words) = on_full_disk(blocks, &report);
        assert_eq!(code, Some(2), "{words}");
        assert!(words.contains("the report ") && words.contains("cannot be written"), "{words}");
        assert_eq!(names(), before);
    }
    let (code, _, words) = said(&machine.output(&report));
    assert_eq!(code, Some(0), "{words}");
    let one: UsageReport =
        serde_json::from_slice(&fs::read(machine.path("one.json")).unwrap()).unwrap();
    assert_eq!((one.sequence, one.previous), (1, None));
    let (code, _, words) = said(&machine.output(&report));
    assert_eq!(code, Some(2));
    assert!(words.contains("exists already") && !words.contains("os error"), "{words}");
}

#[cfg(unix)]
#[test]
fn state_file_is_one_under_all_its_names() {
    let machine = Machine::new();
    fs::create_dir(machine.path("data")).unwrap();
    std::os::unix::fs::symlink("data/real.json", machine.path("state.json")).unwrap();
    let license = machine.file("license.lic", &bundle());
    assert_eq!(machine.run(&["bundle", &license]).0, Some(0));
    assert!(machine.path("state.json").is_symlink());
    let now = NOW.to_string();
    let real = machine.path("data/real.json");
    let common = ["--issuer", ISSUER, "--audience", AUDIENCE, "--now", &now];
    let real = ["--state", real.to_str().unwrap()];
    // A revocation that is known under one name is known under the other.
    let suspended = machine.file("second.lic", &refresh(2, 2));
    let (code, _, words) =
        said(&machine.output(&[&common[..], &real, &["import", &suspended]].concat()));
    assert_eq!(code, Some(0), "{words}");
    let (code, line, words) = machine.run(&["bundle", &license]);
    assert_eq!((code, &line["code"]), (Some(1), &json!("suspended")), "{words}");
    let names = fs::read_dir(machine.path("data")).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["real.json", "real.json.lock"]);
    assert!(!machine.path("state.json.lock").exists());
}

#[test]
fn file_without_content_or_text_is_refused() {
    let machine = Machine::new();
    let jwks = machine.file("jwks.json", &json!({ "keys": [KEY.jwk()] }).to_string());
    let empty = machine.file("empty", "");
    let binary = machine.path("binary");
    fs::write(&binary, b"\xff\xfe\0").unwrap();
    let (binary, absent) = (binary.to_str().unwrap(), "/does/not/exist");
    for arguments in [
        &["bundle", &empty][..],
        &["import", &empty],
        &["--status-list", &empty, &token()],
        &["--proof", &empty, "--log-key", &Log::of(1).vkey(), &token()],
    ] {
        let (code, line, words) = machine.run(&[&["--jwks", &jwks][..], arguments].concat());
        assert_eq!((code, &line["ok"]), (Some(1), &json!(false)), "{arguments:?}: {words}");
    }
    let (code, line, _) =
        said(&machine.output(&["--log-key", &Log::of(1).vkey(), "proof", &empty]));
    assert_eq!((code, &line["ok"]), (Some(1), &json!(false)));
    for file in [binary, absent] {
        for command in ["bundle", "import"] {
            let (code, line, words) = machine.run(&["--jwks", &jwks, command, file]);
            assert_eq!((code, &line["code"]), (Some(2), &json!("keys_unavailable")), "{words}");
            assert!(line["detail"].as_str().unwrap().contains(file), "{line}");
        }
    }
}
