//! Verified licenses.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use cp_contracts::{
    DeploymentClaims, DeploymentLicenseClaims, LicenseBodyClaims, OrganizationClaims, PlanClaims,
    SubscriptionClaims,
};
use serde::{Serialize, Serializer};
use serde_json::Value;
use uuid::Uuid;

use crate::claims::{MAX_GRACE, Times};
use crate::dates::rfc3339;
use crate::fingerprint::TokenFingerprint;
use crate::keys::KeyId;
use crate::status_list::{ListedStatus, Slot};
use crate::{KeySet, LicenseState, Limit, LogProof, NotEntitled, VerifyError};

/// A verified license.
///
/// Only a [`Verifier`](crate::Verifier) creates this type, so a value proves that a token was
/// checked. A clone copies a pointer. The value does not contain the token. Its `Debug` and
/// `Serialize` forms are safe for logs if the vendor's claims are.
///
/// ```compile_fail
/// let forged = dp_verifier::LicenseContext { claims: Default::default() };
/// ```
#[derive(Clone)]
pub struct LicenseContext {
    verified: Arc<Verified>,
    state: LicenseState,
}

/// A token's claims, and the places of its status and its proof.
struct Verified {
    claims: DeploymentLicenseClaims,
    /// The key that has signed the token.
    signer: KeyId,
    /// `None` when the token has no status, or there are too many lists.
    slot: Option<Arc<Slot>>,
    /// `None` when the verifier has no log key.
    fingerprint: Option<TokenFingerprint>,
    /// The index of the token's entry in the log, once it is proved.
    log_index: OnceLock<u64>,
}

impl LicenseContext {
    /// Creates a license whose state is not judged yet.
    pub(crate) fn new(
        claims: DeploymentLicenseClaims,
        signer: KeyId,
        slot: Option<Arc<Slot>>,
        fingerprint: Option<TokenFingerprint>,
    ) -> Self {
        let verified = Verified { claims, signer, slot, fingerprint, log_index: OnceLock::new() };
        Self { verified: Arc::new(verified), state: LicenseState::Valid }
    }

    /// Checks that a proof is for this token, and marks the token as proved.
    pub(crate) fn is_proved_by(&self, proof: &LogProof) -> Result<(), VerifyError> {
        if let Some(fingerprint) = &self.verified.fingerprint {
            proof.is_of(self.token_id(), fingerprint)?;
            self.verified.log_index.get_or_init(|| proof.index());
        }
        Ok(())
    }

    /// Returns the status of the token, whose index is `idx`.
    pub(crate) fn listed_status(&self, idx: u64, keys: &Arc<KeySet>) -> ListedStatus {
        match &self.verified.slot {
            Some(slot) => slot.listed_status(idx, keys),
            None => ListedStatus::Unknown("the issuer has too many status lists"),
        }
    }

    /// Returns the key that has signed the token.
    pub(crate) fn signer(&self) -> &KeyId {
        &self.verified.signer
    }

    pub(crate) fn slot(&self) -> Option<&Arc<Slot>> {
        self.verified.slot.as_ref()
    }

    pub(crate) fn in_state(self, state: LicenseState) -> Self {
        Self { state, ..self }
    }

    /// Returns the state of the license when it was verified, for this request.
    /// [`Verifier::state_of`](crate::Verifier::state_of) returns the current state.
    #[must_use]
    pub fn state(&self) -> LicenseState {
        self.state
    }

    /// Requires one of these states. States that later versions add are refused until an app names
    /// them.
    ///
    /// # Errors
    ///
    /// Returns [`NotEntitled`], which an app can show to the person.
    ///
    /// ```
    /// # use dp_verifier::{LicenseContext, LicenseState, NotEntitled};
    /// fn create_workspace(license: &LicenseContext, used: u64) -> Result<(), NotEntitled> {
    ///     license.require_state(&[LicenseState::Valid, LicenseState::Expiring])?;
    ///     license.require_feature("workspaces_enabled")?;
    ///     license.require_another("max_workspaces", used)
    /// }
    /// ```
    pub fn require_state(&self, states: &[LicenseState]) -> Result<(), NotEntitled> {
        match states.contains(&self.state) {
            true => Ok(()),
            false => Err(NotEntitled::State { state: self.state }),
        }
    }

    /// Returns the value of a feature, as the vendor set it.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<&Value> {
        self.license().features.get(name)
    }

    /// Returns whether a feature is enabled: its value is `true`, not merely present.
    #[must_use]
    pub fn has_feature(&self, name: &str) -> bool {
        self.feature(name) == Some(&Value::Bool(true))
    }

    /// Requires an enabled feature.
    ///
    /// # Errors
    ///
    /// Returns [`NotEntitled`], which an app can show to the person.
    pub fn require_feature(&self, name: &str) -> Result<(), NotEntitled> {
        match self.has_feature(name) {
            true => Ok(()),
            false => Err(NotEntitled::Feature { name: name.to_owned() }),
        }
    }

    /// Requires that the license includes one more of a metric when `used` are in use.
    ///
    /// # Errors
    ///
    /// Returns [`NotEntitled`], which an app can show to the person.
    pub fn require_another(&self, metric: &str, used: u64) -> Result<(), NotEntitled> {
        let limit = self.limit(metric);
        match limit.allows_another(used) {
            true => Ok(()),
            false => Err(NotEntitled::Limit { metric: metric.to_owned(), limit }),
        }
    }

    /// Returns the limit of a metric, such as `max_workspaces`.
    ///
    /// The license's declared limits decide. A metric without a declared limit may be an integer
    /// feature. In both, -1 and `null` mean unlimited. A metric that is declared nowhere is not
    /// included.
    #[must_use]
    pub fn limit(&self, metric: &str) -> Limit {
        if let Some(limit) = self.license().limits.get(metric) {
            return Limit::declared(*limit);
        }
        match self.feature(metric) {
            Some(Value::Null) => Limit::declared(None),
            Some(Value::Number(number)) => match (number.as_u64(), number.as_i64()) {
                (Some(limit), _) => Limit::AtMost(limit),
                (None, Some(negative)) => Limit::declared(Some(negative)),
                (None, None) => Limit::NotIncluded,
            },
            _ => Limit::NotIncluded,
        }
    }

    /// Returns the maximum number of people who use the deployment.
    #[must_use]
    pub fn seat_cap(&self) -> u64 {
        // The verifier refuses negative caps.
        u64::try_from(self.license().seat_cap).unwrap_or_default()
    }

    /// Returns the customer.
    #[must_use]
    pub fn organization(&self) -> &OrganizationClaims {
        &self.license().organization
    }

    /// Returns the licensed data plane.
    #[must_use]
    pub fn deployment(&self) -> &DeploymentClaims {
        &self.license().deployment
    }

    /// Returns the subscription that the license belongs to.
    #[must_use]
    pub fn subscription(&self) -> &SubscriptionClaims {
        &self.license().subscription
    }

    /// Returns the price tier.
    #[must_use]
    pub fn plan(&self) -> &PlanClaims {
        &self.license().plan
    }

    /// Returns the license's id, which is the same for all its tokens.
    #[must_use]
    pub fn license_id(&self) -> Uuid {
        self.license().license_id
    }

    /// Returns the token's own id, its `jti`.
    #[must_use]
    pub fn token_id(&self) -> Uuid {
        self.claims().jti
    }

    /// Returns the index of the token's entry in the issuer's log, or `None` without a checked
    /// proof.
    #[must_use]
    pub fn log_index(&self) -> Option<u64> {
        self.verified.log_index.get().copied()
    }

    /// Returns when the token expires, in seconds since 1970-01-01T00:00:00Z; exclusive.
    #[must_use]
    pub fn expires_at(&self) -> i64 {
        self.claims().exp
    }

    /// Returns how long the token is valid after `now`, which is in seconds since
    /// 1970-01-01T00:00:00Z. Zero for an expired token.
    #[must_use]
    pub fn expires_in(&self, now: i64) -> Duration {
        let left = u64::try_from(self.claims().exp.saturating_sub(now)).unwrap_or_default();
        Duration::from_secs(left)
    }

    /// Returns the end of the grace period, in seconds since 1970-01-01T00:00:00Z: as the token
    /// grants, and at most 90 days after its expiry. Without a grace period it is
    /// [`expires_at`](Self::expires_at).
    #[must_use]
    pub fn grace_until(&self) -> i64 {
        Times::of(self.claims()).end(MAX_GRACE)
    }

    /// Returns the claims of the token.
    #[must_use]
    pub fn claims(&self) -> &DeploymentLicenseClaims {
        &self.verified.claims
    }

    fn license(&self) -> &LicenseBodyClaims {
        &self.claims().license
    }
}

/// Compares claims and state.
impl PartialEq for LicenseContext {
    fn eq(&self, other: &Self) -> bool {
        self.state == other.state && self.claims() == other.claims()
    }
}

impl fmt::Debug for LicenseContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("LicenseContext");
        shown.field("claims", self.claims()).field("state", &self.state).finish()
    }
}

/// Serializes the license's members, with `state`, `token_id`, `issuer`, `audience` and, in RFC
/// 3339, `issued_at`, `not_before` and `expires_at`.
impl Serialize for LicenseContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Record<'a> {
            state: LicenseState,
            token_id: Uuid,
            issuer: &'a str,
            audience: &'a str,
            issued_at: Option<String>,
            not_before: Option<String>,
            expires_at: Option<String>,
            #[serde(flatten)]
            license: &'a LicenseBodyClaims,
        }
        let claims = self.claims();
        Record {
            state: self.state,
            token_id: claims.jti,
            issuer: &claims.iss,
            audience: &claims.aud,
            issued_at: rfc3339(claims.iat),
            not_before: rfc3339(claims.nbf),
            expires_at: rfc3339(claims.exp),
            license: &claims.license,
        }
        .serialize(serializer)
    }
}
