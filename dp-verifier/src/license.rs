//! What a verified token entitles to.

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
/// Only a [`Verifier`](crate::Verifier) makes one, so holding it proves that a token was checked.
/// Cloning it copies a pointer. It does not contain the token: its `Debug` and `Serialize` forms are
/// fit for logs, except for what the vendor put into the claims.
///
/// ```compile_fail
/// let forged = dp_verifier::LicenseContext { claims: Default::default() };
/// ```
#[derive(Clone)]
pub struct LicenseContext {
    verified: Arc<Verified>,
    state: LicenseState,
}

/// A token's claims, and where its status is found.
struct Verified {
    claims: DeploymentLicenseClaims,
    /// The key that has signed the token.
    signer: KeyId,
    /// None when the token has no status, or there are too many lists.
    slot: Option<Arc<Slot>>,
    /// None when the verifier knows no log.
    fingerprint: Option<TokenFingerprint>,
    /// The number of its entry in the log, from when that is proved.
    log_index: OnceLock<u64>,
}

impl LicenseContext {
    /// A license whose state is not judged yet.
    pub(crate) fn new(
        claims: DeploymentLicenseClaims,
        signer: KeyId,
        slot: Option<Arc<Slot>>,
        fingerprint: Option<TokenFingerprint>,
    ) -> Self {
        let verified = Verified { claims, signer, slot, fingerprint, log_index: OnceLock::new() };
        Self { verified: Arc::new(verified), state: LicenseState::Valid }
    }

    /// Whether a proof is about this token; from then on it is proved.
    pub(crate) fn is_proved_by(&self, proof: &LogProof) -> Result<(), VerifyError> {
        if let Some(fingerprint) = &self.verified.fingerprint {
            proof.is_of(self.token_id(), fingerprint)?;
            self.verified.log_index.get_or_init(|| proof.index());
        }
        Ok(())
    }

    /// What is known of the status of the token, whose index is `idx`.
    pub(crate) fn listed_status(&self, idx: u64, keys: &Arc<KeySet>) -> ListedStatus {
        match &self.verified.slot {
            Some(slot) => slot.listed_status(idx, keys),
            None => ListedStatus::Unknown("there are too many status lists"),
        }
    }

    /// The key that has signed the token.
    pub(crate) fn signer(&self) -> &KeyId {
        &self.verified.signer
    }

    pub(crate) fn slot(&self) -> Option<&Arc<Slot>> {
        self.verified.slot.as_ref()
    }

    pub(crate) fn in_state(self, state: LicenseState) -> Self {
        Self { state, ..self }
    }

    /// How the license stood when it was verified, for this request;
    /// [`Verifier::state_of`](crate::Verifier::state_of) tells how it stands now.
    #[must_use]
    pub fn state(&self) -> LicenseState {
        self.state
    }

    /// Insists on one of these states. States that later versions add are refused until an app
    /// names them.
    ///
    /// # Errors
    ///
    /// [`NotEntitled`], fit to be returned to the person who asked.
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

    /// A feature's value, as the vendor set it.
    #[must_use]
    pub fn feature(&self, name: &str) -> Option<&Value> {
        self.license().features.get(name)
    }

    /// Whether a feature is switched on: its value is `true`, and not merely present.
    #[must_use]
    pub fn has_feature(&self, name: &str) -> bool {
        self.feature(name) == Some(&Value::Bool(true))
    }

    /// Insists on a feature that is switched on.
    ///
    /// # Errors
    ///
    /// [`NotEntitled`], fit to be returned to the person who asked.
    pub fn require_feature(&self, name: &str) -> Result<(), NotEntitled> {
        match self.has_feature(name) {
            true => Ok(()),
            false => Err(NotEntitled::Feature { name: name.to_owned() }),
        }
    }

    /// Insists that one more of a metric is included when `used` are in use.
    ///
    /// # Errors
    ///
    /// [`NotEntitled`], fit to be returned to the person who asked.
    pub fn require_another(&self, metric: &str, used: u64) -> Result<(), NotEntitled> {
        let limit = self.limit(metric);
        match limit.allows_another(used) {
            true => Ok(()),
            false => Err(NotEntitled::Limit { metric: metric.to_owned(), limit }),
        }
    }

    /// How much of a metric, such as `max_workspaces`, is included.
    ///
    /// The license's declared limits decide; a metric that is not among them may be an integer
    /// feature. In both, -1 and `null` mean unlimited. What is declared nowhere is not included.
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

    /// How many people may use the deployment.
    #[must_use]
    pub fn seat_cap(&self) -> u64 {
        // The verifier refuses negative caps.
        u64::try_from(self.license().seat_cap).unwrap_or_default()
    }

    /// The customer.
    #[must_use]
    pub fn organization(&self) -> &OrganizationClaims {
        &self.license().organization
    }

    /// The data plane that the license is for.
    #[must_use]
    pub fn deployment(&self) -> &DeploymentClaims {
        &self.license().deployment
    }

    /// The contract that the license belongs to.
    #[must_use]
    pub fn subscription(&self) -> &SubscriptionClaims {
        &self.license().subscription
    }

    /// The price tier.
    #[must_use]
    pub fn plan(&self) -> &PlanClaims {
        &self.license().plan
    }

    /// The license's id; the same for all its tokens.
    #[must_use]
    pub fn license_id(&self) -> Uuid {
        self.license().license_id
    }

    /// The token's own id, its `jti`.
    #[must_use]
    pub fn token_id(&self) -> Uuid {
        self.claims().jti
    }

    /// The number of the token's entry in the issuer's log; none unless a proof of that was checked.
    #[must_use]
    pub fn log_index(&self) -> Option<u64> {
        self.verified.log_index.get().copied()
    }

    /// From when on the token is no longer valid, in seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn expires_at(&self) -> i64 {
        self.claims().exp
    }

    /// How long the token is valid after `now`, which is in seconds since 1970-01-01T00:00:00Z;
    /// zero when it is over.
    #[must_use]
    pub fn expires_in(&self, now: i64) -> Duration {
        let left = u64::try_from(self.claims().exp.saturating_sub(now)).unwrap_or_default();
        Duration::from_secs(left)
    }

    /// Until when the token still works after it has expired, in seconds since
    /// 1970-01-01T00:00:00Z: as the token itself grants, and for 90 days at most. Without such grace
    /// it is [`expires_at`](Self::expires_at).
    #[must_use]
    pub fn grace_until(&self) -> i64 {
        Times::of(self.claims()).end(MAX_GRACE)
    }

    /// Everything the token says.
    #[must_use]
    pub fn claims(&self) -> &DeploymentLicenseClaims {
        &self.verified.claims
    }

    fn license(&self) -> &LicenseBodyClaims {
        &self.claims().license
    }
}

/// Equal when the token says the same and the license stood alike.
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

/// Written as the license's members, with `state`, `token_id`, `issuer`, `audience` and, in RFC 3339,
/// `issued_at`, `not_before` and `expires_at`.
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
