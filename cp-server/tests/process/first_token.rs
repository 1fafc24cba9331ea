//! The first service token: where it is shown, and where it is not.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use super::server::{KEK, Server, command, folder, refusal};

/// As an operator starts it who gives no token.
fn plain(folder: &Path) -> Command {
    let mut command = command(folder);
    command.env_remove("CP_BOOTSTRAP_TOKEN");
    command
}

fn me(server: &Server, token: &str) -> u16 {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let request = axum::http::Request::builder()
        .uri(format!("http://{}/api/v1/me", server.address))
        .header("authorization", format!("Bearer {token}"));
    agent.run(request.body(()).unwrap()).unwrap().status().as_u16()
}

#[test]
fn without_a_terminal_the_first_token_is_in_a_file_and_in_no_log() {
    let folder = folder();
    let path = folder.path().join("keys/bootstrap-token");
    let mut server = Server::run(plain(folder.path()).arg("serve").env("CP_LOG", "trace"));
    let token = std::fs::read_to_string(&path).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600);
    assert_eq!(me(&server, token.trim_end()), 200);
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    let said = server.said.lock().unwrap().clone();
    assert!(said.contains("keys/bootstrap-token"), "{said}");
    let secret = token.trim_end().split('_').nth(2).unwrap();
    assert!(!said.contains(secret), "the token is in the log");
    assert_eq!(
        std::fs::read_dir(folder.path().join("keys")).unwrap().count(),
        2,
        "no draft is left"
    );

    // Made once: the file may be deleted, and is not made again.
    std::fs::remove_file(&path).unwrap();
    let server = Server::run(plain(folder.path()).arg("serve"));
    assert_eq!(me(&server, token.trim_end()), 200);
    assert!(!path.exists());
}

#[test]
fn on_a_terminal_the_first_token_is_shown_and_in_no_file() {
    let folder = folder();
    let script =
        ["/usr/bin/script", "/bin/script"].into_iter().find(|path| Path::new(path).exists());
    // util-linux, which gives a command a terminal.
    let script = script.expect("the tests need `script` of util-linux");
    let binary = env!("CARGO_BIN_EXE_cp-server");
    let output = Command::new(script)
        .args(["-qec", &format!("{binary} quickstart --no-serve"), "/dev/null"])
        .current_dir(folder.path())
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("export CP_TOKEN=cpat_"), "{said}");
    assert!(!folder.path().join("keys/bootstrap-token").exists());
}

#[test]
fn the_quickstart_without_a_terminal_names_the_file() {
    let folder = folder();
    let run = || {
        let output = plain(folder.path()).args(["quickstart", "--no-serve"]).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{said}");
        assert!(!said.contains("cpat_"), "{said}");
        said
    };
    let token = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap();
    for _ in 0..2 {
        assert!(run().contains("export CP_TOKEN=\"$(cat keys/bootstrap-token)\""));
        assert!(!folder.path().join("keys/quickstart-token").exists());
    }
    // The operator keeps it elsewhere: there is another one from then on.
    let kept = token("keys/bootstrap-token");
    std::fs::remove_file(folder.path().join("keys/bootstrap-token")).unwrap();
    assert!(run().contains("export CP_TOKEN=\"$(cat keys/quickstart-token)\""));
    let second = token("keys/quickstart-token");
    assert!(run().contains("export CP_TOKEN=\"$(cat keys/quickstart-token)\""));
    assert_eq!(token("keys/quickstart-token"), second);
    std::fs::write(folder.path().join("keys/bootstrap-token"), kept).unwrap();
    let mode = Permissions::from_mode(0o600);
    std::fs::set_permissions(folder.path().join("keys/bootstrap-token"), mode).unwrap();
    let mut server = Server::run(plain(folder.path()).arg("serve"));
    for file in ["keys/bootstrap-token", "keys/quickstart-token"] {
        let path = folder.path().join(file);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(me(&server, std::fs::read_to_string(path).unwrap().trim_end()), 200, "{file}");
    }
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    // The operator's own is not printed either.
    let output = command(folder.path()).args(["quickstart", "--no-serve"]).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("export CP_TOKEN=\"$CP_BOOTSTRAP_TOKEN\""), "{said}");
    assert!(!said.contains(super::server::TOKEN), "{said}");
}

#[test]
fn a_first_token_that_cannot_be_written_refuses_the_start() {
    let folder = folder();
    // A file where the folder should be: no user can write into it.
    std::fs::write(folder.path().join("keys"), "").unwrap();
    let said = refusal(plain(folder.path()).env("CP_KEY_ENCRYPTION_KEY", KEK));
    assert!(said.contains("CP_BOOTSTRAP_TOKEN_FILE"), "{said}");
    std::fs::remove_file(folder.path().join("keys")).unwrap();
    // The refusal used nothing up.
    let server = Server::run(plain(folder.path()).env("CP_KEY_ENCRYPTION_KEY", KEK).arg("serve"));
    let token = std::fs::read_to_string(folder.path().join("keys/bootstrap-token")).unwrap();
    assert_eq!(me(&server, token.trim_end()), 200);
}

#[test]
fn settings_with_passwords_may_be_in_files() {
    let folder = folder();
    let url = folder.path().join("url");
    std::fs::write(&url, "sqlite:data/from-a-file.db\n").unwrap();
    std::fs::set_permissions(&url, Permissions::from_mode(0o600)).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = plain(folder.path());
        command.env("CP_DATABASE_URL_FILE", &url).args(arguments).output().unwrap()
    };
    assert!(run(&["migrate"]).status.success());
    let made = run(&["org", "create", "Acme"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(made["slug"], "acme");
    assert!(folder.path().join("data/from-a-file.db").exists());
    std::fs::set_permissions(&url, Permissions::from_mode(0o644)).unwrap();
    let said = refusal(plain(folder.path()).env("CP_DATABASE_URL_FILE", &url));
    assert!(said.contains("CP_DATABASE_URL_FILE") && said.contains("chmod 600"), "{said}");
}
