//! The import of license files and status lists.

use std::sync::{Arc, PoisonError};

use serde::Serialize;
use uuid::Uuid;

use crate::ErrorCode::{ClaimsInvalid, KidUnknown, ProofMissing, StateUnwritable};
use crate::crypto::sha256_hex;
use crate::error::quoted;
use crate::files::trimmed;
use crate::fingerprint::TokenFingerprint;
use crate::jws::{self, Kind};
use crate::keys::Withdrawn;
use crate::license_file::LicenseFile;
use crate::log::{LogBook, ProofLookup};
use crate::state_file::{Consistency, FileKeys, KeptList};
use crate::status_list::{older, too_many};
use crate::status_list_token::StatusListToken;
use crate::{ImportError, Verifier, VerifyError};

/// An imported license file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImportedFile {
    /// The number of the file within its license.
    pub seq: i64,
    /// The license.
    pub license_id: Uuid,
    /// The deployment.
    pub deployment_id: Uuid,
    /// When the file was issued, in seconds since 1970-01-01T00:00:00Z.
    pub issued_at: i64,
    /// Whether the file has a license token, which is now the [bundled](Verifier::bundled_token)
    /// one.
    pub has_token: bool,
    /// The status list of the file, if it has one.
    pub status_list: Option<StatusListInfo>,
    /// Whether the verifier holds a newer status list and ignores that of the file: the issuer's
    /// clock may have been set back.
    #[serde(skip_serializing_if = "is_false")]
    pub holds_newer_list: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde requires this signature")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The URL and the times of a status list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StatusListInfo {
    /// The URL of the list, which tokens contain.
    pub uri: String,
    /// When the list was issued, in seconds since 1970-01-01T00:00:00Z.
    pub issued_at: i64,
    /// When the list expires, in seconds since 1970-01-01T00:00:00Z.
    pub expires_at: i64,
    /// The time between two requests for the list, in seconds, if there is a network.
    pub ttl: i64,
    /// The issue time of the list that the URL serves now, if that is older than this one, in
    /// seconds since 1970-01-01T00:00:00Z. The verifier keeps this list. The issuer's clock may
    /// have been set back, and later revocations are not known here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_published: Option<i64>,
}

impl StatusListInfo {
    fn of(document: &StatusListToken) -> Self {
        let StatusListToken { uri, iat, exp, ttl, .. } = document;
        let uri = uri.clone();
        Self { uri, issued_at: *iat, expires_at: *exp, ttl: *ttl, older_published: None }
    }

    /// Returns a warning for the operator, or `None`.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let published = self.older_published?;
        Some(older(&self.uri, published, self.issued_at))
    }
}

/// The origin of a license file.
#[derive(Clone, Copy)]
pub(crate) enum FileOrigin {
    /// The bundle file of the settings. It may be the same file as at the last start.
    Configured {
        /// Whether the file may bring the only keys.
        trusts_itself: bool,
    },
    /// A later import, which must be a new file.
    Imported,
}

impl Verifier {
    /// Imports a license file: a new token, or only the newest keys and status list for the token
    /// in use. The verifier then judges all licenses by it. Writes the state file if there is one.
    ///
    /// # Errors
    ///
    /// Returns [`ImportError`] when the file is refused. The verifier is then unchanged. The codes
    /// are those of tokens, and: `kid_unknown` when no trusted key leads to the signer,
    /// `key_withdrawn` when an earlier file has withdrawn the signer, `replayed` when the file is
    /// not newer than the newest imported file, `other_license`, and `state_unwritable`.
    ///
    /// With a [log key](crate::VerifierBuilder::log_key), the log's checkpoint and proof in the
    /// file are checked too. A token without a proof is then refused with `proof_missing`, unless
    /// the app [allows it](crate::VerifierBuilder::allow_unlogged).
    pub fn import(&self, file: &str) -> Result<ImportedFile, ImportError> {
        self.take_file(file, None, FileOrigin::Imported).map_err(ImportError)
    }

    /// Imports a status list token that came neither in a license file nor over the network.
    ///
    /// # Errors
    ///
    /// Returns [`ImportError`] when the list is refused. The verifier is then unchanged. The code
    /// is `replayed` when a newer list was imported, and `expired` when the list has expired.
    pub fn import_status_list(&self, list: &str) -> Result<StatusListInfo, ImportError> {
        let taken = self.inner().lists.take(trimmed(list)).map_err(ImportError)?;
        Ok(StatusListInfo::of(&taken))
    }

    /// Returns the status lists in use, the newest of each URL.
    #[must_use]
    pub fn status_lists(&self) -> Vec<StatusListInfo> {
        let documents = self.inner().lists.documents();
        let infos = documents.iter().map(|(document, older_published)| StatusListInfo {
            older_published: *older_published,
            ..StatusListInfo::of(document)
        });
        infos.collect()
    }

    pub(crate) fn take_file(
        &self,
        text: &str,
        proof: Option<&str>,
        origin: FileOrigin,
    ) -> Result<ImportedFile, VerifyError> {
        let inner = self.inner();
        let _one_at_a_time = inner.importing.lock().unwrap_or_else(PoisonError::into_inner);
        // Editors, shells and mail programs add white space and a byte order mark around the text.
        let text = trimmed(text);
        let (lists, rules) = (&inner.lists, &inner.lists.rules);
        let store = lists.floor.store();
        // Another process may have imported a newer file, which withdrew keys.
        store.note(|_| ());
        let record = store.kept();
        lists.keys.withdraw(record.keys.withdrawn());
        let (before, seen) = (record.file, record.keys);
        let is_known = matches!(origin, FileOrigin::Configured { .. })
            && before.as_ref().is_some_and(|file| file.is(&sha256_hex(text.as_bytes())));
        let snapshot = lists.keys.load();
        let trusts_itself = matches!(origin, FileOrigin::Configured { trusts_itself: true });
        // The signer of an already imported file may have been withdrawn since.
        let trusted = (!is_known && !trusts_itself).then_some(&**snapshot);
        let mut file = LicenseFile::open(text, trusted, rules)?;
        let (mut kept_keys, mut is_list_held) = (seen.clone(), true);
        if !is_known {
            // Fetched keys may be newer than the file.
            let given = inner.pinned.as_ref().map(|_| &*snapshot.keys);
            let (seq, keys, led_by) = (file.claims.seq, &file.keys, &file.led_by);
            kept_keys.take(before.as_ref(), &FileKeys { seq, keys, led_by, given });
        }
        // An already imported file is judged as it was then. Its token is judged again later.
        let withdrawn = if is_known { Withdrawn::default() } else { kept_keys.withdrawn() };
        file.keys = file.keys.without(&withdrawn);
        let now = lists.floor.corrected(lists.clock.now());
        rules.issued(file.claims.iat, now)?;
        let list = file.claims.status_list.as_deref().map(|list| self.list_of(&file, list, now));
        let list = list.transpose()?.map(Arc::new);
        let token = file.claims.token.as_ref();
        let token = token.map(|token| self.belongs(token, &file, list.as_deref(), &withdrawn, now));
        let token = token.transpose()?;
        if let Some(log) = &inner.log {
            // The checkpoint counts even if the file is refused afterwards.
            self.take_of_log(log, &file, proof, token.as_ref())?;
        }
        if !is_known {
            store.update(|record| {
                file.follows(record.file.as_ref())?;
                if record.keys != seen {
                    let detail =
                        "another process has changed the state file: import the file again";
                    return Err(VerifyError::new(StateUnwritable, detail));
                }
                record.keys = kept_keys;
                record.file = Some(file.kept(record.file.take()));
                // The file may have an older list than one that was imported alone.
                if let Some(list) = &list {
                    is_list_held = KeptList::of(list).keep_in(&mut record.lists, &list.uri);
                }
                Ok(())
            })?;
            let pinned = inner.pinned.as_ref().map(|pinned| pinned.without(&withdrawn));
            lists.keys.withdraw(withdrawn);
            if let Some(pinned) = pinned {
                lists.keys.replace(pinned.with(&file.keys), i64::MAX);
            }
            let keys = Arc::clone(&lists.keys.load().keys);
            lists.floor.raise(file.claims.iat);
            if let Some(list) = &list {
                lists.hold(list, &keys);
            }
        }
        if let Some(token) = &file.claims.token {
            inner.bundled_token.store(Some(Arc::new(token.clone())));
        }
        Ok(ImportedFile {
            seq: file.claims.seq,
            license_id: file.claims.license_id,
            deployment_id: file.claims.sub,
            issued_at: file.claims.iat,
            has_token: file.claims.token.is_some(),
            status_list: list.as_deref().map(StatusListInfo::of),
            holds_newer_list: !is_list_held,
        })
    }

    /// Reads the status list of a file. The list may have expired, because revocations count at any
    /// age.
    fn list_of(
        &self,
        file: &LicenseFile,
        text: &str,
        now: i64,
    ) -> Result<StatusListToken, VerifyError> {
        let lists = &self.inner().lists;
        let document = lists.open(text, &file.keys).map_err(|error| error.within("status_list"))?;
        lists.rules.issued(document.iat, now)?;
        lists.slot(&document.uri).ok_or_else(too_many)?;
        Ok(document)
    }

    /// Records the checkpoint of a file, and the proof of its token.
    fn take_of_log(
        &self,
        log: &LogBook,
        file: &LicenseFile,
        beside: Option<&str>,
        token: Option<&(Uuid, TokenFingerprint)>,
    ) -> Result<(), VerifyError> {
        if let Some(text) = &file.claims.checkpoint {
            let shown = log.key.checkpoint(text)?;
            log.see(&shown, file.claims.consistency.as_deref())?;
        }
        let Some((jti, fingerprint)) = token else { return Ok(()) };
        if let Some(text) = file.claims.proof.as_deref().or(beside) {
            let proof = log.key.proof(text)?;
            proof.is_of(*jti, fingerprint)?;
            return log.take(Arc::new(proof), Consistency::Unknown);
        }
        let is_known = matches!(log.lookup(*jti), Some(ProofLookup::Proof(_)));
        if log.is_required && !is_known && !self.asks_the_log() {
            let detail = "the file has no proof of inclusion for its token, and the log key is known: \
                export the file again";
            return Err(VerifyError::new(ProofMissing, detail));
        }
        Ok(())
    }

    /// Checks that a file's token is genuine and for the license of the file. Returns the identity
    /// of the token.
    fn belongs(
        &self,
        token: &str,
        file: &LicenseFile,
        list: Option<&StatusListToken>,
        withdrawn: &Withdrawn,
        now: i64,
    ) -> Result<(Uuid, TokenFingerprint), VerifyError> {
        let unknown = |kid: &str| {
            let detail = || format!("the file does not have the key {}", quoted(kid));
            let refusal = withdrawn.refusal(kid);
            refusal.unwrap_or_else(|| VerifyError::new(KidUnknown, detail()))
        };
        let mut signer = Box::default();
        let key_of = |kid: &str| {
            signer = kid.into();
            file.keys.find(kid).ok_or_else(|| unknown(kid))
        };
        let claims = jws::open(token, Kind::LICENSE, key_of)
            .and_then(|payload| self.inner().lists.rules.read(&payload, now))
            .map_err(|error| error.within("token"))?;
        let refuse = |detail| Err(VerifyError::new(ClaimsInvalid, detail));
        if (claims.sub, claims.license.license_id) != (file.claims.sub, file.claims.license_id) {
            return refuse("token: must be for the deployment and the license of its file");
        }
        match (list, claims.status) {
            (Some(list), Some(status)) if list.uri == status.status_list.uri => {}
            (Some(_), _) => {
                return refuse("status_list: must be the list that the token refers to");
            }
            (None, _) => {}
        }
        Ok((
            claims.jti,
            TokenFingerprint { kid: signer, sha256: sha256_hex(token.as_bytes()).into() },
        ))
    }
}
