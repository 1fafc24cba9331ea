//! The errors of refused tokens and other signed documents.

use std::{borrow::Cow, fmt};

/// The refusal of a token: a stable [code](ErrorCode) and a sentence about this case.
///
/// The sentence is safe for logs. It never contains the token or its signature. Values that it
/// quotes from the token are escaped and cut at 64 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyError {
    code: ErrorCode,
    detail: Cow<'static, str>,
}

impl VerifyError {
    pub(crate) fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// Returns the same refusal for a document that is the `member` of another document.
    pub(crate) fn within(self, member: &str) -> Self {
        Self::new(self.code, format!("{member}: {}", self.detail))
    }

    /// Returns the kind of refusal. Match on this code, never on the texts.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Returns the reason for the refusal of this token.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for VerifyError {}

/// Quotes a text from a token for a message: escaped, and cut at 64 characters.
pub(crate) fn quoted(text: &str) -> String {
    let cut = text.chars().nth(64).is_some();
    let shown: String = text.chars().take(64).collect();
    format!("\"{}\"{}", shown.escape_debug(), if cut { "…" } else { "" })
}

/// The refusal of a status list or license file. The verifier is unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError(pub(crate) VerifyError);

impl ImportError {
    /// Returns the kind of refusal. Match on this code, never on the texts.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// Returns the reason for the refusal of this document.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ImportError {}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal, $status:literal, $advice:literal;)+) => {
        /// The kinds of refusal: a closed list that only minor versions of this crate extend.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ $name,)+
        }

        impl ErrorCode {
            /// All codes.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the code as logs, metrics and problem documents spell it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }

            /// Returns the HTTP status for the response of a data plane: 401 without a usable
            /// token, 403 for a genuine token that does not entitle, 503 when the token cannot be
            /// judged.
            #[must_use]
            pub fn http_status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)+
                }
            }

            /// Returns advice for the operator of the data plane, in one or two sentences.
            #[must_use]
            pub fn advice(self) -> &'static str {
                match self {
                    $(Self::$name => $advice,)+
                }
            }
        }
    };
}

codes! {
    /// The request has no token.
    TokenMissing = "token_missing", 401,
        "Put the license token into the X-License-Token header or the LICENSE_TOKEN variable.";
    /// The text is not a compact JWS in canonical form, or its header is not acceptable.
    TokenMalformed = "token_malformed", 401,
        "Copy the token again, in full and without spaces, quotes, line breaks or a Bearer prefix.";
    /// The token, or its header, exceeds the size limit.
    TokenTooLarge = "token_too_large", 401,
        "This is not a license token: issuers keep them under 6 KiB. Check what the client sends.";
    /// The header's `alg` is not `RS256`.
    AlgNotAllowed = "alg_not_allowed", 401,
        "License tokens are signed with RS256 only. Ask where the token comes from.";
    /// The header names no key.
    KidMissing = "kid_missing", 401,
        "License tokens name their signing key in `kid`. Ask where the token comes from.";
    /// The key is not known.
    KidUnknown = "kid_unknown", 401,
        "Refresh the key set from the control plane. If the key is still unknown, the token comes from another issuer or its key was withdrawn: ask for a new token.";
    /// An imported license file has withdrawn the key.
    KeyWithdrawn = "key_withdrawn", 401,
        "The vendor has withdrawn the key that signed this document. Import the newest license file, and ask for a new token or license file.";
    /// The signature is not by the named key over this text.
    SignatureInvalid = "signature_invalid", 401,
        "The token was altered or is not genuine. Copy it again from its source. If that does not help, ask for a new one.";
    /// The header's `typ` is not `license+jwt`.
    TypWrong = "typ_wrong", 401,
        "This is another kind of token, perhaps an access token. Use the license token.";
    /// The issuer of the token is not the configured one.
    IssuerWrong = "issuer_wrong", 401,
        "Set the issuer to the control plane's base URL exactly, or use a token from that control plane.";
    /// The audience of the token is not the configured one.
    AudienceWrong = "audience_wrong", 401,
        "Set the audience to that of the token, or ask for a token with your audience.";
    /// The token has expired.
    Expired = "expired", 403,
        "Ask for a new license token. If it should still be valid, check this machine's clock.";
    /// The token is not valid yet, or it was issued in the future.
    NotYetValid = "not_yet_valid", 403,
        "Wait until the license begins. If it should be valid already, check this machine's clock.";
    /// The signed claims are not those of a license.
    ClaimsInvalid = "claims_invalid", 401,
        "The issuer signed a document that does not follow the contract. Report it to the vendor.";
    /// This verifier does not support the major version of the contract of the claims.
    ContractUnsupported = "contract_unsupported", 401,
        "Update the data plane to a version that knows this contract.";
    /// The license or its token was revoked.
    Revoked = "revoked", 403,
        "The vendor has revoked this license. Ask the vendor.";
    /// The license is suspended.
    Suspended = "suspended", 403,
        "The vendor has suspended this license. Ask the vendor.";
    /// The status of the token is out of date, and the license requires a current one.
    StatusStale = "status_stale", 403,
        "Let the data plane reach the control plane, or import a fresh status list.";
    /// The verifier has no usable keys.
    KeysUnavailable = "keys_unavailable", 503,
        "Let the data plane reach the control plane's key set, or give it a key set or bundle file.";
    /// The clock is behind the time of a verified document, and the verifier requires a correct
    /// clock.
    ClockAnomaly = "clock_anomaly", 503,
        "Set this machine's clock, and make sure that it keeps the time over restarts.";
    /// The status list or license file is not newer than an imported one.
    Replayed = "replayed", 403,
        "Use the newest file. If this is the newest file, it is already imported, and there is nothing to do.";
    /// The license file is for another license or deployment than the imported ones.
    OtherLicense = "other_license", 403,
        "Use the file of this deployment, or give each deployment its own state file.";
    /// The state file could not be written.
    StateUnwritable = "state_unwritable", 503,
        "Check that the directory of the state file exists, is writable and has space.";
    /// The verifier requires a proof that the token is in the issuer's log, and has none.
    ProofMissing = "proof_missing", 503,
        "Let the data plane reach the control plane's log, or use a license file with a proof. The proof of a new token exists within seconds.";
    /// The verifier requires that the token is in the issuer's log, and the log does not have it.
    NotLogged = "not_logged", 403,
        "The token was signed outside the control plane, or the log has lost it. Report it to the vendor.";
    /// A proof or checkpoint is malformed, is not signed by the log key, or is for another token.
    ProofInvalid = "proof_invalid", 403,
        "Use the proof of this token, and the log key that the vendor publishes.";
    /// The issuer's log is shorter than before.
    LogRolledBack = "log_rolled_back", 503,
        "The control plane has lost a part of its log, perhaps after a restored backup. Ask the vendor, and keep the evidence.";
    /// The issuer's log has two histories.
    SplitView = "split_view", 503,
        "The control plane has shown two different logs, which must never happen. Ask the vendor, and keep the evidence.";
    /// The lease has ended: it was released, returned, taken over or reset, or its license is not in
    /// force.
    LeaseOver = "lease_over", 403,
        "The holder has no seat any more. Acquire a new lease.";
    /// The lease has expired.
    LeaseExpired = "lease_expired", 403,
        "Let the data plane reach the control plane, or borrow a new lease. If it should still be valid, check this machine's clock.";
    /// The lease belongs to another holder.
    HolderMismatch = "holder_mismatch", 403,
        "Use the lease of this person or machine, or acquire a lease for it.";
    /// The license has no pool with the name that the lease has.
    PoolUnknown = "pool_unknown", 403,
        "Use the newest license token, or ask the vendor for seats of this pool.";
    /// The lease belongs to another license or deployment.
    LicenseMismatch = "license_mismatch", 403,
        "Use the lease together with the license token of the same license and deployment.";
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn quoted_text_is_escaped_and_cut() {
        assert_eq!(quoted("a\n\"\u{1b}[31m"), r#""a\n\"\u{1b}[31m""#);
        assert_eq!(quoted(&"k".repeat(65)), format!("\"{}\"…", "k".repeat(64)));
        assert_eq!(quoted(&"k".repeat(64)), format!("\"{}\"", "k".repeat(64)));
    }
}
