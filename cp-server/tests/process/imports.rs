//! Signing keys from files: what starts, and what is refused in words.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cp_server::licensing::keys::signer::LocalKey;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey, EncodePublicKey, LineEnding};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BigUint, RsaPrivateKey};

use super::server::{Server, command, folder, refusal};

fn key() -> RsaPrivateKey {
    let der = LocalKey::generate(2048).unwrap().to_pkcs8().unwrap();
    RsaPrivateKey::from_pkcs8_der(&der).unwrap()
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap());
    let lines: Vec<&str> = lines.collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The DER of a key with some bytes of it replaced.
fn bent(der: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = der.windows(from.len()).position(|window| window == from).unwrap();
    [&der[..at], to, &der[at + from.len()..]].concat()
}

fn write(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("key.pem");
    let _ = std::fs::remove_file(&path);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

#[test]
fn every_bad_key_refuses_the_start_in_plain_words() {
    let (key, other) = (key(), key());
    let pkcs8 = key.to_pkcs8_der().unwrap().as_bytes().to_vec();
    let plain = pem("PRIVATE KEY", &pkcs8);
    let sealed =
        key.to_pkcs8_encrypted_pem(rsa::rand_core::OsRng, "sesame", LineEnding::LF).unwrap();
    let small = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1024).unwrap();
    let random = SystemRandom::new();
    let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
    let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
    // rsaEncryption and id-RSASSA-PSS (RFC 8017, appendix C).
    let oid = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    let pss = bent(&pkcs8, &[&oid[..], &[1]].concat(), &[&oid[..], &[10]].concat());
    // The second prime is another key's: nothing belongs together.
    let (prime, foreign) = (key.primes()[1].to_bytes_be(), other.primes()[1].to_bytes_be());
    let mixed = bent(&pkcs8, &prime, &foreign);
    let number = |number: &BigUint| number.to_bytes_be();
    let mut exponent = number(key.d());
    exponent[100] ^= 1;
    let exponent = bent(&pkcs8, &number(key.d()), &exponent);
    let public = key.to_public_key();

    let cases: Vec<(&str, String, &str)> = vec![
        ("nothing", String::new(), "no PEM block"),
        ("no PEM", "ssh-rsa AAAA".into(), "no PEM block"),
        ("cut off", plain[..plain.len() / 2].into(), "broken"),
        ("1,024 bits", small.to_pkcs8_pem(LineEnding::LF).unwrap().to_string(), "1024 bits"),
        ("an elliptic curve", pem("PRIVATE KEY", ec.as_ref()), "EC, Ed25519 and RSA-PSS"),
        ("Ed25519", pem("PRIVATE KEY", ed.as_ref()), "EC, Ed25519 and RSA-PSS"),
        ("RSA-PSS", pem("PRIVATE KEY", &pss), "EC, Ed25519 and RSA-PSS"),
        ("a foreign prime", pem("PRIVATE KEY", &mixed), "broken"),
        ("a bent exponent", pem("PRIVATE KEY", &exponent), "broken"),
        ("a public key", public.to_public_key_pem(LineEnding::LF).unwrap(), "public key"),
        ("a certificate", pem("CERTIFICATE", &number(public.n())), "certificate"),
        ("two keys", plain.clone() + &plain, "2 PEM blocks"),
        ("sealed", sealed.to_string(), "CP_SIGNING_KEY_PASSPHRASE"),
    ];
    for (what, text, words) in cases {
        let folder = folder();
        let path = write(folder.path(), &text);
        let said = refusal(command(folder.path()).env("CP_SIGNING_PRIVATE_KEY_PATH", &path));
        assert!(said.contains(words) && said.contains("key.pem"), "{what}: {said}");
        assert!(!said.contains("panicked") && said.lines().count() < 6, "{what}: {said}");
    }
    let folder = folder();
    let path = write(folder.path(), &sealed);
    let mut wrong = command(folder.path());
    wrong.env("CP_SIGNING_PRIVATE_KEY_PATH", &path).env("CP_SIGNING_KEY_PASSPHRASE", "open");
    let said = refusal(&mut wrong);
    assert!(said.contains("passphrase does not open"), "{said}");
}

#[test]
fn the_first_key_may_be_the_operators_own_in_any_sound_encoding() {
    let key = key();
    let sealed =
        key.to_pkcs8_encrypted_pem(rsa::rand_core::OsRng, "sesame", LineEnding::LF).unwrap();
    for text in [
        key.to_pkcs1_pem(LineEnding::LF).unwrap(),
        key.to_pkcs8_pem(LineEnding::CRLF).unwrap(),
        sealed,
    ] {
        let folder = folder();
        let path = write(folder.path(), &text);
        let mut command = command(folder.path());
        command.arg("serve").env("CP_SIGNING_PRIVATE_KEY_PATH", &path);
        let server = Server::run(command.env("CP_SIGNING_KEY_PASSPHRASE", "sesame"));
        let (_, info) = server.call("GET", "/api/v1/signing/info", None, "x");
        let (_, jwks) = server.call("GET", "/.well-known/jwks.json", None, "x");
        let keys = jwks["keys"].as_array().unwrap();
        let active = keys.iter().find(|jwk| jwk["kid"] == info["active_kid"]).unwrap();
        let modulus = {
            use base64::Engine;
            base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(key.n().to_bytes_be())
        };
        assert_eq!(active["n"], modulus.as_str());
        assert_eq!(info["keys"]["published"], 1, "its successor is there already");
    }
}
