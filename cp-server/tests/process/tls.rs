//! Certificates of a running server.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};
use rustix::process::Signal;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::server::{Server, command, folder};

#[test]
fn a_new_certificate_is_served_by_itself_and_at_once_when_asked() {
    let folder = folder();
    let first = renew(folder.path());
    let mut command = command(folder.path());
    command.env("CP_TLS_CERT", "cert.pem").env("CP_TLS_KEY", "key.pem");
    let server = Server::run(command.arg("serve"));
    assert!(shows(&server, &first));
    let second = renew(folder.path());
    until(|| shows(&server, &second), "the second certificate by itself");
    assert!(!shows(&server, &first));

    // The server logs a fault once, and again after each SIGHUP. So each new line proves a signal.
    let faults = || {
        let said = server.said.lock().unwrap();
        said.lines().filter(|line| line.contains("the one before stays")).count()
    };
    let before = faults();
    std::fs::write(folder.path().join("cert.pem"), "").unwrap();
    for count in 1..4 {
        until(|| faults() == before + count, "the fault");
        server.signal(Signal::HUP);
    }
    until(|| faults() == before + 4, "the fault");
    assert!(shows(&server, &second));

    let third = renew(folder.path());
    server.signal(Signal::HUP);
    until(|| shows(&server, &third), "the third certificate");
}

#[test]
fn a_service_without_a_certificate_goes_on_when_it_is_asked_to_reload() {
    let folder = folder();
    let server = Server::start(folder.path());
    server.signal(Signal::HUP);
    until(|| server.said.lock().unwrap().contains("SIGHUP"), "a line in the log");
    assert_eq!(server.call("GET", "/healthz", None, "x").0, 200);
}

/// Waits for what happens soon; how soon is the machine's to say. The pauses grow, so that a
/// question to a server stays below its limit of requests per address.
#[track_caller]
pub fn until(happened: impl Fn() -> bool, what: &str) {
    let deadline = Instant::now() + Duration::from_secs(120);
    let mut pause = Duration::from_millis(20);
    while !happened() {
        assert!(Instant::now() < deadline, "it waited in vain for {what}");
        std::thread::sleep(pause);
        pause = (pause * 3 / 2).min(Duration::from_millis(500));
    }
}

/// A new certificate and key in place of those before, as an operator puts them there.
pub fn renew(folder: &Path) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let made = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    for (name, pem) in [("cert.pem", made.pem()), ("key.pem", key.serialize_pem())] {
        let beside = folder.join(name).with_extension("new");
        std::fs::write(&beside, pem).unwrap();
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(beside, folder.join(name)).unwrap();
    }
    made.der().clone()
}

/// Whether this is the certificate that a client sees.
fn shows(server: &Server, certificate: &CertificateDer<'static>) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = TcpStream::connect(server.address).unwrap();
    while client.is_handshaking() {
        if client.complete_io(&mut stream).is_err() {
            return false;
        }
    }
    true
}
