//! Every command with a noun, and what refusals of the server look like.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::server::{Server, TOKEN, command, folder};

/// The commands of the table of `docs/cli.md` that have a noun.
fn commands() -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/cli.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, table) = page.split_once("| noun | verbs |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| !line.is_empty());
    let words = |text: &str| -> Vec<String> {
        text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let row = |row: &str| {
        let (noun, verbs) = row.trim_matches(['|', ' ']).split_once(" | ")?;
        let noun = words(noun).pop()?;
        Some(words(verbs).into_iter().map(move |verb| format!("{noun} {verb}")))
    };
    rows.filter_map(row).flatten().collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn commands_with_minimal_arguments_end_without_a_panic() {
    let folder = folder();
    let run = |words: &[String]| {
        let mut command = command(folder.path());
        command.env("CP_URL", "http://127.0.0.1:1").env("CP_TOKEN", TOKEN);
        command.args(words).output().unwrap()
    };
    let all = commands();
    assert!(all.len() > 60, "{all:?}");
    for command in all {
        let mut words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        let mut done = run(&words);
        if done.status.code() == Some(2) {
            // The refusal lists what is required, a line each.
            let said = stderr(&done);
            assert!(said.contains("required arguments were not provided"), "{words:?}: {said}");
            let required = said.lines().filter_map(|line| line.strip_prefix("  "));
            let required = required.flat_map(|line| line.split(' '));
            words.extend(required.map(|word| match word.starts_with('<') {
                true => "1".to_owned(),
                false => word.to_owned(),
            }));
            done = run(&words);
        }
        let said = stderr(&done);
        assert!(done.status.code().is_some_and(|code| code < 2), "{words:?}: {said}");
        assert!(!said.contains("panicked"), "{words:?}: {said}");
    }
}

/// A client of a server with a license of Acme.
struct Client {
    folder: tempfile::TempDir,
    server: Server,
    license: String,
}

impl Client {
    fn new() -> Self {
        let folder = folder();
        let server = Server::start(folder.path());
        let bundles = server.license();
        let license = bundles.trim_start_matches("/licenses/").trim_end_matches("/bundles");
        Self { license: license.to_owned(), folder, server }
    }

    fn run(&self, words: &[&str]) -> Result<String, String> {
        let mut command: Command = command(self.folder.path());
        command.env("CP_URL", format!("http://{}", self.server.address)).env("CP_TOKEN", TOKEN);
        let output = command.args(words).output().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap()),
            false => Err(stderr(&output)),
        }
    }

    fn json(&self, words: &[&str]) -> Value {
        serde_json::from_str(&self.run(words).unwrap()).unwrap()
    }
}

#[test]
fn seat_is_claimed_listed_and_released() {
    let client = Client::new();
    let leasing =
        "leasing={\"render\": {\"kind\": \"floating\", \"cap\": 2, \"borrow_seconds\": 86400}}";
    client.json(&["call", "licenses.update", &format!("id={}", client.license), leasing]);
    let claim = ["lease", "claim", &client.license, "{\"id\": \"r-07\"}", "--pool", "render"];
    let plain = client.json(&claim);
    assert_eq!(plain.get("token"), None, "{plain}");
    let with_token = client.json(&[&claim[..], &["--with-token", "--label", "Rack 7"]].concat());
    assert!(with_token["token"].is_string(), "{with_token}");
    assert_eq!(with_token["id"], plain["id"]);

    let table = client.run(&["lease", "list", &client.license, "-o", "table"]).unwrap();
    let mut lines = table.lines().map(|line| line.split("  ").map(str::trim));
    let head: Vec<&str> = lines.next().unwrap().filter(|cell| !cell.is_empty()).collect();
    assert_eq!(head[..5], ["ID", "POOL", "SEAT", "LABEL", "HOLDER"], "{table}");
    let row: Vec<&str> = lines.next().unwrap().filter(|cell| !cell.is_empty()).collect();
    assert_eq!(row[1..4], ["render", "1", "Rack 7"], "{table}");
    assert_eq!(row[4], plain["holder"]["hash"], "{table}");

    let id = plain["id"].as_str().unwrap();
    client.run(&["lease", "release", id]).unwrap();
    assert_eq!(client.json(&["lease", "show", id])["end"], "released");
    let by_path = ["call", "leases.claim", &format!("id={}", client.license), "pool=render"];
    let claimed = client.json(&[&by_path[..], &["holder.id=r-08", "meta.line=four"]].concat());
    assert_eq!(claimed["meta"], json!({"line": "four"}));
}

#[test]
fn license_token_is_written_to_a_file() {
    let client = Client::new();
    let path = client.folder.path().join("plant.license");
    let file = ["license", "token", &client.license, "--form", "file", "--output"];
    let said = client.run(&[&file[..], &["plant.license"]].concat()).unwrap();
    assert!(said.starts_with("plant.license is file "), "{said}");
    assert!(!std::fs::read_to_string(&path).unwrap().is_empty());
    let refused = client.run(&[&file[..], &["plant.license"]].concat()).unwrap_err();
    assert!(refused.contains("files are not overwritten"), "{refused}");
    client.run(&["license", "token", &client.license, "-o", "token.jwt"]).unwrap();
    let token = std::fs::read_to_string(client.folder.path().join("token.jwt")).unwrap();
    assert_eq!(token.trim().split('.').count(), 3, "{token}");
    let printed = client.json(&["license", "token", &client.license]);
    assert!(printed["token"].is_string(), "{printed}");
}

#[test]
fn refused_fields_have_a_line_each() {
    let client = Client::new();
    let refused = client.run(&["call", "plans.create", "seat_cap=-1"]).unwrap_err();
    let lines: Vec<&str> = refused.lines().collect();
    assert_eq!(lines[0], "error: invalid (422):", "{refused}");
    for field in ["`code`", "`name`", "`seat_cap`"] {
        let named = lines[1..].iter().filter(|line| line.starts_with(&format!("  {field}")));
        assert_eq!(named.count(), 1, "{field}: {refused}");
    }
    assert_eq!(lines.len(), 4, "{refused}");
}

#[test]
fn bulk_issuance_accepts_a_slug_and_prints_its_refusal() {
    let client = Client::new();
    let issued = client.run(&["license", "issue", "--all", "--organization", "acme"]).unwrap();
    assert_eq!(issued.lines().count(), 1, "{issued}");
    let unknown = ["license", "issue", "--all", "--organization", "nowhere"];
    let refused = client.run(&unknown).unwrap_err();
    assert_eq!(refused, "error: not_found (404): organization not found\n");
    let wrong = ["license", "issue", "--all", "--ttl", "1"];
    let refused = client.run(&wrong).unwrap_err();
    assert!(refused.starts_with("error: invalid (422): `ttl_seconds` must"), "{refused}");
}

#[test]
fn cause_of_a_failed_connection_is_printed_once() {
    let folder = folder();
    let mut command = command(folder.path());
    command.env("CP_DATABASE_URL", "postgres://cp:secret@127.0.0.1:1/cp").args(["org", "list"]);
    let said = stderr(&command.output().unwrap());
    assert_eq!(said.matches("Connection refused").count(), 1, "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn quantity_keeps_its_digits_in_and_out() {
    let client = Client::new();
    client.server.post("/organizations", json!({"name": "Initech", "slug": "initech"}));
    let digits = "123456789012345.654321";
    let is_shown = |text: &str| text.contains(digits) && !text.contains('\0');
    let recorded = client.run(&["usage", "record", "initech", "fine", digits]).unwrap();
    assert!(recorded.contains(&format!("\"quantity\": {digits}")), "{recorded}");
    for form in ["json", "table"] {
        for operation in ["usage.list", "usage.summarize"] {
            let words = ["call", operation, "org=initech", "--output", form];
            let listed = client.run(&words).unwrap();
            assert!(is_shown(&listed), "{listed}");
        }
    }
    let quantity = format!("quantity={digits}");
    client.run(&["call", "limits.put", "org=initech", "metric=fine", &quantity]).unwrap();
    let exported = client.run(&["audit", "export"]).unwrap();
    assert!(exported.contains(&format!("\"quantity\":{digits}")), "{exported}");
    let refused = client.run(&["usage", "record", "initech", "fine", "1.0000001"]).unwrap_err();
    assert!(refused.contains("at most 6 decimal places"), "{refused}");
}
