//! HTTPS by the server itself, with certificates made for the test.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use cp_server::server::limits::Surface;
use cp_server::server::tls::Tls;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::connections::serving;
use crate::world::World;

/// Writes a certificate and its key, and gives the certificate.
fn write(folder: &Path) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let made = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(folder.join("cert.pem"), made.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    mode(&folder.join("key.pem"), 0o600);
    made.der().clone()
}

fn mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn open(folder: &Path) -> anyhow::Result<Tls> {
    Tls::open(&folder.join("cert.pem"), &folder.join("key.pem"))
}

async fn connect(
    address: SocketAddr,
    trusted: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    protocol: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn ask(mut stream: TlsStream<TcpStream>) -> String {
    let ask = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(ask).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn https_is_served_and_a_new_certificate_taken_without_a_restart() {
    let world = World::on_sqlite().await;
    let folder = tempfile::tempdir().unwrap();
    let first = write(folder.path());
    let tls = Arc::new(open(folder.path()).unwrap());
    let server = serving(&world, Surface::default(), Some(tls.clone())).await;
    for version in [&TLS12, &TLS13] {
        let stream = connect(server.address, &first, &[version], b"http/1.1").await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let answer = ask(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("strict-transport-security: max-age=31536000"), "{answer}");
    }
    let stream = connect(server.address, &first, &[&TLS13], b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    // A client without TLS receives no HTTP answer.
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut received = Vec::new();
    let _ = plain.read_to_end(&mut received).await;
    assert!(!String::from_utf8_lossy(&received).contains("HTTP/1.1"));

    assert!(!tls.reload().unwrap(), "nothing has changed");
    let old = stream;
    let second = write(folder.path());
    assert!(tls.reload().unwrap());
    let stream = connect(server.address, &second, &[&TLS13], b"http/1.1").await.unwrap();
    assert!(ask(stream).await.starts_with("HTTP/1.1 200"));
    let refused = connect(server.address, &first, &[&TLS13], b"http/1.1").await;
    assert!(refused.is_err(), "the first certificate is not shown any more");
    drop(old);

    // Half of a new pair is not one: the second stays.
    let other = tempfile::tempdir().unwrap();
    write(other.path());
    std::fs::copy(other.path().join("key.pem"), folder.path().join("key.pem")).unwrap();
    let error = format!("{:#}", tls.reload().unwrap_err());
    assert!(error.contains("do not match"), "{error}");
    std::fs::write(folder.path().join("cert.pem"), "").unwrap();
    assert!(tls.reload().is_err());
    std::fs::remove_file(folder.path().join("cert.pem")).unwrap();
    assert!(tls.reload().is_err());
    let stream = connect(server.address, &second, &[&TLS13], b"http/1.1").await.unwrap();
    assert!(ask(stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handshake_that_does_not_come_is_not_waited_for() {
    let world = World::on_sqlite().await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let tls = Arc::new(open(folder.path()).unwrap());
    let header_time = std::time::Duration::from_millis(300);
    let surface = Surface { header_time, connections: 1, ..Surface::default() };
    let server = serving(&world, surface, Some(tls)).await;
    // With room for one connection: the second is accepted when the first is given up.
    for bytes in [&b""[..], b"\x16\x03\x01"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut received = Vec::new();
        let _ = stream.read_to_end(&mut received).await;
        assert!(received.is_empty());
    }
}

#[test]
fn a_wrong_pair_is_refused_in_plain_words() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = || format!("{:#}", open(folder.path()).err().unwrap());
    assert!(refusal().contains("CP_TLS_CERT"), "{}", refusal());
    write(folder.path());
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    mode(&key, 0o640);
    assert!(refusal().contains("CP_TLS_KEY") && refusal().contains("chmod 600"), "{}", refusal());
    mode(&key, 0o600);
    assert!(open(folder.path()).is_ok());
    let (sound, private) = (std::fs::read(&cert).unwrap(), std::fs::read(&key).unwrap());
    std::fs::write(&cert, "").unwrap();
    assert!(refusal().contains("contains no certificate"), "{}", refusal());
    std::fs::write(&cert, &sound).unwrap();
    std::fs::write(&key, &sound).unwrap();
    assert!(refusal().contains("contains no private key"), "{}", refusal());
    // A fault never shows the contents of the key file.
    let bent = String::from_utf8(private).unwrap().replace("PRIVATE KEY", "PRIVATE KEX");
    std::fs::write(&key, &bent).unwrap();
    let line = bent.lines().nth(1).unwrap();
    assert!(!refusal().contains(line), "{}", refusal());
}
