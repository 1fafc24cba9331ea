use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cp_server::licensing::keys::signer::LocalKey;
use rsa::RsaPrivateKey;
use rsa::pkcs8::DecodePrivateKey;
use rsa::traits::PrivateKeyParts;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::server::{KEK, Server, TOKEN, command, folder, refusal};

#[test]
fn files_that_others_can_read_refuse_the_start() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    for file in ["keys/kek", "data/control-plane.db"] {
        let path = folder.path().join(file);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{file}");
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let said = refusal(&mut command(folder.path()));
        assert!(said.contains(file) && said.contains("chmod 600"), "{said}");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
    let pem = folder.path().join("key.pem");
    std::fs::write(&pem, "-----BEGIN PRIVATE KEY-----\n").unwrap();
    std::fs::set_permissions(&pem, Permissions::from_mode(0o644)).unwrap();
    let said = refusal(command(folder.path()).env("CP_SIGNING_PRIVATE_KEY_PATH", &pem));
    assert!(said.contains("chmod 600"), "{said}");
    Server::start(folder.path());

    // What systemd hands over is as private as systemd makes it.
    let other = self::folder();
    let kek = other.path().join("credential");
    std::fs::write(&kek, KEK).unwrap();
    let mut command = command(other.path());
    command.arg("serve").env("CP_KEY_ENCRYPTION_KEY_FILE", &kek);
    command.env("CREDENTIALS_DIRECTORY", other.path());
    std::fs::set_permissions(&kek, Permissions::from_mode(0o440)).unwrap();
    Server::run(&mut command);
    std::fs::set_permissions(&kek, Permissions::from_mode(0o444)).unwrap();
    assert!(!command.output().unwrap().status.success());
}

#[test]
fn without_its_key_encryption_key_it_refuses_to_start() {
    let folder = folder();
    drop(Server::start(folder.path()));
    let kek = folder.path().join("keys/kek");
    let kept = std::fs::read(&kek).unwrap();
    let said = refusal(command(folder.path()).env("CP_KEY_ENCRYPTION_KEY", KEK));
    assert!(said.contains("CP_KEY_ENCRYPTION_KEY"), "{said}");
    std::fs::remove_file(&kek).unwrap();
    let said = refusal(&mut command(folder.path()));
    assert!(said.contains("CP_KEY_ENCRYPTION_KEY"), "{said}");
    assert!(!kek.exists(), "a wrong key is not made in its place");
    std::fs::write(&kek, kept).unwrap();
    std::fs::set_permissions(&kek, Permissions::from_mode(0o600)).unwrap();
    Server::start(folder.path());
}

#[test]
fn a_change_of_the_key_encryption_key_is_all_or_nothing() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    let bundles = server.license();
    let path = format!("/api/v1{bundles}");
    let (_, issued) = server.call("POST", &path, Some(json!({})), "once");
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    let keys = folder.path().join("keys");
    let (kek, old, new) = (keys.join("kek"), keys.join("kek.old"), keys.join("kek.new"));
    let first = std::fs::read(&kek).unwrap();

    // Interrupted before the database was changed: the new file means nothing yet.
    std::fs::write(&new, KEK).unwrap();
    std::fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
    drop(Server::start(folder.path()));
    assert_eq!(std::fs::read(&kek).unwrap(), first);

    let done = command(folder.path()).args(["keys", "rekey"]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!((std::fs::read(&kek).unwrap(), std::fs::read(&old).unwrap()), (KEK.into(), first));

    // Interrupted between the database and the files: the next start puts them right.
    std::fs::rename(&kek, &new).unwrap();
    std::fs::rename(&old, &kek).unwrap();
    let server = Server::start(folder.path());
    assert_eq!(std::fs::read(&kek).unwrap(), KEK.as_bytes());
    let (status, replayed) = server.call("POST", &path, Some(json!({})), "once");
    assert_eq!((status, replayed), (201, issued), "what was sealed before still opens");
    let fresh = server.post(&bundles, json!({}));
    assert!(fresh["token"].is_string());
    drop(server);
    std::fs::remove_file(&kek).unwrap();
    std::fs::rename(&old, &kek).unwrap();
    let said = refusal(&mut command(folder.path()));
    assert!(said.contains("CP_KEY_ENCRYPTION_KEY"), "{said}");
}

/// What a private key would look like in a text: its numbers, in the usual spellings.
fn spellings(key: &LocalKey) -> Vec<String> {
    let private = RsaPrivateKey::from_pkcs8_der(&key.to_pkcs8().unwrap()).unwrap();
    let mut spellings = Vec::new();
    for number in [private.d(), &private.primes()[0], &private.primes()[1]] {
        let bytes = number.to_bytes_be();
        spellings.push(number.to_str_radix(10));
        spellings.push(number.to_str_radix(16));
        spellings.push(number.to_str_radix(16).to_uppercase());
        spellings.push(URL_SAFE_NO_PAD.encode(&bytes));
        // Inside an encoding of the whole key, at any of its three alignments.
        for skipped in 0..3 {
            let inner = &bytes[skipped..skipped + 96];
            spellings.push(STANDARD.encode(inner));
            spellings.push(URL_SAFE_NO_PAD.encode(inner));
        }
    }
    spellings
}

#[test]
fn no_private_number_is_written_anywhere() {
    let folder = folder();
    let key = LocalKey::generate(2048).unwrap();
    let der = STANDARD.encode(key.to_pkcs8().unwrap());
    let lines = der.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap());
    let der = lines.collect::<Vec<_>>().join("\n");
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
    let mut command = command(folder.path());
    command.arg("serve").env("CP_LOG", "trace");
    let mut server = Server::run(&mut command);
    let mut output = String::new();
    let mut calls = 0;
    let mut call = |method: &str, path: &str, body: Value| {
        calls += 1;
        let body = (method == "POST").then_some(body);
        let (status, answer) = server.call(method, path, body, &calls.to_string());
        output.push_str(&format!("{status} {answer}\n"));
        answer
    };
    let made = call("POST", "/api/v1/signing/keys", json!({"pem": pem}));
    let path = format!("/api/v1/signing/keys/{}", made["kid"].as_str().unwrap());
    call("POST", "/api/v1/signing/keys", json!({"pem": pem, "passphrase": pem}));
    call("POST", "/api/v1/signing/keys", json!({"pem": pem.replace("-----END", "----END")}));
    call("POST", "/api/v1/signing/keys", json!({"pem": [pem]}));
    call("POST", "/api/v1/signing/keys", json!({"pen": pem}));
    call("POST", &format!("{path}/activate"), json!({"emergency": true, "reason": "a test"}));
    let bundles = format!("/api/v1{}", server.license());
    call("POST", &format!("{bundles}?form=file"), json!({}));
    call("POST", &format!("{path}/compromise"), json!({"reason": "a test"}));
    for path in ["/api/v1/audit?limit=500", "/metrics", "/api/v1/signing/keys", "/readyz"] {
        call("GET", path, Value::Null);
    }
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    output.push_str(&server.said.lock().unwrap());
    assert!(output.lines().count() > 50, "it logs at trace");
    // Line breaks of a PEM, as they are or escaped, would hide what they break.
    let flat = |text: &str| text.replace("\\n", "").replace('\n', "");
    let (output, spellings) = (flat(&output), spellings(&key));
    assert!(spellings.iter().any(|secret| flat(&pem).contains(secret)), "the search finds a key");
    for secret in spellings {
        let found = output.find(&secret).map(|at| &output[at.saturating_sub(200)..at]);
        assert!(found.is_none(), "the output has a private number after: {found:?}");
    }
}

#[test]
fn no_secret_is_written_anywhere() {
    let folder = folder();
    let mut command = command(folder.path());
    command.arg("serve").env("CP_KEY_ENCRYPTION_KEY", KEK).env("CP_LOG", "trace");
    // A canary in a slot that is not used, too: the file that it is for is not encrypted.
    command.env("CP_SIGNING_KEY_PASSPHRASE", "canary-of-the-passphrase");
    let mut server = Server::run(&mut command);
    let text = |value: &Value, member: &str| value[member].as_str().unwrap().to_owned();
    let org = text(&server.post("/organizations", json!({"name": "Other"})), "id");
    let bundles = server.license();
    let mut secrets = vec![TOKEN.to_owned(), KEK.to_owned()];
    secrets.push(text(&server.post(&bundles, json!({})), "token"));
    let made = server.post("/service-tokens", json!({"name": "x", "permissions": ["*"]}));
    secrets.push(text(&made, "token"));
    let rotate = format!("/api/v1/service-tokens/{}/rotate", made["id"].as_str().unwrap());
    // Twice, with one key: the second is replayed from what was kept.
    for _ in 0..2 {
        let (_, rotated) = server.call("POST", &rotate, Some(json!({})), "canary-of-idempotency");
        secrets.push(text(&rotated, "token"));
    }
    let invited = json!({"email": "a@example.com", "role": "viewer"});
    let invited = server.post(&format!("/organizations/{org}/invitations"), invited);
    secrets.push(text(&invited, "token"));
    let keys = format!("/api/v1{}", bundles.replace("/bundles", "/keys"));
    for (once, body) in [("1", json!({})), ("2", json!({"key": "canary-of-a-license-key"}))] {
        let key = text(&server.call("POST", &keys, Some(body), once).1, "key");
        let holder = json!({"key": key, "holder": {"id": "a"}, "activate": true});
        assert_eq!(server.call("POST", "/api/v1/licenses/validate", Some(holder), once).0, 200);
        secrets.extend([key.replace('-', ""), key]);
    }
    let canary = |name: &str| format!("canary-of-{name}");
    let provider = format!("/api/v1/organizations/{org}/identity-providers/saml");
    let sent = json!({
        "type": "saml", "issuer": "https://login.example", "client_secret": canary("a-client"),
    });
    assert_eq!(server.call("PUT", &provider, Some(sent), "p").0, 201);
    let connection = json!({
        "kind": "connection", "name": "Mail", "spec": {"type": "mcp"},
        "secret": {"api_key": canary("a-connection")},
    });
    let connection = server.post(&format!("/organizations/{org}/resources"), connection);
    let connection = format!("/api/v1/resources/{}", text(&connection, "id"));
    let sent = json!({"secret": {"api_key": canary("a-change")}});
    assert_eq!(server.call("PATCH", &connection, Some(sent), "c").0, 200);
    let reference = format!("/api/v1/organizations/{org}/secret-refs/app");
    let place = json!({"provider": "vault", "ref": "kv/app"});
    assert_eq!(server.call("PUT", &reference, Some(place), "r").0, 201);
    for (method, path, body) in [
        ("PATCH", &connection, json!({"secret": {"api_key": [canary("a-secret-list")]}})),
        ("PATCH", &connection, json!({"spec": {"secret": canary("a-member")}})),
        ("PUT", &reference, json!({"provider": "vault", "ref": "x", "value": canary("a-value")})),
    ] {
        assert_eq!(server.call(method, path, Some(body), "v").0, 422, "{method} {path}");
    }
    // In wrong places, and of wrong kinds: refused, and not logged.
    let wrong = [
        ("/api/v1/invitations/accept", json!({"token": canary("an-invitation")})),
        ("/api/v1/invitations/accept", json!({"token": [canary("a-list")]})),
        ("/api/v1/invitations/accept", json!({canary("a-name"): 1})),
        ("/api/v1/signing/keys", json!({"pem": canary("a-pem"), "passphrase": canary("a-pass")})),
        ("/api/v1/signing/keys", json!({"pem": {"x": canary("an-object")}})),
    ];
    for (path, body) in wrong {
        let (status, _) = server.call("POST", path, Some(body), "w");
        assert!((400..500).contains(&status), "{path}: {status}");
    }
    secrets.extend(
        [
            "a-client",
            "a-connection",
            "a-change",
            "a-secret-list",
            "a-member",
            "a-value",
            "an-invitation",
            "a-list",
            "a-name",
            "a-pem",
            "a-pass",
            "an-object",
            "the-passphrase",
            "idempotency",
            "a-query",
            "a-stranger",
        ]
        .map(canary),
    );
    server.call(
        "GET",
        &format!("/api/v1/nothing?token={TOKEN}&x={}", canary("a-query")),
        None,
        "x",
    );
    over_http2(&server, &canary("a-stranger"));
    let (_, metrics) = server.call("GET", "/metrics", None, "x");
    let (_, audit) = server.call("GET", "/api/v1/audit?limit=500", None, "x");
    let (_, export) = server.call("GET", &format!("/api/v1/organizations/{org}/export"), None, "x");
    assert!(export["resources"][0]["secret"]["masked"].is_boolean(), "{export}");
    server.signal(Signal::TERM);
    assert!(server.wait().success());

    let said = server.said.lock().unwrap().clone();
    assert!(said.lines().count() > 50, "it logs at trace");
    let everything = format!("{said}{metrics}{audit}{export}");
    secrets.extend(["PRIVATE KEY", "\"d\":", "\"qi\":"].map(str::to_owned));
    for secret in secrets {
        let found = everything.lines().find(|line| line.contains(&secret));
        assert!(found.is_none(), "the output has a secret: {found:?}");
    }
}

/// Two requests over HTTP/2, whose frames have their own trace: one with a credential that is good
/// and one with this.
fn over_http2(server: &Server, stranger: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
        let (client, connection) = h2::client::handshake(stream).await.unwrap();
        tokio::spawn(connection);
        let mut client = client.ready().await.unwrap();
        for (token, status) in [(TOKEN, 200), (stranger, 401)] {
            let request = axum::http::Request::get("http://localhost/api/v1/me")
                .header("authorization", format!("Bearer {token}"))
                .body(())
                .unwrap();
            let (answer, _) = client.send_request(request, true).unwrap();
            assert_eq!(answer.await.unwrap().status(), status);
        }
    });
}

#[test]
fn refused_start_prints_no_password() {
    let folder = folder();
    for url in
        ["postgres://cp:canary-password@127.0.0.1:1/cp", "mysql://cp:canary-password@127.0.0.1/cp"]
    {
        let mut command = command(folder.path());
        let said = refusal(command.env("CP_DATABASE_URL", url).env("CP_LOG", "trace"));
        assert!(said.contains("CP_DATABASE_URL"), "{said}");
        assert!(!said.contains("canary-password"), "{said}");
    }
}

#[test]
fn panic_logs_its_location_without_its_message() {
    let folder = folder();
    // Where nothing can be printed, printing panics, and says over what.
    let mut command = command(folder.path());
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    command.arg("migrate").env("RUST_BACKTRACE", "1").stdout(full);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(101));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("a panic") && said.contains(".rs:"), "{said}");
    assert!(said.contains("cp_server::cli"), "the backtrace: {said}");
    assert!(!said.contains("No space left"), "{said}");
}

#[test]
fn settings_do_not_show_their_secrets() {
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Settings {
        #[command(flatten)]
        config: cp_server::config::Config,
    }
    let settings = Settings::parse_from([
        "cp-server",
        "--database-url=postgres://cp:canary-1@db/cp",
        "--bootstrap-token=canary-2-of-the-token",
        "--key-encryption-key=canary-3",
        "--signing-key-passphrase=canary-4",
    ]);
    let shown = format!("{settings:?}");
    assert!(shown.contains("data-plane") && !shown.contains("canary"), "{shown}");
}
