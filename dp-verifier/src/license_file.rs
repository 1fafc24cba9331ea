//! License files: a license, the keys and a status list, carried to where there is no network.
//!
//! # Design
//!
//! A file brings the keys that sign licenses, so it must be signed by one that is trusted already:
//! given to the verifier, or of the file before. An issuer replaces its keys while nobody carries
//! files, and so each key is vouched for by its predecessor. Endorsements are followed as far as
//! they begin at a trusted key; others are passed over, since a file carries those of all keys and a
//! data plane need not know the first. What a withdrawn key vouches for counts for nothing, and
//! neither does what vouches for a withdrawn key.

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

/// The most endorsements in a file. At one key in 90 days they reach back 15 years.
const MAX_CHAIN: usize = 64;

/// By how much the number of a file may exceed that of the file before it, and its date in seconds
/// since 1970, whichever is more.
///
/// Without a bound, one file with the highest of all numbers would lock out every later one. Issuers
/// count their files from 1, or number them by the second after a restored backup, and so no number
/// is ever far above the second that it was given in. The bound is a day of seconds: an issuer's clock
/// may have been set back by that much since.
const MAX_LEAD: i64 = 86_400;

/// A file whose signature holds, and what it says.
pub(crate) struct LicenseFile {
    pub(crate) claims: Claims,
    /// Its own key set.
    pub(crate) keys: KeySet,
    /// The keys that led to it: the one that signed it, and those that its endorsements are of.
    pub(crate) led_by: KeySet,
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
        trusted: Option<&Snapshot>,
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
            return Err(invalid("seq is below 1, or iat is not a date".to_owned()));
        }
        Ok(Self { claims, keys, led_by, sha256: sha256_hex(text.as_bytes()) })
    }

    /// Whether it may follow what was taken before.
    pub(crate) fn follows(&self, before: Option<&KeptFile>) -> Result<(), VerifyError> {
        let Some(before) = before else { return self.is_numbered_after(0) };
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
            return self.is_numbered_after(before.seq);
        }
        let detail = match self.sha256 == before.sha256 {
            true => format!("file {seq} was taken already"),
            false => format!("it is file {seq}, and file {} was taken already", before.seq),
        };
        Err(VerifyError::new(Replayed, detail))
    }

    /// Whether its number locks out no later file.
    fn is_numbered_after(&self, before: i64) -> Result<(), VerifyError> {
        let Claims { seq, iat, .. } = &self.claims;
        let most = before.max(*iat).saturating_add(MAX_LEAD);
        if *seq <= most {
            return Ok(());
        }
        let detail =
            format!("seq is {seq}; at its date, and after file {before}, {most} is the most");
        Err(VerifyError::new(ClaimsInvalid, detail))
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

/// These keys and those that endorsements lead to, and the latter by themselves.
fn extended(
    trusted: &Snapshot,
    chain: &[String],
    rules: &Rules,
) -> Result<(KeySet, KeySet), VerifyError> {
    let withdrawn = &trusted.withdrawn;
    let invalid = |why: &str| VerifyError::new(ClaimsInvalid, why.to_owned());
    if chain.len() > MAX_CHAIN {
        return Err(invalid("key_chain has too many members"));
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
            // It begins at a key that is of no concern here.
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
            let detail = "no key of the issuer is at hand yet to judge the file by";
            return VerifyError::new(KeysUnavailable, detail);
        }
        let detail = format!("no key {} is trusted, or vouched for by one that is", quoted(kid));
        VerifyError::new(KidUnknown, detail)
    })
}
