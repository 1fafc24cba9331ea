//! Imported signing keys: what a PEM file may hold, and every refusal in words that help.
//!
//! No refusal quotes the file or a parser: a file that lost its line breaks is a label and a private
//! key in one line.
//!
//! `rsa` parses and checks the numbers; it never signs or decrypts (RUSTSEC-2023-0071).

use anyhow::{anyhow, bail};
use rsa::pkcs1::DecodeRsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};
use rsa::traits::{PrivateKeyParts, PublicKeyParts};
use rsa::{BigUint, RsaPrivateKey};
use zeroize::Zeroizing;

use super::pem;
use super::signer::LocalKey;
use crate::kernel::secret::Secret;

/// Reads one RSA private key: PKCS#1 or PKCS#8, the latter also encrypted.
pub fn read_pem(text: &str, passphrase: Option<&Secret<String>>) -> anyhow::Result<LocalKey> {
    let key = parse(&pem::strict(text), passphrase)?;
    check(&key)?;
    let der = key.to_pkcs8_der().map_err(|_| anyhow!("the key could not be encoded"))?;
    let der = Zeroizing::new(der.as_bytes().to_vec());
    LocalKey::from_pkcs8(&der)
}

fn parse(text: &str, passphrase: Option<&Secret<String>>) -> anyhow::Result<RsaPrivateKey> {
    let labels: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"))
        .collect();
    let label = match labels[..] {
        [] => bail!("there is no PEM block in the file (`-----BEGIN PRIVATE KEY-----`)"),
        [label] => label,
        _ => bail!("there are {} PEM blocks in the file; a signing key stands alone", labels.len()),
    };
    match label {
        "RSA PRIVATE KEY" if text.contains("Proc-Type:") => bail!(
            "the key is encrypted in the old PEM form; convert it with \
             `openssl pkcs8 -topk8 -v2 aes256 -in OLD.pem -out NEW.pem`"
        ),
        "RSA PRIVATE KEY" => {
            RsaPrivateKey::from_pkcs1_pem(text).map_err(|_| anyhow!("the PKCS#1 key is broken"))
        }
        "PRIVATE KEY" => RsaPrivateKey::from_pkcs8_pem(text).map_err(|_| {
            anyhow!(
                "the PKCS#8 key is broken or is not a plain RSA key (EC, Ed25519 and RSA-PSS keys \
                 cannot sign RS256)"
            )
        }),
        "ENCRYPTED PRIVATE KEY" if pem::is_triple_des(text) => bail!(
            "the key is encrypted with 3DES, which is not supported; convert it with \
             `openssl pkcs8 -topk8 -v2 aes256 -in OLD.pem -out NEW.pem`"
        ),
        "ENCRYPTED PRIVATE KEY" => {
            let Some(passphrase) = passphrase else {
                bail!("the key is encrypted; set CP_SIGNING_KEY_PASSPHRASE");
            };
            RsaPrivateKey::from_pkcs8_encrypted_pem(text, passphrase.expose())
                .map_err(|_| anyhow!("the passphrase does not open the key, or the key is broken"))
        }
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {
            bail!("it is a public key; signing needs the private one")
        }
        "CERTIFICATE" => bail!("it is a certificate; signing needs the private key"),
        "EC PRIVATE KEY" => bail!("it is an EC key; RS256 needs an RSA key"),
        other => match KINDS.iter().find(|(label, _)| *label == other) {
            Some((_, kind)) => bail!("it is {kind}; signing needs an RSA private key"),
            None if other.contains("-----") => bail!(
                "the PEM block is in one line: its line breaks were lost, in a variable or a form. \
                 The lines between BEGIN and END have 64 characters"
            ),
            None => bail!("it is a PEM block of another kind; signing needs an RSA private key"),
        },
    }
}

/// What else PEM files hold, by their labels.
const KINDS: [(&str, &str); 7] = [
    ("OPENSSH PRIVATE KEY", "a key of OpenSSH (convert it with `ssh-keygen -p -m PEM -f FILE`)"),
    ("DSA PRIVATE KEY", "a DSA key"),
    ("EC PARAMETERS", "the parameters of an EC key"),
    ("CERTIFICATE REQUEST", "a certificate request"),
    ("X509 CRL", "a revocation list"),
    ("PKCS7", "a PKCS#7 container"),
    ("PGP PRIVATE KEY BLOCK", "an OpenPGP key"),
];

/// What a sound signing key is: the checks of Boulder's `goodkey`, for a key of our own.
fn check(key: &RsaPrivateKey) -> anyhow::Result<()> {
    let bits = key.n().bits();
    if !(2048..=8192).contains(&bits) {
        bail!("the key has {bits} bits; it takes 2048 to 8192");
    }
    if *key.e() != BigUint::from(65537u32) {
        // A longer one may be another of the key's numbers in the wrong place.
        match key.e().bits() {
            ..=32 => bail!("the public exponent is {}; it takes 65537", key.e()),
            bits => bail!("the public exponent has {bits} bits; it takes 65537"),
        }
    }
    if !bits.is_multiple_of(8) {
        bail!("the modulus has {bits} bits, which is no whole number of bytes");
    }
    if let Some(factor) = small_factor(key.n()) {
        bail!("the modulus can be divided by {factor}");
    }
    key.validate().map_err(|_| anyhow!("the numbers of the key do not belong together"))?;
    let [p, q] = key.primes() else { bail!("the key has {} primes, not 2", key.primes().len()) };
    if close(p, q) {
        bail!("the two primes are so close that the key can be factored");
    }
    Ok(())
}

fn small_factor(n: &BigUint) -> Option<u32> {
    (2..752u32).filter(|f| (2..*f).all(|d| f % d != 0)).find(|f| {
        let rest = n % BigUint::from(*f);
        rest == BigUint::from(0u32)
    })
}

/// Fermat's method factors `n = pq` within about `(p - q)² / 8√n` rounds; below 2¹⁰⁰ rounds of
/// distance it is within reach of a patient attacker, so half of the bits must differ.
fn close(p: &BigUint, q: &BigUint) -> bool {
    let distance = if p > q { p - q } else { q - p };
    distance.bits() + 100 < p.bits()
}

#[cfg(test)]
mod tests {
    use rsa::pkcs1::EncodeRsaPrivateKey;
    use rsa::pkcs8::{EncodePublicKey, LineEnding};

    use super::*;
    use crate::licensing::keys::signer::Signer;

    /// Made by aws-lc: `rsa` takes seconds for it in a debug build.
    fn key() -> RsaPrivateKey {
        RsaPrivateKey::from_pkcs8_der(&LocalKey::generate(2048).unwrap().to_pkcs8().unwrap())
            .unwrap()
    }

    /// The same primes, with a public exponent that is too small.
    fn with_exponent_3() -> RsaPrivateKey {
        loop {
            let primes = key().primes().to_vec();
            if let Ok(key) = RsaPrivateKey::from_primes(primes, BigUint::from(3u32)) {
                return key;
            }
        }
    }

    fn refusal(text: &str, passphrase: Option<&str>) -> String {
        let passphrase = passphrase.map(|p| Secret::new(p.to_owned()));
        match read_pem(text, passphrase.as_ref()) {
            Ok(_) => panic!("it was taken"),
            Err(error) => format!("{error:#}"),
        }
    }

    #[test]
    fn both_encodings_give_the_same_key_and_bad_files_are_refused() {
        let key = key();
        let pkcs8 = key.to_pkcs8_pem(LineEnding::LF).unwrap();
        let pkcs1 = key.to_pkcs1_pem(LineEnding::LF).unwrap();
        let kid = |text: &str| read_pem(text, None).unwrap().jwk().kid.clone();
        assert_eq!(kid(&pkcs8), kid(&pkcs1));

        let sealed = key
            .to_pkcs8_encrypted_pem(rsa::rand_core::OsRng, "open sesame", LineEnding::LF)
            .unwrap();
        let pass = Secret::new("open sesame".to_owned());
        assert_eq!(read_pem(&sealed, Some(&pass)).unwrap().jwk().kid, kid(&pkcs8));
        assert!(refusal(&sealed, None).contains("CP_SIGNING_KEY_PASSPHRASE"));
        assert!(refusal(&sealed, Some("wrong")).contains("does not open"));

        let public = key.to_public_key().to_public_key_pem(LineEnding::LF).unwrap();
        assert!(refusal(&public, None).contains("public key"));
        assert!(refusal(&format!("{}{}", *pkcs8, *pkcs1), None).contains("2 PEM blocks"));
        assert!(refusal("", None).contains("no PEM block"));
        let certificate = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
        assert!(refusal(certificate, None).contains("certificate"));
        let ec = "-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----\n";
        assert!(refusal(ec, None).contains("EC key"));
        // One flipped character in the middle of the numbers.
        let at = pkcs8.len() / 2;
        let other = if pkcs8.as_bytes()[at] == b'A' { "B" } else { "A" };
        let mut bent = pkcs8.to_string();
        bent.replace_range(at..=at, other);
        refusal(&bent, None);
    }

    #[test]
    fn weak_keys_are_refused() {
        let small = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1024).unwrap();
        let small = small.to_pkcs8_pem(LineEnding::LF).unwrap();
        assert!(refusal(&small, None).contains("1024 bits"));
        let odd = with_exponent_3().to_pkcs8_pem(LineEnding::LF).unwrap();
        assert!(refusal(&odd, None).contains("exponent is 3"));
        assert_eq!(small_factor(&(BigUint::from(751u32) * BigUint::from(1_000_003u32))), Some(751));
        let p = BigUint::from(1u32) << 1023;
        assert!(close(&p, &(&p + BigUint::from(12u32))));
        assert!(!close(&p, &(BigUint::from(3u32) << 1021)));
    }
}
