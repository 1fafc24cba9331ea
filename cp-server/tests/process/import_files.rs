//! `cp-server import`: the guide, Keygen's lists, files with refusals, memory, and a killed server.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::runbooks;
use super::server::{PAUSE, Server, TOKEN, command, folder};

fn lists() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/keygen")
}

/// Runs a command on the database of the folder.
fn local(folder: &Path, words: &[&str]) -> Output {
    command(folder).args(words).output().unwrap()
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn validate(server: &Server, key: &str) -> Value {
    let (_, answer) =
        server.call("POST", "/api/v1/licenses/validate", Some(json!({"key": key})), key);
    answer["code"].clone()
}

#[test]
fn the_guide_leads_from_csv_files_to_a_license_that_validates() {
    let folder = folder();
    let server = Server::start(folder.path());
    let heading = "From CSV files to a license that validates";
    let guide = runbooks::commands("import.md", heading);
    let said = runbooks::run(folder.path(), &server, &[], &guide);
    let answers: Vec<Value> = serde_json::Deserializer::from_str(&said)
        .into_iter::<Value>()
        .map(Result::unwrap)
        .collect();
    let summaries: Vec<&Value> =
        answers.iter().filter_map(|answer| answer.get("summary")).collect();
    let created: Vec<&Value> = summaries.iter().map(|summary| &summary["created"]).collect();
    assert_eq!(created, [1, 2, 2, 5]);
    assert_eq!(summaries[1]["dry_run"], true);
    assert_eq!(answers.last().unwrap()["code"], "valid", "{said}");
    // Once more: nothing changes.
    let said = runbooks::run(folder.path(), &server, &[], &guide);
    assert!(!said.contains("\"status\":\"created\""), "{said}");
}

#[test]
fn lists_of_keygen_become_lines_whose_keys_validate() {
    let folder = folder();
    let lists = lists();
    let output = local(folder.path(), &["import", "keygen", lists.to_str().unwrap()]);
    let (converted, notes) = said(&output);
    assert!(output.status.success(), "{notes}");
    assert!(!folder.path().join("data").exists(), "the conversion opens no database");
    let id = |prefix: &str, n: u32| format!("{prefix}-0000-4000-8000-00000000000{n}");
    let (policy, user) = (|n| id("b3b1d3a0", n), |n| id("c4c2e4b1", n));
    let (license, machine) = (|n| id("d5d3f5c2", n), |n| id("e6e4a6d3", n));
    assert_eq!(
        notes.lines().collect::<Vec<_>>(),
        [
            "1 of type `groups`: the type has no equivalent".to_owned(),
            format!("policy {}: `maxCores`, `requireHeartbeat` have no equivalent", policy(1)),
            format!("policy {}: `expirationStrategy` ALLOW_ACCESS has no equivalent", policy(2)),
            format!("policy {}: `machineMatchingStrategy` MATCH_MOST has no equivalent", policy(2)),
            format!(
                "policy {}: `scheme`: keys stay valid, and their signatures are not checked",
                policy(2)
            ),
            format!("user {}: `role` has no equivalent: grant a role by hand", user(2)),
            format!("license {}: its key has less than 8 or more than 512 characters", license(5)),
            format!(
                "license {}: its key has the form of this product's keys, with a wrong check symbol",
                license(6)
            ),
            format!("machine {}: its license is suspended: it has no seat", machine(3)),
            format!("machine {}: its license has expired: it has no seat", machine(4)),
        ]
    );
    let of_kind = |kind: &str| -> Vec<Value> {
        lines(&converted).into_iter().filter(|line| line["kind"] == kind).collect()
    };
    let organization = format!("{}:{}", user(1), policy(1));
    assert_eq!(
        of_kind("plan")[0],
        json!({
            "kind": "plan", "code": format!("keygen-{}", policy(1)), "name": "Floating",
            "is_public": false, "seat_cap": 5,
            "leasing": {"machines": {"kind": "node", "cap": 2, "overage": 100}},
        })
    );
    assert_eq!(
        of_kind("organization")[0],
        json!({
            "kind": "organization", "external_id": organization,
            "name": "Peter Gibbons (Floating)", "owner": "peter@initech.example",
        })
    );
    assert_eq!(
        of_kind("deployment")[0],
        json!({
            "kind": "deployment", "organization": organization, "external_id": license(1),
            "name": "Main office (d5d3f5c2)", "type": "onprem",
        })
    );
    assert_eq!(
        of_kind("license")[0],
        json!({
            "kind": "license", "organization": organization, "subscription": organization,
            "deployment": license(1), "name": "Main office", "metadata": {"orderId": "4711"},
            "valid_from": "2024-03-01T09:00:00.000Z", "valid_until": "2030-03-01T09:00:00.000Z",
            "leasing": {"machines": {"cap": 4, "overage": 100}}, "seat_cap": 5,
            "allow_more_seats": true,
            "status": "active",
        })
    );
    assert_eq!(
        of_kind("lease")[0],
        json!({
            "kind": "lease", "organization": organization, "subscription": organization,
            "deployment": license(1), "pool": "machines", "label": "Render 1",
            "machine": "4d:Eq:UV:D3:XZ:tL:WN:Bz", "meta": {"platform": "linux"},
        })
    );
    assert!(local(folder.path(), &["migrate"]).status.success());
    let file = folder.path().join("keygen.ndjson");
    std::fs::write(&file, &converted).unwrap();
    let dry = local(folder.path(), &["import", "keygen.ndjson", "--dry-run"]);
    assert!(dry.status.success(), "{:?}", said(&dry));
    let done = local(folder.path(), &["import", "keygen.ndjson"]);
    let (answers, refused) = said(&done);
    assert!(done.status.success(), "{answers}{refused}");
    let summary = lines(&answers).pop().unwrap()["summary"].clone();
    // The last line of the suspended license changes its status.
    let counts = [&summary["created"], &summary["updated"], &summary["refused"]];
    assert_eq!(counts, [&json!(30), &json!(1), &json!(0)], "{answers}");
    let again = local(folder.path(), &["import", "keygen.ndjson"]);
    assert_eq!(lines(&said(&again).0).pop().unwrap()["summary"]["unchanged"], 31);

    let server = Server::start(folder.path());
    for key in [
        "C1B6DE-39A6E3-DE1529-8559A0-4AF593-V3",
        "key/aGVsbG8td29ybGQ=.c2lnbmF0dXJlLW9mLXRoZS1rZXk=",
        "F2A7DE-39A6E3-DE1529-8559A0-4AF593-V3",
    ] {
        assert_eq!(validate(&server, key), "valid", "{key}");
    }
    assert_eq!(validate(&server, "AAAAAA-39A6E3-DE1529-8559A0-4AF593-V3"), "license_suspended");
    assert_eq!(validate(&server, "BBBBBB-39A6E3-DE1529-8559A0-4AF593-V3"), "key_unknown");
    drop(server);

    // A later export, in which the suspended license is active.
    let later = folder.path().join("later");
    std::fs::create_dir(&later).unwrap();
    for file in std::fs::read_dir(&lists).unwrap() {
        let file = file.unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        let text = text.replace("\"SUSPENDED\"", "\"ACTIVE\"");
        let text = text.replace("\"suspended\": true", "\"suspended\": false");
        std::fs::write(later.join(file.file_name()), text).unwrap();
    }
    let (converted, _) = said(&local(folder.path(), &["import", "keygen", "later"]));
    std::fs::write(&file, &converted).unwrap();
    let done = said(&local(folder.path(), &["import", "keygen.ndjson"])).0;
    let summary = lines(&done).pop().unwrap()["summary"].clone();
    let counts = [&summary["created"], &summary["updated"], &summary["refused"]];
    assert_eq!(counts, [&json!(1), &json!(1), &json!(0)], "{done}");
    let server = Server::start(folder.path());
    assert_eq!(validate(&server, "AAAAAA-39A6E3-DE1529-8559A0-4AF593-V3"), "valid");
}

#[test]
fn folder_that_is_no_export_is_refused_in_plain_words() {
    let folder = folder();
    let refused = |content: Option<&str>| {
        if let Some(content) = content {
            std::fs::write(folder.path().join("list.json"), content).unwrap();
        }
        let output = local(folder.path(), &["import", "keygen", "."]);
        assert_eq!(output.status.code(), Some(1));
        said(&output).1
    };
    assert!(refused(None).contains(". has no .json files"));
    assert!(refused(Some("{")).contains("./list.json: EOF"));
    assert!(refused(Some("{}")).contains("must be an answer of Keygen's API"));
    assert!(refused(Some("{\"data\": [{}]}")).contains("a resource has no `type`"));
}

#[test]
fn refused_lines_are_an_error_and_files_are_checked_first() {
    let folder = folder();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("one.csv", "external_id,name\na,A\nb,\n");
    assert!(local(folder.path(), &["migrate"]).status.success());
    let output = local(folder.path(), &["import", "one.csv", "--kind", "organization"]);
    let (answers, error) = said(&output);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(error, "error: 1 created, 0 updated, 0 unchanged, 1 refused\n");
    let answers = lines(&answers);
    assert_eq!((&answers[0]["line"], &answers[0]["status"]), (&json!(2), &json!("created")));
    assert_eq!((&answers[1]["line"], &answers[1]["status"]), (&json!(3), &json!("refused")));
    assert_eq!(answers[2]["summary"]["lines"], 2);

    for (words, why) in [
        (&["import", "missing.ndjson"][..], "cannot read missing.ndjson"),
        (&["import", "one.csv"], "either a column `kind` or --kind"),
        (&["import", "x.ndjson", "--kind", "user"], "--kind is for CSV files"),
        (&["import"], "required"),
        (&["import", "keygen", ".", "--url", "http://127.0.0.1:1"], "accepts no --url"),
    ] {
        let output = local(folder.path(), words);
        assert!(!output.status.success(), "{words:?}");
        assert!(said(&output).1.contains(why), "{words:?}: {}", said(&output).1);
    }
}

#[test]
fn lines_from_standard_input_reach_a_running_server() {
    let folder = folder();
    let server = Server::start(folder.path());
    let mut child = command(folder.path())
        .args(["import", "-"])
        .env("CP_URL", format!("http://{}", server.address))
        .env("CP_TOKEN", TOKEN)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let line = json!({"kind": "organization", "external_id": "a", "name": "A"});
    writeln!(child.stdin.take().unwrap(), "{line}").unwrap();
    let output = child.wait_with_output().unwrap();
    let (answers, error) = said(&output);
    assert!(output.status.success() && error.is_empty(), "{answers}{error}");
    assert_eq!(lines(&answers)[1]["summary"]["created"], 1);
    let wrong = command(folder.path())
        .args(["import", "-"])
        .env("CP_URL", format!("http://{}", server.address))
        .env("CP_TOKEN", "cpat_wrong")
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(said(&wrong).1.contains("unauthenticated (401)"), "{}", said(&wrong).1);
}

/// A file with this many organizations.
fn organizations(folder: &Path, count: usize) -> PathBuf {
    let path = folder.join(format!("{count}.ndjson"));
    let mut text = String::new();
    for n in 0..count {
        let line = json!({
            "kind": "organization", "external_id": format!("o-{n}"), "name": format!("Many {n}"),
            "metadata": {"text": "x".repeat(200)},
        });
        text.push_str(&format!("{line}\n"));
    }
    std::fs::write(&path, text).unwrap();
    path
}

fn import(server: &Server, folder: &Path, file: &Path) -> Command {
    let mut import = command(folder);
    import
        .arg("import")
        .arg(file)
        .env("CP_URL", format!("http://{}", server.address))
        .env("CP_TOKEN", TOKEN);
    import
}

/// Linux alone reports the peak memory of a process.
#[cfg(target_os = "linux")]
#[test]
fn import_of_many_lines_takes_flat_memory() {
    let folder = folder();
    let server = Server::start(folder.path());
    let process = format!("/proc/{}", server.child.id());
    let peak = |count: usize| {
        let file = organizations(folder.path(), count);
        // 5 forgets the peak that was (proc(5), clear_refs).
        std::fs::write(format!("{process}/clear_refs"), "5").unwrap();
        let output = import(&server, folder.path(), &file).output().unwrap();
        assert!(output.status.success(), "{}", said(&output).1);
        let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
    };
    let (few, many) = (peak(1000), peak(6000));
    assert!(many < few + 24 * 1024, "6,000 lines need {many} kB, 1,000 lines {few} kB");
}

#[test]
fn killed_import_leaves_whole_transactions_and_is_completed_by_the_next_one() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    let file = organizations(folder.path(), 4000);
    let mut running = import(&server, folder.path(), &file).spawn().unwrap();
    let created = |server: &Server| {
        let path = "/api/v1/organizations?limit=1&external_id=o-499";
        let (_, answer) = server.call("GET", path, None, "x");
        !answer["items"].as_array().unwrap().is_empty()
    };
    while !created(&server) {
        std::thread::sleep(PAUSE);
    }
    server.signal(Signal::KILL);
    server.wait();
    assert!(!running.wait().unwrap().success());

    let server = Server::start(folder.path());
    let output = import(&server, folder.path(), &file).output().unwrap();
    let (answers, error) = said(&output);
    assert!(output.status.success(), "{error}");
    let summary = lines(&answers).pop().unwrap()["summary"].clone();
    let unchanged = summary["unchanged"].as_u64().unwrap();
    assert!(unchanged >= 500 && unchanged.is_multiple_of(500), "{summary}");
    assert_eq!(summary["created"], 4000 - unchanged);
}
