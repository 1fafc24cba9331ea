//! What the program refuses before it touches a token.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

/// Why the program ended.
fn refusal(folder: &Path, more: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_cp-signer"))
        .current_dir(folder)
        .env_clear()
        .args(["--module", "no-such-library.so", "--token-label", "licenses"])
        .args(["--pin-file", "pin", "--bearer-token-file", "bearer"])
        .args(more)
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

fn secret(folder: &Path, name: &str, text: &str, mode: u32) {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn address_of_other_machines_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = refusal(folder.path(), &["--listen", "0.0.0.0:8802"]);
    assert!(refused.contains("of this machine only"), "{refused}");
}

#[test]
fn secrets_that_others_can_read_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    secret(folder.path(), "pin", "canary-pin\n", 0o644);
    secret(folder.path(), "bearer", "canary-token-of-the-signer\n", 0o600);
    let refused = refusal(folder.path(), &[]);
    assert!(refused.contains("pin: others can read it; run chmod 600 on it"), "{refused}");
    assert!(!refused.contains("canary"), "{refused}");
}

#[test]
fn empty_secrets_and_missing_libraries_are_named() {
    let folder = tempfile::tempdir().unwrap();
    secret(folder.path(), "pin", "\n", 0o600);
    secret(folder.path(), "bearer", "canary-token-of-the-signer\n", 0o600);
    let refused = refusal(folder.path(), &[]);
    assert!(refused.contains("pin: it is empty"), "{refused}");
    secret(folder.path(), "pin", "canary-pin\n", 0o600);
    let refused = refusal(folder.path(), &[]);
    assert!(refused.contains("the PKCS#11 library no-such-library.so"), "{refused}");
    assert!(!refused.contains("canary"), "{refused}");
}
