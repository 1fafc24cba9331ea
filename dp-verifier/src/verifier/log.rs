//! The issuer's log, as a verifier shows it.

use std::sync::Arc;

use crate::ErrorCode::ProofInvalid;
use crate::log::LogHealth;
use crate::state_file::Consistency;
use crate::{LicenseContext, Verifier, VerifyError};

impl Verifier {
    /// Checks a token that comes with a proof that it is in the issuer's log: the text of a
    /// `c2sp.org/tlog-proof@v1`. The proof is remembered, over restarts when there is a state file.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify); `proof_invalid` when the proof is not by the
    /// [log's key](crate::VerifierBuilder::log_key), does not hold, or is not about this token;
    /// `split_view` when it leads to another history of the log than was seen before.
    pub fn verify_with_proof(
        &self,
        token: &str,
        proof: &str,
    ) -> Result<LicenseContext, VerifyError> {
        let Some(log) = self.log() else {
            return Err(VerifyError::new(ProofInvalid, "the verifier was given no log key"));
        };
        let license = self.genuine_license(token)?;
        let proof = log.key.proof(proof)?;
        license.is_proved_by(&proof)?;
        log.take(Arc::new(proof), Consistency::Unknown)?;
        self.verify(token)
    }

    /// How the issuer's log is doing; none when the verifier was given no log key.
    #[must_use]
    pub fn log_health(&self) -> Option<LogHealth> {
        self.log().map(|log| log.health())
    }
}
