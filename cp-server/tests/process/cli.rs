//! The command line: help, output, verbs and completion.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::runbooks;
use super::server::{Server, TOKEN, command, folder};
use super::tls;

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn help_shows_settings_only_where_they_are_asked_for() {
    let folder = folder();
    let run = |words: &[&str]| text(&command(folder.path()).args(words).output().unwrap());
    for words in [&["help", "settings"][..], &["settings"], &["serve", "-h"], &["serve", "--help"]]
    {
        let help = run(words);
        assert!(help.contains("--database-url") && help.contains("CP_BUNDLE_TTL"), "{words:?}");
    }
    let (short, long) = (run(&["org", "show", "-h"]), run(&["help", "org", "show"]));
    assert!(!short.contains("--url") && !long.contains("--database-url"), "{short}\n{long}");
    assert!(long.contains("--url") && long.contains("--output <table|json|id>"), "{long}");
    assert_eq!(run(&["org", "show", "--help"]), long);
}

#[test]
fn usage_lines_do_not_depend_on_the_environment() {
    let folder = folder();
    let usage = |words: &[&str], is_set: bool| {
        let mut command = command(folder.path());
        command.env_clear().args(words);
        if is_set {
            for (name, value) in [
                ("CP_URL", "http://127.0.0.1:1"),
                ("CP_TOKEN", "x"),
                ("CP_BASE_URL", "https://a.example"),
                ("CP_LISTEN", "127.0.0.1:1"),
                ("CP_KEYS_DIR", "elsewhere"),
                ("CP_LOG", "debug"),
            ] {
                command.env(name, value);
            }
        }
        let output = command.output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let usage = said.lines().skip_while(|line| !line.starts_with("Usage:"));
        usage.take_while(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    for words in [
        &["license", "issue"][..],
        &["license", "issue", "x", "y"],
        &["license", "show", "x", "--nothing"],
        &["org", "create"],
        &["call"],
        &["serve", "--nothing"],
        &["plan", "create", "--help"],
        &["backup", "-h"],
    ] {
        let plain = usage(words, false);
        assert!(!plain.is_empty(), "{words:?}");
        assert_eq!(usage(words, true), plain, "{words:?}");
        assert!(!plain.join(" ").contains("--url"), "{plain:?}");
    }
    assert_eq!(
        usage(&["license", "show", "x", "--nothing"], true),
        ["Usage: cp-server license show [OPTIONS] <ID>"]
    );
}

/// A server, and a client of it.
struct Client {
    folder: tempfile::TempDir,
    server: Server,
}

impl Client {
    fn new() -> Self {
        let folder = folder();
        let server = Server::start(folder.path());
        Self { folder, server }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = command(self.folder.path());
        command.env("CP_URL", format!("http://{}", self.server.address)).env("CP_TOKEN", TOKEN);
        command.args(words);
        command
    }

    fn run(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        text(&output).trim_end().to_owned()
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.run(words)).unwrap()
    }

    fn refused(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        assert!(!output.status.success(), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    }
}

#[test]
fn first_customer_needs_no_call() {
    let client = Client::new();
    let limits = ["--limits", "projects=20", "--limits", "{\"x_reports\": \"unlimited\"}"];
    let plan =
        [&["plan", "create", "growth", "--name", "Growth", "--is-public=false"], &limits[..]];
    let plan = client.json(&plan.concat());
    assert_eq!(plan["limits"], json!({"projects": 20, "x_reports": null}));
    assert_eq!((&plan["seat_cap"], &plan["is_public"]), (&Value::Null, &json!(false)));
    let refused = client.refused(&["org", "create", "Acme", "--plan", "growth"]);
    assert!(refused.contains("`seat_cap` is required: plan `growth` sets none"), "{refused}");
    client.run(&["org", "create", "Acme", "--plan", "growth", "--seats", "7"]);
    assert!(client.run(&["org", "list", "-o", "table"]).contains("acme"));
    assert!(client.run(&["plan", "list", "-o", "id"]).lines().any(|code| code == "growth"));

    let subscription = client.run(&["subscription", "list", "acme", "-o", "id"]);
    let end = ["--ends-at", "2040-01-01T00:00:00Z"];
    let changed = client.json(&[&["subscription", "update", &subscription], &end[..]].concat());
    assert_eq!(changed["ends_at"], "2040-01-01T00:00:00Z");
    assert_eq!((&changed["seat_cap"], &changed["seats_from_plan"]), (&json!(7), &json!(false)));

    let deployment = ["deployment", "create", "acme", "plant", "--type", "onprem", "-o", "id"];
    let deployment = client.run(&deployment);
    assert_eq!(client.json(&["deployment", "show", &deployment])["name"], "plant");
    let license = ["license", "create", &deployment, "--subscription", &subscription];
    let license = client.run(&[&license[..], &["--features", "exports=pdf", "-o", "id"]].concat());
    let shown = client.json(&["license", "show", &license]);
    assert_eq!(shown["features"], json!({"exports": "pdf"}));
    for list in [&["license", "list", "acme", "-o", "id"][..], &["license", "list", "-o", "id"]] {
        assert_eq!(client.run(list), license);
    }

    let issued = client.json(&["license", "issue", &license, "--ttl", "2d"]);
    let payload = &issued["payload"];
    let lifetime = payload["exp"].as_i64().unwrap() - payload["iat"].as_i64().unwrap();
    assert_eq!(lifetime, 2 * 86_400);
    let id = format!("id={license}");
    let issued = client.json(&["call", "bundles.issue", &id, "ttl_seconds=90m"]);
    let payload = &issued["payload"];
    let lifetime = payload["exp"].as_i64().unwrap() - payload["iat"].as_i64().unwrap();
    assert_eq!(lifetime, 5400);

    let other = client.json(&["subscription", "cancel", &subscription, "--reason", "test"]);
    assert_eq!(other["status"], "canceled");
    let next = ["subscription", "create", "acme", "team", "--seats", "3"];
    assert_eq!(client.json(&next)["seat_cap"], 3);
}

#[test]
fn output_is_a_table_json_or_ids() {
    let client = Client::new();
    for name in ["Acme", "Globex"] {
        client.run(&["org", "create", name]);
    }
    let listed = client.json(&["org", "list"]);
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 2);
    let ids: Vec<&str> = items.iter().map(|item| item["id"].as_str().unwrap()).collect();
    // The global options are also accepted before the command.
    assert_eq!(client.run(&["--output", "id", "org", "list"]), ids.join("\n"));
    assert_eq!(client.run(&["call", "organizations.list", "-o", "id"]), ids.join("\n"));
    let table = client.run(&["org", "list", "--output", "table"]);
    let lines: Vec<&str> = table.lines().collect();
    let head: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(head[..4], ["ID", "SLUG", "NAME", "STATUS"], "{table}");
    assert!(lines[1].starts_with(&format!("{}  globex", ids[0])), "{table}");
    assert_eq!(lines.len(), 3, "{table}");
    let page = client.run(&["org", "list", "--limit", "1", "--output", "table"]);
    assert!(page.contains("There are more"), "{page}");
    let shown = client.run(&["org", "show", "acme", "--output", "table"]);
    assert!(shown.lines().any(|line| line.split_whitespace().eq(["slug", "acme"])), "{shown}");
    let none = client.run(&["license", "list", "-o", "id"]);
    assert_eq!(none, "");
    let refused = client.refused(&["org", "list", "--output", "xml"]);
    assert!(refused.contains("--output must be table, json or id"), "{refused}");
    let refused = client.refused(&["token", "create", "x"]);
    assert!(refused.contains("--permission is required"), "{refused}");
    let refused = client.refused(&["backup", "--url", "http://127.0.0.1:1"]);
    assert!(refused.contains("accepts no --url"), "{refused}");
}

#[test]
fn operation_is_shown_with_its_fields_and_an_example() {
    let folder = folder();
    let run = |words: &[&str]| text(&command(folder.path()).args(words).output().unwrap());
    let shown = run(&["operations", "licenses.create"]);
    // The widths of the columns depend on the fields.
    let words = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "POST /api/v1/deployments/{id}/licenses",
        "permission licenses:write",
        " id* string (uuid) The ID of the deployment. ",
        " subscription_id ",
        " valid_until string (date-time) The license's end",
        " leasing.<name>.cap ",
        "cp-server call licenses.create id=ID",
    ] {
        assert!(words.contains(part), "{part}:\n{shown}");
    }
    let help = run(&["call", "licenses.create", "--help"]);
    assert!(help.contains("  id*  "), "{help}");
    let shown = run(&["operations", "bundles.issue"]);
    assert!(shown.contains("or a span such as 30d"), "{shown}");
    let shown = run(&["operations", "leases.claim"]);
    assert!(shown.contains("\n  holder.email "), "{shown}");
    let shown = run(&["operations", "bindings.replace"]);
    assert!(shown.contains("\n  items[].scope* "), "{shown}");
    let listed = run(&["operations"]);
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains(&"licenses.create") && names.is_sorted(), "{listed}");
}

/// Completes the last word of a line in bash, as a terminal would.
fn completed(client: &Client, line: &str) -> Vec<String> {
    let words: Vec<&str> = line.split(' ').collect();
    let script = format!(
        "source <(cp-server completions bash)\n\
         COMP_WORDS=({}) COMP_CWORD={} COMP_TYPE=9\n\
         _clap_complete_cp_server cp-server \"$WORD\" ''\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" "),
        words.len() - 1
    );
    let word = [("WORD", *words.last().unwrap())];
    let said = runbooks::run(client.folder.path(), &client.server, &word, &script);
    said.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_operations_fields_and_ids() {
    let client = Client::new();
    client.run(&["org", "create", "Acme"]);
    client.run(&["org", "create", "Acorn"]);
    let script = client.run(&["completions", "bash"]);
    assert!(script.lines().count() < 60, "{script}");
    assert_eq!(completed(&client, "cp-server licen"), ["license"]);
    assert_eq!(completed(&client, "cp-server plan cr"), ["create"]);
    assert_eq!(completed(&client, "cp-server plan create growth --na"), ["--name"]);
    let plans = completed(&client, "cp-server call plans.");
    assert!(plans.len() > 5 && plans.iter().all(|name| name.starts_with("plans.")), "{plans:?}");
    assert_eq!(completed(&client, "cp-server operations licenses.ren"), ["licenses.renew"]);
    let fields = completed(&client, "cp-server call licenses.create va");
    assert_eq!(fields, ["valid_from=", "valid_until="]);
    // Bash makes words of `name`, `=` and the value.
    assert_eq!(completed(&client, "cp-server call deployments.create org = acm"), ["acme"]);
    assert_eq!(completed(&client, "cp-server call deployments.create type = on"), ["onprem"]);
    assert_eq!(completed(&client, "cp-server org show ac"), ["acorn", "acme"]);
    assert!(completed(&client, "cp-server plan show te").contains(&"team".to_owned()));
    let plans = completed(&client, "cp-server subscription update x --plan te");
    assert!(plans.contains(&"team".to_owned()), "{plans:?}");
    let bundles = client.server.license();
    let license = bundles.trim_start_matches("/licenses/").trim_end_matches("/bundles");
    let issued = client.server.post(&bundles, json!({}));
    let key = client.server.post(&bundles.replace("/bundles", "/keys"), json!({"name": "a"}));
    let holder = json!({"holder": {"id": "a"}});
    let lease = client.server.post(&bundles.replace("/bundles", "/leases"), holder);
    let member = |object: &Value, name: &str| object[name].as_str().unwrap().to_owned();
    for (line, candidate) in [
        ("license issue ", license.to_owned()),
        ("license export ", license.to_owned()),
        ("license token ", license.to_owned()),
        ("license key list ", license.to_owned()),
        ("license issue --all --organization ac", "acme".to_owned()),
        ("lease borrow ", member(&lease, "id")),
        ("lease show ", member(&lease, "id")),
        ("lease release ", member(&lease, "id")),
        ("license key revoke ", member(&key, "id")),
        ("keys show ", member(&issued, "key_id")),
        ("call bundles.read jti = ", member(&issued, "jti")),
    ] {
        let found = completed(&client, &format!("cp-server {line}"));
        assert!(found.contains(&candidate), "{line}: {found:?}");
    }
    let hidden = completed(&client, "cp-server org list --");
    assert!(hidden.contains(&"--status".to_owned()), "{hidden:?}");
    assert!(!hidden.contains(&"--database-url".to_owned()), "{hidden:?}");
}

#[test]
fn server_with_a_private_authority_is_reached_with_its_certificate() {
    let folder = folder();
    tls::renew(folder.path());
    let mut serve = command(folder.path());
    serve.env("CP_TLS_CERT", "cert.pem").env("CP_TLS_KEY", "key.pem");
    let server = Server::run(serve.arg("serve"));
    let run = |more: &[&str], ca: Option<&str>| {
        let mut command = command(folder.path());
        let url = format!("https://localhost:{}", server.address.port());
        command.env("CP_URL", url).env("CP_TOKEN", TOKEN).args(["token", "whoami"]).args(more);
        command.envs(ca.map(|path| ("CP_CA_FILE", PathBuf::from(path))));
        command.output().unwrap()
    };
    assert!(!run(&[], None).status.success());
    assert!(run(&["--ca", "cert.pem"], None).status.success());
    assert!(run(&[], Some("cert.pem")).status.success());
    let refused = String::from_utf8(run(&["--ca", "key.pem"], None).stderr).unwrap();
    assert!(refused.contains("--ca: key.pem: contains no certificate"), "{refused}");
}

#[test]
fn list_is_a_table_on_a_terminal_and_fits_it() {
    let client = Client::new();
    client.run(&["org", "create", "Acme"]);
    // `script` runs a command on a terminal of its own.
    let on_terminal = |columns: u32| {
        let line = format!("stty cols {columns} rows 24; cp-server org list");
        let commands = format!("script -qec '{line}' /dev/null");
        let said = runbooks::run(client.folder.path(), &client.server, &[], &commands);
        let lines: Vec<String> = said.lines().map(|line| line.trim_end().to_owned()).collect();
        assert_eq!(lines.len(), 2, "{said}");
        lines[0].split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(on_terminal(60), ["ID", "SLUG", "NAME", "STATUS"]);
    assert_eq!(on_terminal(45), ["ID", "SLUG"]);
}

#[test]
fn long_work_is_silent_in_a_pipe() {
    let folder = folder();
    for words in [
        &["migrate"][..],
        &["org", "create", "Acme"],
        &["backup", "--out", "a.cpbackup"],
        &["restore", "--check", "a.cpbackup"],
        &["audit", "verify"],
        &["audit", "export"],
        &["license", "issue", "--all"],
        &["keys", "rekey"],
    ] {
        let output = command(folder.path()).args(words).output().unwrap();
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complained.is_empty(), "{words:?}: {complained}");
    }
}
