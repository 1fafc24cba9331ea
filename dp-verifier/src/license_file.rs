//! License files: a license, the keys and a status list, carried to where there is no network.
//!
//! # Design
//!
//! A file brings the keys that sign licenses, so it must be signed by one that is trusted already:
//! given to the verifier, or of the file before. An issuer replaces its keys while nobody carries
//! files, and so each key is vouched for by its predecessor. Endorsements are followed as far as
//! they begin at a trusted key; others are passed over, since a file carries those of all keys and a
//! data plane need not know the first.

use semver::Version;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::ErrorCode::{
    ClaimsInvalid, KeysUnavailable, KidUnknown, OtherLicense, Replayed, TokenTooLarge,
};
use crate::claims::{Rules, contract, is_date, object};
use crate::crypto::{PublicKey, sha256_hex};
use crate::error::quoted;
use crate::json::{Fault, Read, Reader, document, found, keep, keep_unknown};
use crate::jws::{self, Kind};
use crate::memory::KeptFile;
use crate::{KeySet, VerifyError};

/// The most endorsements in a file. At one key in 90 days they reach back 15 years.
const MAX_CHAIN: usize = 64;

/// A file whose signature holds, and what it says.
pub(crate) struct LicenseFile {
    pub(crate) claims: Claims,
    /// Its own key set.
    pub(crate) keys: KeySet,
    sha256: String,
}

/// `cp_contracts::LicenseFileClaims`, with every member of the key set: its judge wants to see them.
pub(crate) struct Claims {
    iss: String,
    pub(crate) sub: Uuid,
    pub(crate) license_id: Uuid,
    pub(crate) seq: i64,
    pub(crate) iat: i64,
    pub(crate) token: Option<String>,
    jwks: Map<String, Value>,
    pub(crate) status_list: Option<String>,
    key_chain: Vec<String>,
    pub(crate) checkpoint: Option<String>,
    pub(crate) consistency: Option<String>,
    pub(crate) proof: Option<String>,
    contract: Version,
    #[expect(dead_code, reason = "read so that no name occurs twice")]
    extra: Map<String, Value>,
}

object!(Claims {
    iss = "iss",
    sub = "sub",
    license_id = "license_id",
    seq = "seq",
    iat = "iat",
    token = "token",
    jwks = "jwks",
    status_list = "status_list",
    key_chain = "key_chain",
    checkpoint = "checkpoint",
    consistency = "consistency",
    proof = "proof",
    contract = "contract",
});

/// `cp_contracts::SigningKeyClaims`, likewise.
struct Endorsement {
    iss: String,
    iat: i64,
    jwk: Map<String, Value>,
    #[expect(dead_code, reason = "read so that no name occurs twice")]
    extra: Map<String, Value>,
}

object!(Endorsement { iss = "iss", iat = "iat", jwk = "jwk" });

impl LicenseFile {
    /// Reads a file that is signed by one of these keys, or by one that they vouch for; without
    /// keys, by one of its own.
    pub(crate) fn open(
        text: &str,
        trusted: Option<&KeySet>,
        rules: &Rules,
    ) -> Result<Self, VerifyError> {
        let max = Kind::LICENSE_FILE.max;
        if text.len() > max {
            return Err(VerifyError::new(TokenTooLarge, format!("it has more than {max} bytes")));
        }
        let payload = jws::unchecked_payload(text)?;
        let invalid = |detail: String| VerifyError::new(ClaimsInvalid, detail);
        // Read before the signature is checked, because it brings the keys to check it by.
        let claims: Claims =
            document(&payload).map_err(|fault| invalid(format!("claims: {fault}")))?;
        let keys = KeySet::of(&claims.jwks).map_err(|error| invalid(format!("jwks: {error}")))?;
        let signers = match trusted {
            None => keys.clone(),
            Some(trusted) => extended(trusted, &claims.key_chain, rules)?,
        };
        jws::open(text, Kind::LICENSE_FILE, |kid| known(&signers, kid))?;
        rules.issuer(Some(&claims.iss))?;
        contract(Some(&claims.contract))?;
        if claims.seq < 1 || !is_date(claims.iat) {
            return Err(invalid("seq is below 1, or iat is not a date".to_owned()));
        }
        Ok(Self { claims, keys, sha256: sha256_hex(text.as_bytes()) })
    }

    /// Whether it may follow what was taken before.
    pub(crate) fn follows(&self, before: Option<&KeptFile>) -> Result<(), VerifyError> {
        let Some(before) = before else { return Ok(()) };
        let Claims { sub, license_id, seq, .. } = &self.claims;
        for (what, ours, its) in [
            ("deployment", &before.deployment_id, sub),
            ("license", &before.license_id, license_id),
        ] {
            if ours != its {
                let detail = format!("it is for the {what} {its}; files for {ours} were taken");
                return Err(VerifyError::new(OtherLicense, detail));
            }
        }
        if *seq > before.seq {
            return Ok(());
        }
        let detail = match self.sha256 == before.sha256 {
            true => format!("file {seq} was taken already"),
            false => format!("it is file {seq}, and file {} was taken already", before.seq),
        };
        Err(VerifyError::new(Replayed, detail))
    }

    /// What is remembered of it, after `before`.
    pub(crate) fn kept(&self, before: Option<KeptFile>) -> KeptFile {
        let Claims { sub, license_id, seq, iat, token, jwks, checkpoint, .. } = &self.claims;
        KeptFile {
            license_id: *license_id,
            deployment_id: *sub,
            seq: *seq,
            since: before.as_ref().map_or(*iat, |file| file.since),
            sha256: self.sha256.clone(),
            bundle_sha256: match token {
                Some(_) => Some(self.sha256.clone()),
                None => before.and_then(|file| file.bundle_sha256),
            },
            jwks: jwks.clone(),
            checkpoint: checkpoint.clone(),
        }
    }
}

/// These keys, and those that endorsements lead to.
fn extended(trusted: &KeySet, chain: &[String], rules: &Rules) -> Result<KeySet, VerifyError> {
    let invalid = |why: &str| VerifyError::new(ClaimsInvalid, why.to_owned());
    if chain.len() > MAX_CHAIN {
        return Err(invalid("key_chain has too many members"));
    }
    let mut keys = trusted.clone();
    for (index, endorsement) in chain.iter().enumerate() {
        let follow = |keys: &mut KeySet| {
            let payload = jws::open(endorsement, Kind::SIGNING_KEY, |kid| known(keys, kid))?;
            let endorsement: Endorsement =
                document(&payload).map_err(|fault| invalid(&fault.to_string()))?;
            rules.issuer(Some(&endorsement.iss))?;
            if !is_date(endorsement.iat) {
                return Err(invalid("iat is not a date"));
            }
            keys.add(&endorsement.jwk).map_err(invalid)
        };
        match follow(&mut keys) {
            // It begins at a key that is of no concern here.
            Err(error) if matches!(error.code(), KidUnknown | KeysUnavailable) => {}
            followed => followed.map_err(|error| error.within(&format!("key_chain[{index}]")))?,
        }
    }
    Ok(keys)
}

fn known<'k>(keys: &'k KeySet, kid: &str) -> Result<&'k PublicKey, VerifyError> {
    keys.find(kid).ok_or_else(|| {
        if keys.is_empty() {
            let detail = "no key of the issuer is at hand yet to judge the file by";
            return VerifyError::new(KeysUnavailable, detail);
        }
        let detail = format!("no key {} is trusted, or vouched for by one that is", quoted(kid));
        VerifyError::new(KidUnknown, detail)
    })
}
