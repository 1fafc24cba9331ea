//! The documents for operators, done line by line as they stand there.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::server::{Server, TOKEN, folder};

/// The first block of commands below a heading of a document.
pub fn commands(document: &str, heading: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(document);
    let text = std::fs::read_to_string(path).unwrap();
    let (_, below) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    let (_, block) = below.split_once("```sh\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

/// Runs the commands as an operator does: in a shell, on a running server.
pub fn run(folder: &Path, server: &Server, variables: &[(&str, &str)], commands: &str) -> String {
    let bin = folder.join("bin");
    if !bin.exists() {
        std::fs::create_dir(&bin).unwrap();
        symlink(env!("CARGO_BIN_EXE_cp-server"), bin.join("cp-server")).unwrap();
    }
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", commands])
        .current_dir(folder)
        .env_clear()
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .env("CP_URL", format!("http://{}", server.address))
        .env("CP_TOKEN", TOKEN)
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complained}");
    said
}

#[test]
fn i11_the_runbook_for_a_leaked_key_does_what_it_says() {
    let folder = folder();
    let server = Server::start(folder.path());
    let bundles = server.license();
    let old = server.post(&bundles, json!({}));
    let kid = old["key_id"].as_str().unwrap();
    let (_, jwks) = server.call("GET", "/.well-known/jwks.json", None, "x");
    assert!(jwks.to_string().contains(kid));

    let drill = commands("keys.md", "When a key leaks");
    let said = run(folder.path(), &server, &[("KID", kid)], &drill);

    let answers: Vec<Value> = serde_json::Deserializer::from_str(&said)
        .into_iter::<Value>()
        .map(Result::unwrap)
        .collect();
    let [before, taken_out, after, audit] = &answers[..] else { panic!("{said}") };
    assert_eq!(
        (&before["state"], &before["signed"]["live_bundles"]),
        (&json!("active"), &json!(1))
    );
    assert_eq!(
        (&taken_out["state"], &after["state"]),
        (&json!("compromised"), &json!("compromised"))
    );
    assert_eq!(after["signed"]["live_bundles"], 0);
    assert_eq!(after["signed"]["licenses_to_reissue"], 0);
    assert_eq!(audit["items"][0]["reason"], "seen in a build log");

    let reissued = std::fs::read_to_string(folder.path().join("reissued.ndjson")).unwrap();
    let new: Value = serde_json::from_str(reissued.trim()).unwrap();
    let (_, jwks) = server.call("GET", "/.well-known/jwks.json", None, "x");
    assert!(!jwks.to_string().contains(kid), "the leaked key is still published");
    assert!(jwks.to_string().contains(new["bundle"]["key_id"].as_str().unwrap()));
    let status = |bundle: &Value| {
        let path = format!("/api/v1/bundles/{}", bundle["jti"].as_str().unwrap());
        server.call("GET", &path, None, "x").1["status"].clone()
    };
    assert_eq!((status(&old), status(&new["bundle"])), (json!("revoked"), json!("valid")));
}
