//! Commands that work on an installation, where there is none.

use super::crash::postgres;
use super::server::{command, folder};

#[test]
fn client_command_in_an_empty_folder_leaves_it_empty() {
    let folder = folder();
    let id = "01900000-0000-7000-8000-000000000000";
    let without_an_installation =
        [&["operations"][..], &["openapi"], &["completions", "bash"], &["--help"]];
    let on_an_installation = [
        &["call", "organizations.list"][..],
        &["call", "organizations.create", "name=Acme"],
        &["token", "whoami"],
        &["token", "create", "ci", "--permission", "org:read"],
        &["org", "create", "Acme"],
        &["org", "quota", "acme"],
        &["member", "list", "acme"],
        &["usage", "summary", "acme"],
        &["license", "issue", id],
        &["license", "show", id],
        &["license", "export", id],
        &["keys", "list"],
        &["keys", "rotate"],
        &["keys", "export-public"],
        &["keys", "import", "key.pem"],
        &["keys", "rekey"],
        &["audit", "checkpoint"],
        &["audit", "tail"],
        &["audit", "key", "rotate"],
        &["clock", "accept", "--reason", "x"],
    ];
    let elsewhere = ["token", "whoami", "--url", "http://127.0.0.1:1", "--token", "x"];
    let run = |arguments: &[&str]| {
        let output = command(folder.path()).args(arguments).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 0, "{arguments:?} leaves {left} files: {said}");
        (output.status.success(), said)
    };
    for arguments in without_an_installation {
        assert!(run(arguments).0, "{arguments:?}");
    }
    for arguments in on_an_installation {
        let (done, said) = run(arguments);
        assert!(!done && said.contains("there is no data/control-plane.db"), "{said}");
        assert!(said.contains("`cp-server serve`") && said.contains("--url"), "{said}");
    }
    for arguments in [&["audit", "verify"][..], &["backup"], &elsewhere] {
        assert!(!run(arguments).0, "{arguments:?}");
    }
}

#[test]
fn client_command_leaves_an_empty_postgresql_database_empty() {
    let Some(database) = postgres("clients") else { return };
    let folder = folder();
    // The second one would find what the first one has made.
    for _ in 0..2 {
        let mut command = command(folder.path());
        let command = command.env("CP_DATABASE_URL", &database).args(["org", "create", "Acme"]);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && said.contains("there is no installation in it"),
            "{said}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
