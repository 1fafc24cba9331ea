//! RSASSA-PKCS1-v1_5 with SHA-256: the one place that knows the cryptographic backend.

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
mod backend {
    use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};

    #[derive(Debug)]
    pub(crate) struct PublicKey(RsaPublicKeyComponents<Vec<u8>>);

    impl PublicKey {
        /// `None` when the backend does not take the key.
        pub(crate) fn new(n: Vec<u8>, e: Vec<u8>) -> Option<Self> {
            Some(Self(RsaPublicKeyComponents { n, e }))
        }

        pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
            // ring also refuses a signature that is not as long as the modulus, or not below it.
            self.0.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
        }
    }
}

// Both may be on, since any crate of a build can turn a feature on. Then the faster one is used.
#[cfg(feature = "aws-lc-rs")]
mod backend {
    use aws_lc_rs::signature::{
        ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    };

    #[derive(Debug)]
    pub(crate) struct PublicKey(ParsedPublicKey);

    impl PublicKey {
        /// `None` when the backend does not take the key.
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

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
compile_error!("dp-verifier needs one of its features `ring` (the default) and `aws-lc-rs`");
