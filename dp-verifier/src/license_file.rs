//! License files: a license, the keys and a status list for a data plane without a network.
//!
//! # Design
//!
//! A file brings the keys that sign licenses. So a key that is already trusted must have signed the
//! file: a configured key, or a key of the file before. An issuer may rotate its keys several times
//! between two files, so each key endorses its successor. The verifier follows endorsements from a
//! trusted key. It skips others, because a file has the endorsements of all keys and a data plane
//! need not know the first. Endorsements by or of a withdrawn key do not count.

use semver::Version;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::ErrorCode::{
    ClaimsInvalid, KeyWithdrawn, KeysUnavailable, KidUnknown, OtherLicense, Replayed, TokenTooLarge,
};
use crate::claims::{Rules, contract};
use crate::crypto::sha256_hex;
use crate::dates::is_date;
use crate::error::quoted;
use crate::json::{document, object};
use crate::jws::{self, Kind};
use crate::keys::{SigningKey, Snapshot, Withdrawn};
use crate::state_file::KeptFile;
use crate::{KeySet, VerifyError};

/// The maximum number of endorsements in a file. With a new key every 90 days they cover 15 years.
const MAX_CHAIN: usize = 64;

/// The maximum lead of a file's number over the greater of two values: the number of the file
/// before, and the file's date in seconds since 1970.
///
/// Without a bound, one file with the highest number would lock out every later one. Issuers count
/// their files from 1, or number them by the second, so no number is far above its second. The
/// bound is a day of seconds, because an issuer's clock may have been set back by that much.
const MAX_LEAD: i64 = 86_400;

/// A file with a checked signature.
pub(crate) struct LicenseFile {
    pub(crate) claims: Claims,
    /// The file's key set.
    pub(crate) keys: KeySet,
    /// The keys that verified the file: its signer, and the endorsed keys.
    pub(crate) led_by: KeySet,
    sha256: String,
}

/// `cp_contracts::LicenseFileClaims`, with every member of the key set, which its validation needs.
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
    /// Reads a file that is signed by a trusted key, or by a key that these endorse. Without
    /// trusted keys, the signer must be a key of the file.
    pub(crate) fn open(
        text: &str,
        trusted: Option<&Snapshot>,
        rules: &Rules,
    ) -> Result<Self, VerifyError> {
        let max = Kind::LICENSE_FILE.max;
        if text.len() > max {
            let detail = format!("the file has more than {max} bytes");
            return Err(VerifyError::new(TokenTooLarge, detail));
        }
        let payload = jws::unchecked_payload(text)?;
        let invalid = |detail: String| VerifyError::new(ClaimsInvalid, detail);
        // Read before the signature is checked, because the file brings the keys for that check.
        let claims: Claims =
            document(&payload).map_err(|fault| invalid(format!("claims: {fault}")))?;
        let keys = KeySet::of(&claims.jwks).map_err(|error| invalid(format!("jwks: {error}")))?;
        let (signers, mut led_by) = match trusted {
            None => (keys.clone(), KeySet::default()),
            Some(trusted) => extended(trusted, &claims.key_chain, rules)?,
        };
        let withdrawn = trusted.map(|trusted| &*trusted.withdrawn);
        jws::open(text, Kind::LICENSE_FILE, |kid| {
            let signer = known(&signers, withdrawn, kid)?;
            led_by = led_by.with(&signers.only(kid));
            Ok(signer)
        })?;
        rules.issuer(Some(&claims.iss))?;
        contract(Some(&claims.contract))?;
        if claims.seq < 1 || !is_date(claims.iat) {
            return Err(invalid("seq must be at least 1, and iat must be a date".to_owned()));
        }
        Ok(Self { claims, keys, led_by, sha256: sha256_hex(text.as_bytes()) })
    }

    /// Checks that this file may follow the newest imported file.
    pub(crate) fn follows(&self, before: Option<&KeptFile>) -> Result<(), VerifyError> {
        let Some(before) = before else { return self.is_numbered_after(0) };
        let Claims { sub, license_id, seq, .. } = &self.claims;
        for (what, ours, its) in [
            ("deployment", &before.deployment_id, sub),
            ("license", &before.license_id, license_id),
        ] {
            if ours != its {
                let detail = format!("the file is for the {what} {its}, not for {ours}");
                return Err(VerifyError::new(OtherLicense, detail));
            }
        }
        if *seq > before.seq {
            return self.is_numbered_after(before.seq);
        }
        let detail = match self.sha256 == before.sha256 {
            true => format!("file {seq} is already imported"),
            false => format!("this is file {seq}, and file {} is already imported", before.seq),
        };
        Err(VerifyError::new(Replayed, detail))
    }

    /// Checks that the number does not lock out later files.
    fn is_numbered_after(&self, before: i64) -> Result<(), VerifyError> {
        let Claims { seq, iat, .. } = &self.claims;
        let most = before.max(*iat).saturating_add(MAX_LEAD);
        if *seq <= most {
            return Ok(());
        }
        let detail =
            format!("seq must be at most {most} at this date and after file {before} (got {seq})");
        Err(VerifyError::new(ClaimsInvalid, detail))
    }

    /// Returns the content for the state file, after the file `before`.
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

/// Returns two sets: the trusted keys with the endorsed ones, and the endorsed ones alone.
fn extended(
    trusted: &Snapshot,
    chain: &[String],
    rules: &Rules,
) -> Result<(KeySet, KeySet), VerifyError> {
    let withdrawn = &trusted.withdrawn;
    let invalid = |why: &str| VerifyError::new(ClaimsInvalid, why.to_owned());
    if chain.len() > MAX_CHAIN {
        return Err(invalid("key_chain must have at most 64 members"));
    }
    let (mut keys, mut endorsed) = (KeySet::clone(&trusted.keys), KeySet::default());
    for (index, endorsement) in chain.iter().enumerate() {
        let mut follow = || {
            let payload = jws::open(endorsement, Kind::SIGNING_KEY, |kid| {
                known(&keys, Some(withdrawn), kid)
            })?;
            let endorsement: Endorsement =
                document(&payload).map_err(|fault| invalid(&fault.to_string()))?;
            rules.issuer(Some(&endorsement.iss))?;
            if !is_date(endorsement.iat) {
                return Err(invalid("iat is not a date"));
            }
            keys.add(&endorsement.jwk, withdrawn).map_err(invalid)?;
            endorsed.add(&endorsement.jwk, withdrawn).map_err(invalid)
        };
        match follow() {
            // This endorsement begins at a key that is not trusted here.
            Err(error) if matches!(error.code(), KidUnknown | KeyWithdrawn | KeysUnavailable) => {}
            followed => followed.map_err(|error| error.within(&format!("key_chain[{index}]")))?,
        }
    }
    Ok((keys, endorsed))
}

fn known<'k>(
    keys: &'k KeySet,
    withdrawn: Option<&Withdrawn>,
    kid: &str,
) -> Result<&'k SigningKey, VerifyError> {
    keys.find(kid).ok_or_else(|| {
        if let Some(refusal) = withdrawn.and_then(|withdrawn| withdrawn.refusal(kid)) {
            return refusal;
        }
        if keys.is_empty() {
            let detail = "the verifier has no key of the issuer yet to check the file";
            return VerifyError::new(KeysUnavailable, detail);
        }
        let detail = format!("the key {} is neither trusted nor endorsed", quoted(kid));
        VerifyError::new(KidUnknown, detail)
    })
}
