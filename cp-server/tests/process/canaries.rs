//! No refusal quotes what it could not parse: every reader of secrets is given malformed input that has
//! a canary in its middle.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cp_server::licensing::keys::signer::LocalKey;
use serde_json::{Value, json};

use super::server::{Server, TOKEN, command, folder};

const CANARY: &str = "canary7f3b9c";

/// A private key in PEM, and a line from its middle.
fn key() -> (String, String) {
    let der = STANDARD.encode(LocalKey::generate(2048).unwrap().to_pkcs8().unwrap());
    let lines: Vec<&str> =
        der.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let pem =
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
    (pem, lines[5].to_owned())
}

/// A key in the forms that it has after a variable, a form or an editor was at it.
fn forms(pem: &str) -> Vec<(&'static str, String)> {
    let (head, tail) = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----");
    vec![
        ("blanks for line breaks", pem.trim_end().replace('\n', " ") + "\n"),
        ("no line breaks", pem.replace('\n', "")),
        ("carriage returns alone", pem.replace('\n', "\r")),
        ("escaped line breaks", pem.replace('\n', "\\n")),
        ("no dashes", pem.replace("-----", "")),
        ("two labels in one line", format!("{head}{}{tail}", pem.replace('\n', ""))),
        ("another label", pem.replace("PRIVATE KEY", "RSA PRIVATE KEY")),
        ("a label of its own", pem.replace("BEGIN PRIVATE KEY", &format!("BEGIN {CANARY}"))),
        ("a broken character", pem.replacen("MII", "M*I", 1)),
        ("an end that is missing", pem.replace(tail, "")),
        ("quotes", format!("\"{}\"", pem.trim_end())),
    ]
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

fn said(output: &Output) -> String {
    let said = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

/// Runs a command that is refused. Its output contains none of the secrets.
#[track_caller]
fn refused(about: &str, command: &mut Command, secrets: &[&str]) -> String {
    let output = command.env("CP_LOG", "trace").env("RUST_BACKTRACE", "1").output().unwrap();
    let said = said(&output);
    assert!(!output.status.success(), "{about} is taken: {said}");
    for secret in secrets {
        assert!(!said.contains(secret), "{about}: {secret} in {said}");
    }
    said
}

#[test]
fn signing_key_malformed_is_on_no_screen_and_in_no_log() {
    let (pem, middle) = key();
    let folder = folder();
    let server = Server::start(folder.path());
    for (n, (about, text)) in forms(&pem).into_iter().enumerate() {
        let path = write(folder.path(), "key.pem", &text);
        let secrets = [&*middle, CANARY];
        let mut import = command(folder.path());
        refused(about, import.args(["keys", "import"]).arg(&path), &secrets);
        let mut serve = command(folder.path());
        refused(about, serve.arg("serve").env("CP_SIGNING_PRIVATE_KEY_PATH", &path), &secrets);
        let body = json!({"pem": text});
        let (status, answer) =
            server.call("POST", "/api/v1/signing/keys", Some(body), &n.to_string());
        assert_eq!(status, 422, "{about}: {answer}");
        let output = format!("{answer}{}", server.said.lock().unwrap());
        assert!(!output.contains(&middle) && !output.contains(CANARY), "{about}: {output}");
    }
    let bytes = [pem.as_bytes(), b"\xff", CANARY.as_bytes()].concat();
    let path = write(folder.path(), "key.pem", bytes);
    let mut import = command(folder.path());
    refused("not text", import.args(["keys", "import"]).arg(&path), &[&middle, CANARY]);
    let path = write(folder.path(), "key.pem", &pem);
    let mut import = command(folder.path());
    import.args(["keys", "import"]).arg(&path).arg(CANARY);
    refused("a passphrase as an argument", &mut import, &[&middle, CANARY]);
}

#[test]
fn setting_malformed_is_refused_by_its_name_without_its_value() {
    let with = |text: &str| format!("aaaa{CANARY}{text}");
    let url = |rest: &str| format!("postgres://cp:{CANARY}{rest}");
    for (name, value) in [
        ("CP_BOOTSTRAP_TOKEN", with(" with a blank")),
        ("CP_KEY_ENCRYPTION_KEY", with("*")),
        ("CP_KEY_ENCRYPTION_KEY", with("")),
        ("CP_DATABASE_URL", with("")),
        ("CP_DATABASE_URL", url("")),
        ("CP_DATABASE_URL", url("/x@db/cp")),
        ("CP_DATABASE_URL", url("#x@db/cp")),
        ("CP_DATABASE_URL", url("@db:port/cp")),
        ("CP_DATABASE_URL", format!("postgres://cp@127.0.0.1:1/cp?pasword={CANARY}")),
        ("CP_DATABASE_URL", format!("postgres://cp@127.0.0.1:1/cp?sslmode={CANARY}")),
        ("CP_DATABASE_URL", format!("postgres://cp:5?{CANARY}@db/cp")),
        ("CP_DATABASE_URL", url("@127.0.0.1:1/cp")),
        ("CP_BASE_URL", format!("https://cp:{CANARY}@cp.example")),
        ("CP_BASE_URL", format!("https://:{CANARY}@cp.example")),
        ("CP_RATE_ADDRESS", with("")),
        ("CP_LOG_FORMAT", with("")),
        ("CP_TRUSTED_PROXIES", with("")),
        ("CP_OIDC_ALLOW_LOOPBACK", with("")),
        ("CP_TLS_CERT", with("")),
    ] {
        let folder = folder();
        let mut serve = command(folder.path());
        if name == "CP_TLS_CERT" {
            // A certificate and a key the other way round.
            let (pem, _) = key();
            let cert = write(folder.path(), "cert.pem", pem.replacen("MII", CANARY, 1));
            serve.env("CP_TLS_KEY", &cert).env("CP_TLS_CERT", &cert);
        } else {
            serve.env(name, &value);
        }
        let said = refused(&format!("{name}={value}"), serve.arg("serve"), &[CANARY]);
        assert!(said.contains(name) || name == "CP_TLS_CERT" && said.contains("CP_TLS"), "{said}");
    }
}

#[test]
fn secret_file_malformed_is_refused_by_its_name_without_its_content() {
    let folder = folder();
    for (name, bytes) in [
        ("CP_BOOTSTRAP_TOKEN_FILE", format!("aaaa {CANARY} bbbb").into_bytes()),
        ("CP_BOOTSTRAP_TOKEN_FILE", [CANARY.as_bytes(), b"\xff\xfe"].concat()),
        ("CP_KEY_ENCRYPTION_KEY_FILE", format!("aaaa{CANARY}*").into_bytes()),
        ("CP_DATABASE_URL_FILE", format!("postgres://cp:{CANARY}/x@db/cp").into_bytes()),
        ("CP_DATABASE_URL_FILE", format!("mysql://cp:{CANARY}@db/cp").into_bytes()),
        ("CP_DATABASE_URL_FILE", [CANARY.as_bytes(), b"\xff\xfe"].concat()),
        ("CP_SIGNING_KEY_PASSPHRASE_FILE", [CANARY.as_bytes(), b"\xff\xfe"].concat()),
        ("CP_OIDC_CLIENT_SECRET_FILE", [CANARY.as_bytes(), b"\xff\xfe"].concat()),
        ("CP_SMTP_URL_FILE", format!("smtps://cp:{CANARY}@mail.example/x").into_bytes()),
        ("CP_SMTP_URL_FILE", [CANARY.as_bytes(), b"\xff\xfe"].concat()),
        ("ZITADEL_MGMT_CLIENT_SECRET_FILE", [CANARY.as_bytes(), b"\xff\xfe"].concat()),
        ("ZITADEL_MGMT_API_TOKEN_FILE", [CANARY.as_bytes(), b"\xff\xfe"].concat()),
        ("CP_IDENTITY_PROVIDERS", format!("[{{\"client_secret\": \"{CANARY}").into_bytes()),
        ("CP_IDENTITY_PROVIDERS", format!("\"{CANARY}\"").into_bytes()),
        ("CP_IDENTITY_PROVIDERS", format!("[\"{CANARY}\"]").into_bytes()),
    ] {
        let path = write(folder.path(), "secret", bytes);
        let mut serve = command(folder.path());
        serve.env_remove("CP_BOOTSTRAP_TOKEN").env(name, &path);
        serve.env("CP_OIDC_ISSUER", "https://id.example").env("CP_OIDC_AUDIENCE", "a");
        serve.env("ZITADEL_ISSUER", "https://zitadel.example").env("ZITADEL_AUDIENCE", "b");
        let said = refused(name, serve.arg("serve"), &[CANARY]);
        assert!(said.contains(name) || said.contains("CP_KEY_ENCRYPTION_KEY"), "{name}: {said}");
    }
}

#[test]
fn identity_provider_malformed_is_refused_by_its_field_without_its_value() {
    let good = json!({
        "key": "one", "type": "oidc", "issuer": "https://id.example", "audience": "a",
        "client_id": "c", "client_secret": CANARY,
    });
    let folder = folder();
    for (member, value) in [
        ("type", json!(CANARY)),
        ("type", json!([CANARY])),
        ("issuer", json!(CANARY)),
        ("issuer", json!(format!("http://cp:{CANARY}@id.example"))),
        ("issuer", json!({"x": CANARY})),
        ("audience", json!(format!("a\u{0}{CANARY}"))),
        ("client_secret", json!([CANARY])),
        ("client_secret", json!({"value": CANARY})),
        ("client_id", json!({"x": CANARY})),
        ("management", json!(CANARY)),
        ("management", json!({"secret": [CANARY]})),
        ("management", json!({"secret": CANARY, "url": CANARY})),
        ("management", json!({"secret": CANARY, "url": format!("https://cp:{CANARY}@id.example")})),
        ("status", json!(CANARY)),
        ("claim_map", json!(CANARY)),
        ("key", json!(format!("{CANARY} {CANARY}"))),
        ("key", json!([CANARY])),
        ("email_domains", json!(CANARY)),
        ("email_domains", json!([CANARY])),
        ("metadata", json!(CANARY)),
    ] {
        let mut bad = good.clone();
        bad[member] = value;
        let path = write(folder.path(), "providers.json", json!([bad]).to_string());
        let mut serve = command(folder.path());
        let serve = serve.arg("serve").env("CP_IDENTITY_PROVIDERS", &path);
        refused(&format!("{member} of {bad}"), serve, &[CANARY]);
    }
}

#[test]
fn command_line_malformed_is_refused_without_a_quote() {
    let folder = folder();
    let report = write(
        folder.path(),
        "a.report",
        json!({"kind": CANARY, "deployment_id": [CANARY]}).to_string(),
    );
    let report = report.to_str().unwrap();
    let data = format!("{{\"pem\": \"{CANARY}\"");
    for arguments in [
        &["keys", "import", "nothing.pem", CANARY][..],
        &["keys", "import", "nothing.pem", "--passphrase", CANARY],
        &["token", "whoami", "--tokn", CANARY],
        &["token", "create", "x", "--permission", CANARY, "--token", CANARY, CANARY],
        &["call", "keys.create", "--data", &data],
        &["call", "keys.create", &format!("bits={CANARY}")],
        &["call", "keys.create", &format!("pem=[\"{CANARY}\"]")],
        &["call", "keys.create", CANARY],
        &["call", CANARY],
        &["license", "import-report", report],
        &["serve", CANARY],
        &[CANARY],
    ] {
        refused(&format!("{arguments:?}"), command(folder.path()).args(arguments), &[CANARY]);
    }
    let away = ["token", "whoami", "--url", "http://127.0.0.1:1", "--token", CANARY];
    refused("a server that is away", command(folder.path()).args(away), &[CANARY]);
    let user = format!("http://cp:{CANARY}@127.0.0.1:1");
    let away = ["token", "whoami", "--url", &user, "--token", "x"];
    refused("a URL with a user", command(folder.path()).args(away), &[CANARY]);
    let line = format!("x\n{CANARY}");
    let away = ["token", "whoami", "--url", "http://127.0.0.1:1", "--token", &line];
    refused("a token of two lines", command(folder.path()).args(away), &[CANARY]);
}

#[test]
fn request_malformed_is_refused_without_a_quote() {
    let folder = folder();
    let mut command = command(folder.path());
    let server = Server::run(command.arg("serve").env("CP_LOG", "trace"));
    let org = server.post("/organizations", json!({"name": "Acme"}))["id"].clone();
    let org = org.as_str().unwrap();
    let long = format!("{CANARY}{}", "x".repeat(60));
    let keys = "/api/v1/signing/keys".to_owned();
    let provider = format!("/api/v1/organizations/{org}/identity-providers/x");
    let reference = format!("/api/v1/organizations/{org}/secret-refs/x");
    let tokens = "/api/v1/service-tokens".to_owned();
    let accept = "/api/v1/invitations/accept".to_owned();
    let broken = |text: &str| Value::String(text.to_owned());
    let cases = [
        ("POST", &keys, json!({"pem": [CANARY]})),
        ("POST", &keys, json!({"bits": CANARY})),
        ("POST", &keys, json!({"publish": CANARY})),
        ("POST", &keys, json!({"pem": CANARY, "passphrase": {"x": CANARY}})),
        ("POST", &keys, json!({"pem": "x", &*long: 1})),
        ("POST", &keys, json!({format!("-----BEGIN {CANARY}"): 1})),
        ("POST", &keys, broken(CANARY)),
        ("POST", &keys, json!([CANARY])),
        ("PUT", &provider, json!({"type": CANARY, "issuer": "https://x.example"})),
        ("PUT", &provider, json!({"type": "saml", "issuer": CANARY})),
        (
            "PUT",
            &provider,
            json!({"type": "saml", "issuer": "https://x", "client_secret": [CANARY]}),
        ),
        ("PUT", &provider, json!({"type": "saml", "issuer": "https://x", "claim_map": CANARY})),
        ("PUT", &reference, json!({"provider": "vault", "ref": [CANARY]})),
        ("PUT", &reference, json!({"provider": "vault", "value": {"x": CANARY}})),
        ("POST", &tokens, json!({"name": "x", "permissions": [format!("{long} ")]})),
        ("POST", &tokens, json!({"name": "x", "permissions": CANARY})),
        ("POST", &tokens, json!({"name": "x", "permissions": ["*"], "expires_at": CANARY})),
        ("POST", &accept, json!({"token": CANARY})),
        ("POST", &accept, json!({"token": [CANARY]})),
        ("POST", &accept, broken(CANARY)),
    ];
    for (n, (method, path, body)) in cases.into_iter().enumerate() {
        let (status, answer) = server.call(method, path, Some(body.clone()), &n.to_string());
        assert!((400..500).contains(&status), "{body}: {answer}");
        assert!(!answer.to_string().contains(CANARY), "{method} {path} {body}: {answer}");
    }
    for (name, value) in credentials() {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let request = axum::http::Request::builder()
            .uri(format!("http://{}/api/v1/me", server.address))
            .header(name, &value);
        let mut answer = agent.run(request.body(()).unwrap()).unwrap();
        let text = answer.body_mut().read_to_string().unwrap();
        assert!((400..500).contains(&answer.status().as_u16()), "{value}: {text}");
        let heads = format!("{:?}", answer.headers());
        assert!(!text.contains(CANARY) && !heads.contains(CANARY), "{value}: {heads} {text}");
    }
    let key = "k".repeat(300) + CANARY;
    let body = Some(json!({"name": "Other"}));
    let (status, answer) = server.call("POST", "/api/v1/organizations", body, &key);
    assert_eq!(status, 400, "{answer}");
    assert!(!answer.to_string().contains(CANARY), "{answer}");
    let log = server.said.lock().unwrap();
    assert!(log.lines().count() > 20, "it logs at trace");
    let line = log.lines().find(|line| line.contains(CANARY));
    assert!(line.is_none(), "{line:?}");
}

/// Credentials that are broken in each way.
fn credentials() -> Vec<(&'static str, String)> {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let claims = json!({"iss": "https://x.example", "sub": CANARY, "aud": CANARY, "exp": CANARY});
    let header = |alg: &str, typ: &str| part(&json!({"alg": alg, "typ": typ, "kid": "k"}));
    let bearer = |token: String| ("authorization", format!("Bearer {token}"));
    vec![
        bearer(CANARY.to_owned()),
        bearer(format!("cpat_{CANARY}_{CANARY}_{CANARY}")),
        bearer(format!("{TOKEN}{CANARY}")),
        bearer(format!("{CANARY}.{CANARY}.{CANARY}")),
        bearer(format!("{}.{}.{CANARY}", header(CANARY, "JWT"), part(&claims))),
        bearer(format!("{}.{}.{CANARY}", header("RS256", CANARY), part(&claims))),
        bearer(format!("{}.{}.{CANARY}", header("RS256", "JWT"), part(&json!(CANARY)))),
        bearer(format!("{}.{}.{CANARY}", header("RS256", "JWT"), part(&claims))),
        ("authorization", CANARY.to_owned()),
        ("authorization", format!("Basic {CANARY}")),
        ("cookie", format!("cp_session={CANARY}; cp_login={CANARY}")),
        ("cookie", format!("cp_session={CANARY}; cp_session={CANARY}")),
    ]
}
