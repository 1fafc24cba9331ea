//! The output of commands: forms, closed pipes, files, and the texts of wrong flags.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::server::{Server, TOKEN, command, folder};

/// A folder with the database of a server that has stopped.
fn installed() -> TempDir {
    let folder = folder();
    drop(Server::start(folder.path()));
    folder
}

fn run(folder: &TempDir, words: &[&str]) -> Output {
    command(folder.path()).args(words).output().unwrap()
}

fn out(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Lets the command write into a pipe that has no reader.
fn without_reader(command: &mut Command) -> Output {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer).output().unwrap()
}

#[test]
fn closed_pipe_does_not_stop_an_import() {
    let folder = installed();
    let mut lines = String::new();
    for n in 0..1200 {
        let line = json!({"kind": "organization", "external_id": format!("o-{n}"), "name": "X"});
        lines.push_str(&format!("{line}\n"));
    }
    std::fs::write(folder.path().join("many.ndjson"), lines).unwrap();
    let done = without_reader(command(folder.path()).args(["import", "many.ndjson"]));
    assert_eq!(done.status.code(), Some(1), "the summary was not printed");
    assert!(said(&done).contains("1200 created"), "{}", said(&done));
    assert!(said(&done).contains("not all printed"), "{}", said(&done));
    let again = out(&run(&folder, &["import", "many.ndjson"]));
    let last: Value = serde_json::from_str(again.lines().last().unwrap()).unwrap();
    assert_eq!(last["summary"]["unchanged"], 1200);
}

/// Creates an organization with two licenses. Returns their IDs.
fn licenses(folder: &TempDir) -> Vec<String> {
    out(&run(folder, &["plan", "create", "studio", "--name", "Studio", "--seats", "5"]));
    out(&run(folder, &["org", "create", "Acme", "--plan", "studio"]));
    let license = |name: &str| {
        let created = ["deployment", "create", "acme", name, "--type", "onprem", "-o", "id"];
        let deployment = out(&run(folder, &created));
        let license = out(&run(folder, &["license", "create", deployment.trim(), "-o", "id"]));
        license.trim().to_owned()
    };
    vec![license("one"), license("two")]
}

#[test]
fn closed_pipe_does_not_stop_the_issuance_of_all_licenses() {
    let folder = installed();
    licenses(&folder);
    let done = without_reader(command(folder.path()).args(["license", "issue", "--all"]));
    assert_eq!(done.status.code(), Some(1));
    assert!(said(&done).contains("2 issued; they were not all printed"), "{}", said(&done));
    // A list ends without an error.
    let listed = without_reader(command(folder.path()).args(["license", "list"]));
    assert!(listed.status.success(), "{}", said(&listed));
}

#[test]
fn forms_are_refused_before_a_change_and_honoured_elsewhere() {
    let folder = installed();
    let licenses = licenses(&folder);
    std::fs::write(
        folder.path().join("one.ndjson"),
        "{\"kind\": \"organization\", \"external_id\": \"a\", \"name\": \"A\"}\n",
    )
    .unwrap();
    let events = || out(&run(&folder, &["audit", "export", "-o", "id"])).lines().count();
    let before = events();
    for (words, why) in [
        (&["audit", "tail", "-o", "xml"][..], "--output must be table, json or id"),
        (&["audit", "export", "-o", "table"], "must be json or id"),
        (&["audit", "checkpoint", "-o", "json"], "accepts no --output"),
        (&["audit", "erase", "--event", "x", "-o", "id"], "accepts no --output"),
        (&["license", "issue", "--all", "-o", "id"], "must be json"),
        (&["license", "issue", "--all", "-o", "xml"], "--output must be table, json or id"),
        (&["import", "one.ndjson", "-o", "id"], "must be table or json"),
        (&["migrate", "-o", "json"], "accepts no --output"),
        (&["operations", "-o", "yaml"], "--output must be table, json or id"),
        (
            &["call", "entitlements.update", "org=acme", "features={\"sso\": true}", "-o", "id"],
            "has no ID; use --output json",
        ),
    ] {
        let done = run(&folder, words);
        assert_eq!(done.status.code(), Some(1), "{words:?}: {}", said(&done));
        assert!(said(&done).contains(why), "{words:?}: {}", said(&done));
        assert!(done.stdout.is_empty(), "{words:?}");
    }
    assert_eq!(events(), before, "a refused command changes nothing");

    let newest = |words: &[&str]| out(&run(&folder, words)).trim().to_owned();
    let tail = |more: &[&str]| {
        let words = ["audit", "tail", "-n", "1", "--action", "licenses.create"];
        newest(&[&words[..], more].concat())
    };
    let json: Value = serde_json::from_str(&tail(&["-o", "json"])).unwrap();
    let id = json["id"].as_str().unwrap();
    assert_eq!(tail(&["-o", "id"]), id);
    assert!(tail(&[]).contains(" licenses.create "));
    let shown: Value = serde_json::from_str(&newest(&["audit", "show", id, "-o", "json"])).unwrap();
    assert_eq!(shown["id"], id);
    assert_eq!(newest(&["audit", "show", id, "-o", "id"]), id);
    let ids = newest(&["events", "-o", "id", "--types", "licenses.create"]);
    assert_eq!(ids.lines().count(), licenses.len(), "{ids}");
    let table = newest(&["import", "one.ndjson", "-o", "table"]);
    assert_eq!(table, "1 created, 0 updated, 0 unchanged, 0 refused");
}

#[test]
fn file_is_not_written_into_a_folder_that_is_not_there() {
    let folder = installed();
    let id = licenses(&folder).remove(0);
    let issued = || out(&run(&folder, &["audit", "export", "-o", "id"])).lines().count();
    let before = issued();
    for words in [
        &["license", "export", &id, "-o", "typo/acme.license"][..],
        &["license", "refresh", &id, "-o", "typo/acme.refresh"],
        &["license", "token", &id, "-o", "typo/acme.jwt"],
        &["license", "token", &id, "--form", "file", "-o", "typo/acme.license"],
        &["lease", "borrow", &id, "--seconds", "1d", "-o", "typo/acme.lease"],
    ] {
        let done = run(&folder, words);
        assert_eq!(done.status.code(), Some(1), "{words:?}");
        assert!(said(&done).contains("there is no folder typo"), "{words:?}: {}", said(&done));
    }
    assert!(!folder.path().join("typo").exists());
    assert_eq!(issued(), before);
    out(&run(&folder, &["license", "export", &id, "-o", "./acme.license"]));
}

#[test]
fn wrong_address_and_token_are_refused_by_the_names_of_their_flags() {
    let folder = folder();
    for (url, token, why) in [
        ("notaurl", "x", "--url (or CP_URL) must be an http or https URL"),
        ("localhost:8080", "x", "--url (or CP_URL) must be an http or https URL"),
        ("http://127.0.0.1:1/a b", "x", "--url (or CP_URL) must be an http or https URL"),
        ("http://127.0.0.1:1", "one\ntwo", "--token (or CP_TOKEN) must be one line"),
    ] {
        let done = run(&folder, &["org", "list", "--url", url, "--token", token]);
        assert_eq!(done.status.code(), Some(1), "{url}");
        assert!(said(&done).contains(why), "{url}: {}", said(&done));
        assert!(!said(&done).contains("two"), "{}", said(&done));
    }
}

#[test]
fn csv_file_under_another_name_is_refused_as_a_whole() {
    let folder = folder();
    let text = "kind,external_id,name\norganization,a,A\n";
    std::fs::write(folder.path().join("customers.txt"), text).unwrap();
    let done = run(&folder, &["import", "customers.txt"]);
    assert_eq!(done.status.code(), Some(1));
    let why = "customers.txt is CSV, not NDJSON; the name of a CSV file must end with .csv";
    assert!(said(&done).contains(why), "{}", said(&done));
    std::fs::write(folder.path().join("semicolons.csv"), text.replace(',', ";")).unwrap();
    let done = run(&folder, &["import", "semicolons.csv"]);
    assert!(said(&done).contains("must be separated by commas (got ';')"), "{}", said(&done));

    let server = Server::start(folder.path());
    let mut child = command(folder.path())
        .args(["import", "-"])
        .env("CP_URL", format!("http://{}", server.address))
        .env("CP_TOKEN", TOKEN)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(said(&done).contains("standard input is CSV"), "{}", said(&done));
}
