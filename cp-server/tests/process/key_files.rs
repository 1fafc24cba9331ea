//! The files of the key-encryption key, and commands of keys on a running server.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cp_server::licensing::keys::signer::LocalKey;
use serde_json::Value;

use super::server::{Server, TOKEN, command, folder};

fn run(folder: &Path, variables: &[(&str, &str)], arguments: &[&str]) -> (bool, String) {
    let mut command = command(folder);
    let output = command.envs(variables.iter().copied()).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn every_old_key_stays_and_is_named_for_its_backup() {
    let folder = folder();
    let done = |arguments: &[&str]| {
        let (done, said) = run(folder.path(), &[], arguments);
        assert!(done, "{arguments:?}: {said}");
        said
    };
    done(&["migrate"]);
    done(&["backup", "--out", "a.cpbackup"]);
    assert!(done(&["keys", "rekey"]).contains("keys/kek.old,"));
    done(&["backup", "--out", "b.cpbackup"]);
    assert!(done(&["keys", "rekey"]).contains("keys/kek.old.2,"));
    done(&["backup", "--out", "c.cpbackup"]);
    assert!(done(&["restore", "--check", "c.cpbackup"]).contains("is good"));
    for (backup, file) in [("a.cpbackup", "kek.old"), ("b.cpbackup", "kek.old.2")] {
        for mode in ["--check", "--replace"] {
            let (done, said) = run(folder.path(), &[], &["restore", mode, backup]);
            let advice = format!("keys/{file} for this command");
            assert!(!done && said.contains(&advice), "{backup} {mode}: {said}");
        }
        let file = format!("keys/{file}");
        let key = [("CP_KEY_ENCRYPTION_KEY_FILE", &*file)];
        let (done, said) = run(folder.path(), &key, &["restore", "--check", backup]);
        assert!(done && said.contains("is good"), "{backup}: {said}");
    }
    let (done, said) = run(folder.path(), &[], &["keys", "rekey", "--new-key-file", "keys/kek"]);
    assert!(!done && said.contains("contains the present key-encryption key"), "{said}");
}

/// The keys of the folder after a change that was interrupted, and was then finished by a command.
fn finished(interrupt: impl Fn(&Path), arguments: &[&str]) {
    let folder = folder();
    assert!(run(folder.path(), &[], &["migrate"]).0);
    let keys = folder.path().join("keys");
    let first = fs::read(keys.join("kek")).unwrap();
    assert!(run(folder.path(), &[], &["keys", "rekey"]).0);
    let second = fs::read(keys.join("kek")).unwrap();
    interrupt(&keys);
    let (done, said) = run(folder.path(), &[], arguments);
    assert!(done, "{arguments:?}: {said}");
    assert_eq!(fs::read(keys.join("kek")).unwrap(), second);
    assert_eq!(fs::read(keys.join("kek.old")).unwrap(), first);
    assert!(!keys.join("kek.new").exists() && !keys.join("kek.old.2").exists());
}

#[test]
fn interrupted_change_of_the_key_is_finished_from_every_point() {
    let rename =
        |keys: &Path, from: &str, to: &str| fs::rename(keys.join(from), keys.join(to)).unwrap();
    for arguments in [&["migrate"][..], &["backup", "--out", "a.cpbackup"]] {
        // After the database, before the files.
        finished(
            |keys| {
                rename(keys, "kek", "kek.new");
                rename(keys, "kek.old", "kek");
            },
            arguments,
        );
        // After the old key got another name.
        finished(
            |keys| {
                rename(keys, "kek", "kek.new");
                fs::hard_link(keys.join("kek.old"), keys.join("kek")).unwrap();
            },
            arguments,
        );
        // After an earlier version moved the old key away.
        finished(|keys| rename(keys, "kek", "kek.new"), arguments);
    }
}

#[test]
fn key_encryption_key_does_not_change_beside_a_server() {
    let folder = folder();
    let server = Server::start(folder.path());
    let before = fs::read(folder.path().join("keys/kek")).unwrap();
    let (done, said) = run(folder.path(), &[], &["keys", "rekey"]);
    assert!(!done && said.contains("is in use; stop the server first"), "{said}");
    assert_eq!(fs::read(folder.path().join("keys/kek")).unwrap(), before);
    assert_eq!(server.call("GET", "/readyz", None, "x").0, 200);
}

#[test]
fn key_is_imported_into_the_server_of_cp_url() {
    let home = folder();
    let server = Server::start(home.path());
    let folder = folder();
    let der = STANDARD.encode(LocalKey::generate(2048).unwrap().to_pkcs8().unwrap());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
    let path = folder.path().join("key.pem");
    fs::write(&path, pem).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let url = format!("http://{}", server.address);
    let target = [("CP_URL", &*url), ("CP_TOKEN", TOKEN)];

    let (done, said) = run(folder.path(), &target, &["keys", "import", "key.pem"]);
    assert!(done && said.contains(" is published"), "{said}");
    let kid = said.split(' ').next().unwrap();
    let (status, key) = server.call("GET", &format!("/api/v1/signing/keys/{kid}"), None, "x");
    assert_eq!((status, &key["state"]), (200, &Value::from("published")));
    let (done, said) = run(folder.path(), &target, &["keys", "export-public"]);
    let (_, jwks) = server.call("GET", "/.well-known/jwks.json", None, "x");
    assert!(done, "{said}");
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap(), jwks);
    assert!(said.contains(kid), "{said}");
    // Nothing is created here.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let (done, said) = run(folder.path(), &[], &["keys", "import", "key.pem"]);
    assert!(!done && said.contains("there is no data/control-plane.db"), "{said}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}
