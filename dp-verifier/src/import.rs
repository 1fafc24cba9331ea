//! Taking what an operator carries to a data plane: license files and status lists.

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

/// What a license file says that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ImportedFile {
    /// Its number among those of the license.
    pub seq: i64,
    /// The license.
    pub license_id: Uuid,
    /// The deployment that runs under it.
    pub deployment_id: Uuid,
    /// When it was made, in seconds since 1970-01-01T00:00:00Z.
    pub issued_at: i64,
    /// Whether it has a license token, which is the [bundled](Verifier::bundled_token) one now.
    pub has_token: bool,
    /// Its status list; none when it has none.
    pub status_list: Option<StatusListInfo>,
    /// Whether a newer status list is held, so that the file's is left aside: the issuer's clock may
    /// have been set back.
    #[serde(skip_serializing_if = "is_false")]
    pub holds_newer_list: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// What a status list says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StatusListInfo {
    /// Its URL, which tokens refer to.
    pub uri: String,
    /// When it was made, in seconds since 1970-01-01T00:00:00Z.
    pub issued_at: i64,
    /// From when on it says nothing any more, in seconds since 1970-01-01T00:00:00Z.
    pub expires_at: i64,
    /// After how many seconds a newer one is asked for, where there is a network.
    pub ttl: i64,
    /// When the list was made that its URL shows now, when that is older than this one, which is held
    /// all the same: the issuer's clock may have been set back, and what it has taken back since is
    /// not known here. In seconds since 1970-01-01T00:00:00Z.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub older_published: Option<i64>,
}

impl StatusListInfo {
    fn of(document: &StatusListToken) -> Self {
        let StatusListToken { uri, iat, exp, ttl, .. } = document;
        let uri = uri.clone();
        Self { uri, issued_at: *iat, expires_at: *exp, ttl: *ttl, older_published: None }
    }

    /// What the operator should know of it, in a sentence; none when all is well.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let published = self.older_published?;
        Some(older(&self.uri, published, self.issued_at))
    }
}

/// When a license file is taken.
#[derive(Clone, Copy)]
pub(crate) enum FileOrigin {
    /// At the start, where the file is that was there at the last start.
    Configured {
        /// Whether it may bring the only keys that there are.
        trusts_itself: bool,
    },
    /// Later, when only a new file makes sense.
    Imported,
}

impl Verifier {
    /// Takes a license file: a new token, or only the newest keys and status list for the one that
    /// is in use. From then on everything is judged by it. Writes the state file when there is one.
    ///
    /// # Errors
    ///
    /// [`ImportError`] says why the file was not taken; nothing has changed then. The codes are
    /// those of tokens and `kid_unknown` when no trusted key leads to its signer, `key_withdrawn` when
    /// an earlier file has withdrawn that, `replayed` when it
    /// is not newer than the newest file that was taken, `other_license`, and `state_unwritable`.
    /// With a [log key](crate::VerifierBuilder::log_key), what a file brings of the log is judged
    /// too, and a token without a proof is refused with `proof_missing`, unless the app
    /// [allows it](crate::VerifierBuilder::allow_unlogged).
    pub fn import(&self, file: &str) -> Result<ImportedFile, ImportError> {
        self.take_file(file, None, FileOrigin::Imported).map_err(ImportError)
    }

    /// Takes a status list token that came by other means than a license file or the network.
    ///
    /// # Errors
    ///
    /// [`ImportError`] says why the list was not taken; nothing has changed then. It is `replayed`
    /// when a newer one was taken, and `expired` when it says nothing any more.
    pub fn import_status_list(&self, list: &str) -> Result<StatusListInfo, ImportError> {
        let taken = self.inner().lists.take(trimmed(list)).map_err(ImportError)?;
        Ok(StatusListInfo::of(&taken))
    }

    /// The status lists that licenses are judged by, the newest of each URL.
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
        // Editors, shells and mail programs put blanks, line breaks and a byte order mark around it.
        let text = trimmed(text);
        let (lists, rules) = (&inner.lists, &inner.lists.rules);
        let store = lists.floor.store();
        // Another process may have taken a newer file, which withdrew keys.
        store.note(|_| ());
        let record = store.kept();
        lists.keys.withdraw(record.keys.withdrawn());
        let (before, seen) = (record.file, record.keys);
        let is_known = matches!(origin, FileOrigin::Configured { .. })
            && before.as_ref().is_some_and(|file| file.is(&sha256_hex(text.as_bytes())));
        let snapshot = lists.keys.load();
        let trusts_itself = matches!(origin, FileOrigin::Configured { trusts_itself: true });
        // A file that was taken before was signed by a key that may have been withdrawn meanwhile.
        let trusted = (!is_known && !trusts_itself).then_some(&**snapshot);
        let mut file = LicenseFile::open(text, trusted, rules)?;
        let (mut kept_keys, mut is_list_held) = (seen.clone(), true);
        if !is_known {
            // Fetched keys may be newer than the file.
            let given = inner.pinned.as_ref().map(|_| &*snapshot.keys);
            let (seq, keys, led_by) = (file.claims.seq, &file.keys, &file.led_by);
            kept_keys.take(before.as_ref(), &FileKeys { seq, keys, led_by, given });
        }
        // A file that was taken before is judged as it was then; its token is judged anew.
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
            // A file that is refused afterwards has told the truth of the log all the same.
            self.take_of_log(log, &file, proof, token.as_ref())?;
        }
        if !is_known {
            store.update(|record| {
                file.follows(record.file.as_ref())?;
                if record.keys != seen {
                    let detail = "the state file has changed meanwhile: take the file again";
                    return Err(VerifyError::new(StateUnwritable, detail));
                }
                record.keys = kept_keys;
                record.file = Some(file.kept(record.file.take()));
                // An older list than one that came by itself is no reason to refuse the file.
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

    /// The status list of a file. It may be over: what it has taken back stays so.
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

    /// Takes what a file brings of the issuer's log: a checkpoint, and the proof of its token.
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
            let detail = "the file brings no proof that its token is in the issuer's log, whose key is \
                known: export the file again";
            return Err(VerifyError::new(ProofMissing, detail));
        }
        Ok(())
    }

    /// Whether a file's token is genuine and for the license that the file is about, and which token
    /// it is.
    fn belongs(
        &self,
        token: &str,
        file: &LicenseFile,
        list: Option<&StatusListToken>,
        withdrawn: &Withdrawn,
        now: i64,
    ) -> Result<(Uuid, TokenFingerprint), VerifyError> {
        let unknown = |kid: &str| {
            let detail = || format!("the file has no key {}", quoted(kid));
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
            return refuse("token: is for another deployment or license than its file");
        }
        match (list, claims.status) {
            (Some(list), Some(status)) if list.uri == status.status_list.uri => {}
            (Some(_), _) => return refuse("status_list: is not the one that the token refers to"),
            (None, _) => {}
        }
        Ok((
            claims.jti,
            TokenFingerprint { kid: signer, sha256: sha256_hex(token.as_bytes()).into() },
        ))
    }
}
