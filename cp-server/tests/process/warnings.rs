//! What the log says about settings that the operator probably did not mean.

use super::server::{Server, command, folder};

#[test]
fn doubtful_settings_are_logged_once_at_the_start() {
    let folder = folder();
    let mut command = command(folder.path());
    command
        .env("CP_DATABASE_URLS", "x")
        .env("CP_SOMETHING", "secret-value")
        .env("CP_SERVER_SERVICE_HOST", "10.0.0.1")
        .env("CP_BASE_URL", "http://lic.example.com");
    let server = Server::run(command.arg("serve"));
    let said = server.said.lock().unwrap().clone();
    let warnings: Vec<&str> = said.lines().filter(|line| line.contains("WARN")).collect();
    for part in [
        "`CP_DATABASE_URLS` is not a setting and has no effect. Did you mean CP_DATABASE_URL?",
        "`CP_SOMETHING` is not a setting and has no effect.",
        "CP_BASE_URL is http://lic.example.com",
        "which only this machine reaches, but CP_BASE_URL names lic.example.com",
    ] {
        let count = warnings.iter().filter(|line| line.contains(part)).count();
        assert_eq!(count, 1, "{part}: {said}");
    }
    assert_eq!(warnings.len(), 4, "{said}");
    assert!(!said.contains("secret-value"), "{said}");
}

#[test]
fn unspecified_address_with_a_loopback_base_url_is_logged() {
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let folder = folder();
        let mut command = command(folder.path());
        command.env("CP_LISTEN", listen).env("CP_BASE_URL", "http://127.0.0.1:8801");
        let server = Server::run(command.arg("serve"));
        let said = server.said.lock().unwrap().clone();
        let warning = "which other machines reach, but CP_BASE_URL names 127.0.0.1";
        assert_eq!(said.matches(warning).count(), 1, "{said}");
    }
}

#[test]
fn settings_that_fit_together_are_not_warned_about() {
    let folder = folder();
    for (listen, base, proxies) in [
        ("127.0.0.1:0", "http://127.0.0.1:8801", ""),
        ("127.0.0.1:0", "https://lic.example.com", "127.0.0.1"),
    ] {
        let folder = tempfile::tempdir_in(folder.path()).unwrap();
        let mut command = command(folder.path());
        command
            .env("CP_LISTEN", listen)
            .env("CP_BASE_URL", base)
            .env("CP_TRUSTED_PROXIES", proxies);
        let server = Server::run(command.arg("serve"));
        let said = server.said.lock().unwrap().clone();
        assert!(!said.contains("WARN"), "{said}");
    }
}
