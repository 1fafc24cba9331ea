//! The verifier's functions for the issuer's log.

use std::sync::Arc;

use crate::ErrorCode::ProofInvalid;
use crate::log::LogHealth;
use crate::state_file::Consistency;
use crate::{LicenseContext, Verifier, VerifyError};

impl Verifier {
    /// Checks a token with a proof that it is in the issuer's log: the text of a
    /// `c2sp.org/tlog-proof@v1`. The verifier keeps the proof, and a state file keeps it over
    /// restarts.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`verify`](Self::verify). Returns `proof_invalid` when the proof is
    /// not signed by the [log key](crate::VerifierBuilder::log_key), does not hold, or is for
    /// another token. Returns `split_view` when the proof leads to another history of the log than
    /// the seen one.
    pub fn verify_with_proof(
        &self,
        token: &str,
        proof: &str,
    ) -> Result<LicenseContext, VerifyError> {
        let Some(log) = self.log() else {
            return Err(VerifyError::new(ProofInvalid, "the verifier has no log key"));
        };
        let license = self.genuine_license(token)?;
        let proof = log.key.proof(proof)?;
        license.is_proved_by(&proof)?;
        log.take(Arc::new(proof), Consistency::Unknown)?;
        self.verify(token)
    }

    /// Returns the health of the issuer's log, or `None` without a log key.
    #[must_use]
    pub fn log_health(&self) -> Option<LogHealth> {
        self.log().map(|log| log.health())
    }
}
