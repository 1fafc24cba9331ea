//! A data plane that insists on the log, against the authority as it runs: what was signed elsewhere is
//! refused, and a restored backup is noticed.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use dp_verifier::ErrorCode::{LogRolledBack, NotLogged, ProofInvalid, SplitView};
use dp_verifier::{LicenseState, Verifier};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::cluster::reserved_address;
use super::server::{Server, command, folder};

fn wait_for(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
}

/// Signs other claims under the header of a genuine token, as a thief of the key would.
fn forge(key: &KeyPair, genuine: &str, change: impl FnOnce(&mut Value)) -> String {
    let (header, rest) = genuine.split_once('.').unwrap();
    let (payload, _) = rest.split_once('.').unwrap();
    let mut claims = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    change(&mut claims);
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut signature = vec![0; key.public_modulus_len()];
    let random = SystemRandom::new();
    key.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn a_stolen_key_makes_no_license_and_a_restored_backup_is_noticed() {
    let folder = folder();
    let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let body = STANDARD.encode(der.as_ref());
    let lines: Vec<&str> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    let pem = folder.path().join("key.pem");
    let text = ["PRIVATE KEY"].map(|what| {
        format!("-----BEGIN {what}-----\n{}\n-----END {what}-----\n", lines.join("\n"))
    });
    std::fs::write(&pem, text.concat()).unwrap();
    std::fs::set_permissions(&pem, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    // A port of its own: what the log's key is called, and where its proofs are, depends on it.
    let port = reserved_address();
    let base = format!("http://{port}");
    let serve = || {
        let mut serving = command(folder.path());
        serving.env("CP_LISTEN", port.to_string()).env("CP_BASE_URL", &base);
        Server::run(serving.env("CP_SIGNING_PRIVATE_KEY_PATH", &pem).arg("serve"))
    };
    let run = |arguments: &[&str]| {
        let mut running = command(folder.path());
        let output = running.env("CP_BASE_URL", &base).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{said}");
        said
    };
    let mut server = serve();
    let bundles = server.license();
    let issue = |server: &Server, ttl: u32| {
        server.post(&bundles, json!({ "ttl_seconds": ttl }))["token"].as_str().unwrap().to_owned()
    };
    let genuine = issue(&server, 3_600);
    let (_, vkey) = server.call("GET", "/api/v1/log/key", None, "x");
    let vkey = vkey.as_str().unwrap().trim_end().to_owned();
    let builder = || {
        Verifier::builder()
            .issuer(&base)
            .audience("data-plane")
            .jwks_url(format!("{base}/.well-known/jwks.json"))
            .log_key(&vkey)
            .require_inclusion()
            .state_path(folder.path().join("state.json"))
    };
    let verifier = builder().build().unwrap();
    let verify = |token: &str| {
        wait_for(verifier.refresh_status(token));
        verifier.verify(token).map_err(|error| error.code())
    };
    let license = verify(&genuine).unwrap();
    assert!(license.log_index().is_some());
    // Signed by the published key, but the authority has not issued it.
    let stolen = forge(&key, &genuine, |claims| {
        claims["jti"] = json!("018f2a00-0000-7000-8000-00000000ffff");
        claims["license"]["seat_cap"] = json!(1_000_000);
    });
    assert_eq!(verify(&stolen).unwrap_err(), NotLogged);
    let stolen = forge(&key, &genuine, |claims| claims["license"]["seat_cap"] = json!(1_000_000));
    assert_eq!(verify(&stolen).unwrap_err(), ProofInvalid);
    let lenient = Verifier::builder().issuer(&base).audience("data-plane");
    let lenient = lenient.jwks_url(format!("{base}/.well-known/jwks.json")).build().unwrap();
    lenient.verify(&stolen).expect("without the log it is as good as a genuine one");

    // A license file brings its proof to where there is no network.
    let path = format!("/api/v1{bundles}?form=file");
    let (status, made) = server.call("POST", &path, Some(json!({ "ttl_seconds": 3_601 })), "file");
    assert_eq!(status, 201, "{made}");
    let file = folder.path().join("license.lic");
    std::fs::write(&file, made["file"].as_str().unwrap()).unwrap();
    let offline = Verifier::builder().issuer(&base).audience("data-plane").bundle_file(&file);
    let offline = offline.log_key(&vkey).require_inclusion().build().unwrap();
    let bundled = offline.bundled_token().unwrap();
    assert!(offline.verify(&bundled).unwrap().log_index().is_some());

    // A backup, and what happens after it.
    run(&["backup", "--out", "then.cpbackup"]);
    for n in 0..5 {
        issue(&server, 3_700 + n);
    }
    verifier.refresh_log().unwrap();
    let seen = verifier.log_health().unwrap().checkpoint.unwrap();
    server.signal(Signal::TERM);
    assert!(server.wait().success());
    run(&["restore", "--replace", "then.cpbackup"]);
    let server = serve();
    let error = verifier.refresh_log().unwrap_err().to_string();
    assert!(error.starts_with("log_rolled_back"), "{error}");
    let anomaly = verifier.log_health().unwrap().anomaly.unwrap();
    assert_eq!((anomaly.code, anomaly.seen), (LogRolledBack, seen.clone()));
    // What was proved goes on, and a restarted data plane knows it too.
    for verifier in [&verifier, &builder().build().unwrap()] {
        assert_eq!(verifier.verify(&genuine).unwrap().state(), LicenseState::LogAnomaly);
    }
    // It grows again, into another history: a license of that is refused.
    let mut other = String::new();
    for n in 0..8 {
        other = issue(&server, 3_800 + n);
    }
    let error = verifier.refresh_log().unwrap_err().to_string();
    assert!(error.starts_with("split_view"), "{error}");
    assert_eq!(verify(&other).unwrap_err(), SplitView);
    assert_eq!(verifier.verify(&genuine).unwrap().state(), LicenseState::LogAnomaly);
}
