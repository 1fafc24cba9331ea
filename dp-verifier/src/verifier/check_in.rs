//! The verifier's own token, which check-ins renew.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use cp_contracts::CONTRACT_VERSION;
use serde_json::{Value, json};
use uuid::Uuid;

use super::builder::VerifierBuilder;
use super::{Inner, Verifier};
use crate::ErrorCode::{
    Expired, KeyWithdrawn, KeysUnavailable, KidUnknown, OtherLicense, Revoked, TokenMissing,
};
use crate::counts;
use crate::fetch::{
    Api, CheckInHealth, CheckInSettings, CheckInThread, CheckIns, Complaint, Credential,
    FetchError, NotAdopted, TokenOwner, TokenPair, Tokens,
};
use crate::files;
use crate::jws::{self, MAX_TOKEN};
use crate::status_list::Slot;
use crate::{LicenseContext, VerifyError};

impl VerifierBuilder {
    /// Checks in at the control plane, and so renews the data plane's own token.
    ///
    /// The URL is that of the deployment's check-in:
    /// `https://cp.example/api/v1/deployments/{id}/check-in`; https, or http on this machine. The
    /// credential is the token of that deployment. A license key cannot check in.
    ///
    /// A thread checks in when the server wants it, and earlier when the token in use is revoked or
    /// its key is not known. The old token serves until its end. After a failure the thread waits
    /// for 30 seconds, and up to an hour while the failures continue. [`build`](Self::build) waits
    /// for the first check-in, unless there is a [stored](Self::token_store) token.
    /// [`Verifier::current`] returns the license.
    pub fn check_in(mut self, url: impl Into<String>, credential: impl Into<Credential>) -> Self {
        self.check_in_mut().url = Some((url.into(), credential.into()));
        self
    }

    /// Keeps the token of the last [check-in](Self::check_in) in a file, so that a restart works
    /// without the control plane.
    ///
    /// The file is replaced atomically, and readable by its owner only: the token is a credential.
    /// A token of another deployment is refused, and so is a file that other users may read.
    pub fn token_store(mut self, path: impl Into<PathBuf>) -> Self {
        self.check_in_mut().store = Some(path.into());
        self
    }
}

impl Verifier {
    /// Returns the license of the data plane's own token: the token of the newest
    /// [check-in](VerifierBuilder::check_in), or else that of the newest license file. Does no I/O.
    ///
    /// While the newest token is refused, for example because its status list has not arrived, the
    /// token before it serves.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`verify`](Self::verify); `token_missing` without a token, and
    /// `other_license` when the only token is the stored one of another deployment.
    pub fn current(&self) -> Result<LicenseContext, VerifyError> {
        counts::verified(self.check_current())
    }

    /// Checks the data plane's own token, without a count.
    pub(crate) fn check_current(&self) -> Result<LicenseContext, VerifyError> {
        let Some((check_ins, tokens)) = self.own_tokens() else { return self.check_bundled() };
        let Some(newest) = &tokens.newest else {
            let refused = check_ins.refused_store.clone();
            return self.check_bundled().map_err(|error| match error.code() {
                TokenMissing => refused.unwrap_or(error),
                _ => error,
            });
        };
        self.check(newest).or_else(|refusal| {
            if is_curable(&refusal) {
                check_ins.thread.nudge();
            }
            let before = tokens.before.as_ref().and_then(|token| self.check(token).ok());
            before.ok_or(refusal)
        })
    }

    /// Returns the data plane's own token, which [`current`](Self::current) verifies, or `None`
    /// without one. It is a credential.
    #[must_use]
    pub fn current_token(&self) -> Option<Arc<String>> {
        let Some((check_ins, tokens)) = self.own_tokens() else { return self.bundled_token() };
        let Some(newest) = tokens.newest.clone() else { return self.bundled_token() };
        let Err(refusal) = self.check(&newest) else { return Some(newest) };
        if is_curable(&refusal) {
            check_ins.thread.nudge();
        }
        let before = tokens.before.as_ref().filter(|token| self.check(token).is_ok());
        Some(before.map_or(newest, Arc::clone))
    }

    /// Checks in now and waits for the outcome, up to some seconds. Does nothing without
    /// [check-ins](VerifierBuilder::check_in).
    ///
    /// # Errors
    ///
    /// Returns [`FetchError`] when there was no response, or when the new token is refused. A
    /// response that names a reason against the license is no error:
    /// [`check_in_health`](Self::check_in_health) returns it.
    pub fn check_in_now(&self) -> Result<(), FetchError> {
        let Some(check_ins) = self.check_ins() else { return Ok(()) };
        check_ins.thread.check_in_now();
        let error = check_ins.thread.health().last_error;
        error.map_or(Ok(()), |error| Err(FetchError(error)))
    }

    /// Returns the health of the check-ins, or `None` without [them](VerifierBuilder::check_in).
    #[must_use]
    pub fn check_in_health(&self) -> Option<CheckInHealth> {
        self.check_ins().map(|check_ins| check_ins.thread.health())
    }

    pub(crate) fn check_ins(&self) -> Option<&CheckIns> {
        self.inner.check_ins.get()
    }

    fn own_tokens(&self) -> Option<(&CheckIns, Arc<TokenPair>)> {
        self.check_ins().map(|check_ins| (check_ins, check_ins.tokens.get()))
    }

    fn check_bundled(&self) -> Result<LicenseContext, VerifyError> {
        // An empty token is refused as `token_missing`.
        self.check(self.bundled_token().as_ref().map_or("", |token| token))
    }

    /// Starts the check-ins.
    pub(super) fn start_check_ins(&self, settings: CheckInSettings) -> Result<(), String> {
        let Some((url, credential)) = settings.url else {
            return match settings.store {
                Some(_) => Err("a token store requires check-ins".to_owned()),
                None => Ok(()),
            };
        };
        let (base, deployment_id) = parts_of(&url).ok_or_else(|| {
            "the URL must end with /deployments/{id}/check-in, with the deployment's ID".to_owned()
        })?;
        if credential.is_license_key() {
            return Err("a license key cannot check in; use the deployment's token".to_owned());
        }
        let api = Api::new(&base, &credential, self.inner.ca.as_deref())?;
        let stored = settings.store.as_deref().map(|path| self.stored_token(path, deployment_id));
        let (newest, refused_store) = match stored {
            Some(Ok(token)) => (token, None),
            Some(Err(refusal)) => (None, Some(refusal)),
            None => (None, None),
        };
        let is_stored = newest.is_some();
        let path = format!("/deployments/{deployment_id}/check-in");
        let thread = CheckInThread::start(api, path, WeakVerifier(Arc::downgrade(&self.inner)))?;
        let check_ins = self.inner.check_ins.get_or_init(|| CheckIns {
            thread,
            deployment_id,
            base,
            store: settings.store,
            tokens: Tokens::starting_with(newest),
            refused_store,
        });
        match is_stored {
            true => check_ins.thread.demand(),
            false => check_ins.thread.check_in_now(),
        }
        Ok(())
    }

    /// Reads the stored token. Its signature is checked when it is used, because the keys may not
    /// be known yet.
    fn stored_token(
        &self,
        path: &Path,
        deployment_id: Uuid,
    ) -> Result<Option<Arc<String>>, VerifyError> {
        let unusable = |why: String| {
            VerifyError::new(TokenMissing, format!("the token store {} {why}", path.display()))
        };
        let text = match files::read(path, MAX_TOKEN) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| unusable(format!("cannot be read: {error}")))?,
        };
        match files::is_open_to_others(path) {
            Ok(false) => {}
            _ => return Err(unusable("is open to users other than its owner".to_owned())),
        }
        let text = String::from_utf8(text).map_err(|_| unusable("is not text".to_owned()))?;
        let token = files::trimmed(&text);
        let payload = jws::unchecked_payload(token)?;
        let claims = self.inner.lists.rules.read(&payload, self.time().now)?;
        is_of(claims.sub, deployment_id)?;
        Ok(Some(Arc::new(token.to_owned())))
    }

    /// Uses the token of a check-in, and stores it.
    fn adopt(&self, check_ins: &CheckIns, token: &str) -> Result<(), NotAdopted> {
        let is_key_missing =
            |refusal: &VerifyError| matches!(refusal.code(), KidUnknown | KeysUnavailable);
        let license = self.genuine_license(token).or_else(|refusal| {
            if !is_key_missing(&refusal) {
                return Err(refusal);
            }
            // The key may be newer than the last fetch. A failed fetch changes nothing.
            drop(self.refresh_keys());
            self.genuine_license(token)
        });
        let license = license.map_err(|refusal| {
            let why = format!("the new token: {refusal}");
            match is_key_missing(&refusal) {
                true => NotAdopted::Unjudged(why),
                false => NotAdopted::Refused(why),
            }
        })?;
        is_of(license.claims().sub, check_ins.deployment_id)
            .map_err(|error| NotAdopted::Refused(error.to_string()))?;
        let token = Arc::new(token.to_owned());
        check_ins.tokens.add(&token);
        if let (Some(slot), Some(fetching)) = (license.slot(), self.fetching()) {
            fetching.lists.watch(slot);
        }
        let Some(path) = &check_ins.store else { return Ok(()) };
        files::replace(path, token.as_bytes()).map_err(|error| {
            NotAdopted::Refused(format!("{} cannot be written: {error}", path.display()))
        })
    }

    /// Starts to fetch the status list of a genuine token. The list of the data plane's own token is
    /// watched, too.
    pub(super) fn want_list(&self, token: &str, slot: Option<&Arc<Slot>>) {
        let (Some(slot), Some(fetching)) = (slot, self.fetching()) else { return };
        fetching.lists.want(slot);
        let newest = self.own_tokens().map(|(_, tokens)| tokens.newest.clone());
        let own = newest.and_then(|newest| newest.or_else(|| self.bundled_token()));
        if own.is_some_and(|own| own.as_str() == token) {
            fetching.lists.watch(slot);
        }
    }

    /// Returns the ID of a token, without a check of its signature.
    fn unchecked_id(&self, token: &str) -> Option<Uuid> {
        let payload = jws::unchecked_payload(token).ok()?;
        let claims = self.inner.lists.rules.read(&payload, self.time().now).ok()?;
        Some(claims.jti)
    }

    /// Returns whether a token is refused for a reason that the server may not know.
    fn is_unusable(&self, token: &str) -> bool {
        match self.check(token).map_err(|refusal| refusal.code()) {
            Ok(_) | Err(KeysUnavailable) => false,
            Err(Expired) => true,
            Err(_) => self.genuine_license(token).is_err(),
        }
    }

    /// Returns the refusal of the newest token.
    fn complaint(&self, tokens: &TokenPair) -> Option<Complaint> {
        let newest = tokens.newest.as_ref()?;
        let refusal = self.check(newest).err().filter(is_curable)?;
        Some((Arc::clone(newest), refusal.code()))
    }

    /// Returns the body of a check-in.
    fn check_in_request(&self, tokens: &TokenPair) -> Value {
        let mut request = json!({
            "contract": CONTRACT_VERSION,
            "verifier": concat!("dp-verifier/", env!("CARGO_PKG_VERSION")),
        });
        // The token names the license that answers, also when its key is not known any more.
        if let Some(jti) = tokens.newest.as_ref().and_then(|token| self.unchecked_id(token)) {
            set(&mut request, "jti", json!(jti));
        }
        // The server may think that this token is good.
        if tokens.newest.as_ref().is_some_and(|token| self.is_unusable(token)) {
            set(&mut request, "want", json!("token"));
        }
        let checkpoint = self.log_health().and_then(|health| health.checkpoint);
        if let Some(checkpoint) = checkpoint {
            set(&mut request, "checkpoint", json!(checkpoint.text()));
        }
        let lists = self.inner.lists.documents();
        if let Some(iat) = lists.iter().map(|(list, _)| list.iat).max() {
            set(&mut request, "status_list_iat", json!(iat));
        }
        request
    }
}

fn set(request: &mut Value, member: &str, value: Value) {
    if let Some(members) = request.as_object_mut() {
        members.insert(member.to_owned(), value);
    }
}

/// The verifier as the thread sees it: a weak reference, so that a dropped verifier ends the
/// thread.
struct WeakVerifier(Weak<Inner>);

impl WeakVerifier {
    fn with<T>(&self, ask: impl FnOnce(&Verifier, &CheckIns) -> T) -> Option<T> {
        let verifier = Verifier { inner: self.0.upgrade()? };
        let check_ins = verifier.check_ins()?;
        Some(ask(&verifier, check_ins))
    }
}

impl TokenOwner for WeakVerifier {
    fn now(&self) -> Option<i64> {
        self.with(|verifier, _| verifier.time().now)
    }

    fn complaint(&self) -> Option<Option<Complaint>> {
        self.with(|verifier, check_ins| verifier.complaint(&check_ins.tokens.get()))
    }

    fn request(&self) -> Option<Value> {
        self.with(|verifier, check_ins| verifier.check_in_request(&check_ins.tokens.get()))
    }

    fn adopt(&self, token: &str) -> Option<Result<(), NotAdopted>> {
        self.with(|verifier, check_ins| verifier.adopt(check_ins, token))
    }
}

/// Returns whether a new token could be admitted where this one is refused.
fn is_curable(refusal: &VerifyError) -> bool {
    matches!(refusal.code(), Revoked | KidUnknown | KeyWithdrawn | Expired)
}

fn is_of(deployment_id: Uuid, expected: Uuid) -> Result<(), VerifyError> {
    if deployment_id == expected {
        return Ok(());
    }
    let detail = format!("the token belongs to the deployment {deployment_id}, not to {expected}");
    Err(VerifyError::new(OtherLicense, detail))
}

/// Returns the base URL of the API, and the deployment's ID.
fn parts_of(url: &str) -> Option<(String, Uuid)> {
    let (deployments, id) = url.strip_suffix("/check-in")?.rsplit_once('/')?;
    let base = deployments.strip_suffix("/deployments")?;
    Some((base.to_owned(), Uuid::try_parse(id).ok()?))
}
