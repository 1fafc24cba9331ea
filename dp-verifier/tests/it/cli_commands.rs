//! The commands of `dp-verify`: their help, and where their options may stand.

use std::fs;
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::*;

const COMMANDS: [&[&str]; 9] = [
    &[],
    &["bundle"],
    &["import"],
    &["proof"],
    &["log"],
    &["log", "accept"],
    &["state"],
    &["state", "reset"],
    &["report"],
];

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_dp-verify")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The options that the help of a command lists.
fn listed(command: &[&str]) -> Vec<String> {
    let help = text(&run(&[command, &["--help"]].concat()).stdout);
    let options = help.lines().filter_map(|line| line.trim_start().strip_prefix("--"));
    options.map(|option| option.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn help_of_every_command_fits_a_screen() {
    for command in COMMANDS {
        for flag in ["-h", "--help"] {
            let output = run(&[command, &[flag]].concat());
            let help = text(&output.stdout);
            assert_eq!(output.status.code(), Some(0), "{command:?}");
            assert!(help.lines().count() <= 40, "{command:?}: {} lines", help.lines().count());
            let longest = help.lines().map(|line| line.chars().count()).max();
            assert!(longest <= Some(100), "{command:?}: {longest:?} columns");
            assert!(help.contains("Usage: dp-verify") && help.contains("Example:"), "{help}");
        }
    }
}

#[test]
fn help_of_a_command_lists_the_options_that_matter_for_it() {
    assert_eq!(listed(&["log"]), ["state", "explain"]);
    assert_eq!(listed(&["log", "accept"]), ["because", "state", "explain"]);
    assert_eq!(listed(&["state", "reset"]), ["because", "state", "explain"]);
    assert_eq!(listed(&["proof"]), ["log-key", "explain"]);
    assert_eq!(listed(&["report"]), ["counter", "pool", "state"]);
    let check = listed(&["bundle"]);
    assert_eq!(check.len(), 13);
    assert_eq!(listed(&[]), check);
}

#[test]
fn help_and_usage_do_not_depend_on_the_environment() {
    let variables = ["LICENSE_TOKEN", "CP_ISSUER", "CP_AUDIENCE", "CP_LOG", "COLUMNS", "JWKS"];
    for command in COMMANDS {
        for more in ["--help", "--unknown"] {
            let mut plain = Command::new(env!("CARGO_BIN_EXE_dp-verify"));
            plain.args(command).arg(more).env_clear();
            let mut full = Command::new(env!("CARGO_BIN_EXE_dp-verify"));
            full.args(command).arg(more).envs(variables.map(|name| (name, "40")));
            let [plain, full] = [plain, full].map(|mut command| command.output().unwrap());
            assert_eq!(plain, full, "{command:?} {more}");
        }
    }
}

#[test]
fn options_stand_before_a_command_or_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let mut claims = file_claims(1, &[&KEY]);
    claims["token"] = json!(KEY.token(&claims_on_stale("allow")));
    let license = file("license.lic");
    fs::write(&license, KEY.file(&claims)).unwrap();
    let (now, state) = (NOW.to_string(), file("state.json"));
    let options = ["--issuer", ISSUER, "--audience", AUDIENCE, "--now", &now, "--state", &state];
    let (first, last) = options.split_at(4);
    for arguments in [
        [&options[..], &["bundle", &license]].concat(),
        [&["bundle", &license], &options[..]].concat(),
        [&["bundle"], &options[..], &[&license]].concat(),
        [first, &["bundle"], last, &[&license]].concat(),
        [last, &["bundle", &license], first].concat(),
    ] {
        let output = run(&arguments);
        let line: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((output.status.code(), &line["ok"]), (Some(0), &json!(true)), "{arguments:?}");
    }
    // One set of options fits every command.
    for command in [&["state"][..], &["log"]] {
        assert_eq!(run(&[command, &options].concat()).status.code(), Some(0), "{command:?}");
    }
    for (index, arguments) in [
        ["--because", "a reason", "state", "reset"],
        ["state", "--because", "a reason", "reset"],
        ["state", "reset", "--because", "a reason"],
    ]
    .into_iter()
    .enumerate()
    {
        // An option of `reset` is none of `state`.
        let expected = if index == 1 { Some(2) } else { Some(0) };
        let output = run(&[&arguments[..], &["--state", &state]].concat());
        assert_eq!(output.status.code(), expected, "{arguments:?}");
    }
    run(&[&["bundle", &license], &options[..]].concat());
    let report = file("report.json");
    let early = ["--counter", "a=1", "--state", &state, "report"];
    let output = run(&[&early[..], &["--counter", "b=2", "-o", &report]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let report: Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    assert_eq!(report["counters"], json!({ "a": 1, "b": 2 }));
}

#[test]
fn words_of_commands_are_tokens_after_two_hyphens() {
    let arguments = ["--issuer", ISSUER, "--audience", AUDIENCE, "--jwks", "/does/not/exist"];
    for (word, expected) in [("import", 1), ("x.y", 1)] {
        let output = run(&[&arguments[..], &["--", word]].concat());
        assert_eq!(text(&output.stdout).lines().count(), expected);
        assert!(text(&output.stdout).contains("keys_unavailable"), "{word}");
    }
}

#[test]
fn command_lines_that_do_not_fit_together_are_refused() {
    let base = ["--issuer", ISSUER, "--audience", AUDIENCE, "--jwks", "/does/not/exist"];
    for (arguments, why) in [
        (&["x.y.z", "bundle", "f"][..], "a token and a command exclude each other"),
        (&["import", "f"], "`import` requires --state"),
        (&["proof", "f"], "`proof` requires --log-key"),
        (&["log"], "`log` requires --state"),
        (&["state"], "`state` requires --state"),
        (&["--state", "s", "log", "accept"], "`log accept` requires --because"),
        (&["--state", "s", "state", "reset"], "`state reset` requires --because"),
        (&["--state", "s", "report"], "`report` requires -o"),
        (&["report", "-o", "f"], "`report` requires --state"),
        (&["-o", "f", "report", "-o", "g", "--state", "s"], "-o is given twice"),
        (&["--state", "s", "log", "--state=t"], "--state is given twice"),
        (&["--because", "x", "state"], "--because is an option of"),
        (&["--because", "x", "t"], "--because is an option of"),
        (&["--counter", "a=1", "t"], "--counter, --pool and -o are options of `report`"),
        (&["--pool", "a=1,0", "t"], "--counter, --pool and -o are options of `report`"),
        (&["bundle", "f", "-o", "g"], "unexpected argument '-o'"),
        (&["--allow-unlogged", "t", "--require-inclusion"], "exclude each other"),
    ] {
        let output = run(&[&base[..], arguments].concat());
        let words = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(output.stdout.is_empty() && words.contains(why), "{arguments:?}: {words}");
    }
    let output = run(&["--issuer", ISSUER, "t"]);
    assert!(text(&output.stderr).contains("--issuer and --audience are required"));
    let output = run(&["--ca", "f", "--issuer", ISSUER, "--audience", AUDIENCE, "t"]);
    assert!(text(&output.stderr).contains("--ca requires --jwks"));
}
