//! Why a token or another signed document was refused.

use std::{borrow::Cow, fmt};

/// A refused token: a stable [code](ErrorCode) and a sentence about this case.
///
/// The sentence never contains the token or its signature, and cuts every value that it quotes
/// from the token at 64 characters, escaped, so that it may be logged and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifyError {
    code: ErrorCode,
    detail: Cow<'static, str>,
}

impl VerifyError {
    pub(crate) fn new(code: ErrorCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into() }
    }

    /// The same refusal, of a document that stands in another one as `member`.
    pub(crate) fn within(self, member: &str) -> Self {
        Self::new(self.code, format!("{member}: {}", self.detail))
    }

    /// The kind of refusal. Match on this, never on the texts.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What is wrong with this token.
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

/// Text from a token as it may stand in a message: escaped, and cut at 64 characters.
pub(crate) fn quoted(text: &str) -> String {
    let cut = text.chars().nth(64).is_some();
    let shown: String = text.chars().take(64).collect();
    format!("\"{}\"{}", shown.escape_debug(), if cut { "…" } else { "" })
}

/// A status list or license file that was not taken. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportError(pub(crate) VerifyError);

impl ImportError {
    /// The kind of refusal. Match on this, never on the texts.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// What is wrong with this document.
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
        /// The kinds of refusal: a closed list, extended only by minor versions of this crate.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[doc = $doc])+ $name,)+
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The code as it stands in logs, metrics and problem documents.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }

            /// The HTTP status with which a data plane answers: 401 without a usable token, 403
            /// with a genuine one that does not entitle, 503 when it cannot be judged.
            #[must_use]
            pub fn http_status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)+
                }
            }

            /// What the operator of the data plane can do about it, in a sentence or two.
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
    /// There is no token.
    TokenMissing = "token_missing", 401,
        "Put the license token into the X-License-Token header or the LICENSE_TOKEN variable.";
    /// The text is not a compact JWS in canonical form, or its header is not acceptable.
    TokenMalformed = "token_malformed", 401,
        "Copy the token again, in full and without spaces, quotes, line breaks or a Bearer prefix.";
    /// The token, or its header, exceeds the size limit.
    TokenTooLarge = "token_too_large", 401,
        "This cannot be a license token; issuers keep them under 6 KiB. Check what is being sent.";
    /// The header's `alg` is not `RS256`.
    AlgNotAllowed = "alg_not_allowed", 401,
        "License tokens are signed with RS256 only. Ask where the token comes from.";
    /// The header names no key.
    KidMissing = "kid_missing", 401,
        "License tokens name their signing key in `kid`. Ask where the token comes from.";
    /// No key of that name is known.
    KidUnknown = "kid_unknown", 401,
        "Refresh the key set from the control plane; if the key is still unknown, the token comes from another issuer or its key was withdrawn: ask for a new token.";
    /// The key of that name was withdrawn by a license file that was taken.
    KeyWithdrawn = "key_withdrawn", 401,
        "The vendor has withdrawn the key that signed this. Ask for a new token or license file, and take the newest license file first.";
    /// The signature was not made by the named key over this text.
    SignatureInvalid = "signature_invalid", 401,
        "The token was altered or is not genuine. Copy it again from its source; if that does not help, ask for a new one.";
    /// The header's `typ` is not `license+jwt`.
    TypWrong = "typ_wrong", 401,
        "This is another kind of token, perhaps an access token. Use the license token.";
    /// The token was issued by someone else.
    IssuerWrong = "issuer_wrong", 401,
        "Set the issuer to the control plane's base URL exactly, or use a token from that control plane.";
    /// The token is meant for someone else.
    AudienceWrong = "audience_wrong", 401,
        "Set the audience to the one the token is issued for, or ask for a token with your audience.";
    /// The token's time is over.
    Expired = "expired", 403,
        "Ask for a new license token; if it should still be valid, check this machine's clock.";
    /// The token's time has not begun, or it claims to be issued in the future.
    NotYetValid = "not_yet_valid", 403,
        "Wait until the license begins; if it should be valid already, check this machine's clock.";
    /// The signed claims are not those of a license.
    ClaimsInvalid = "claims_invalid", 401,
        "The issuer signed something that is not a document of this contract. Report it to the vendor.";
    /// The claims are of a major version of the contract that this verifier does not know.
    ContractUnsupported = "contract_unsupported", 401,
        "Update the data plane to a version that knows this contract.";
    /// The token was revoked.
    Revoked = "revoked", 403,
        "The vendor has revoked this license. Ask the vendor.";
    /// The license is suspended.
    Suspended = "suspended", 403,
        "The vendor has suspended this license. Ask the vendor.";
    /// Whether the token was revoked cannot be told any more, and the license does not allow that.
    StatusStale = "status_stale", 403,
        "Let the data plane reach the control plane, or import a fresh status list.";
    /// There are no usable keys to judge the token by.
    KeysUnavailable = "keys_unavailable", 503,
        "Let the data plane reach the control plane's key set, or give it a key set or bundle file.";
    /// The clock is behind what an issuer has testified to, and the verifier insists on a right one.
    ClockAnomaly = "clock_anomaly", 503,
        "Set this machine's clock, and see that it keeps the time over restarts.";
    /// A status list or license file is older than one that was taken, or the same again.
    Replayed = "replayed", 403,
        "Use the newest file; if this is the newest, it was taken already and nothing needs to be done.";
    /// A license file belongs to another license or deployment than the one before.
    OtherLicense = "other_license", 403,
        "Use the file that was made for this deployment, or give each deployment its own state file.";
    /// What was to be remembered could not be written to the state file.
    StateUnwritable = "state_unwritable", 503,
        "See that the state file's directory exists, can be written and has room.";
    /// There is no proof at hand that the token is in the issuer's log, and the verifier insists.
    ProofMissing = "proof_missing", 503,
        "Let the data plane reach the control plane's log, or use a license file that has a proof. A token that was signed a moment ago gets its proof within seconds.";
    /// The issuer's log answers that it has no such token, and the verifier insists.
    NotLogged = "not_logged", 403,
        "The token was signed outside of the control plane, or the log has lost it. Report it to the vendor.";
    /// A proof or checkpoint is not well-formed, not by the log's key, or not of this token.
    ProofInvalid = "proof_invalid", 403,
        "Use the proof that belongs to this token, and the log key that the vendor publishes.";
    /// The issuer's log is shorter than it was.
    LogRolledBack = "log_rolled_back", 503,
        "The control plane has lost a part of its log, perhaps by restoring a backup. Ask the vendor, and keep the evidence.";
    /// The issuer's log has two histories.
    SplitView = "split_view", 503,
        "The control plane has shown two different logs, which it must never do. Ask the vendor, and keep the evidence.";
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
    fn v16_quoted_text_is_escaped_and_cut() {
        assert_eq!(quoted("a\n\"\u{1b}[31m"), r#""a\n\"\u{1b}[31m""#);
        assert_eq!(quoted(&"k".repeat(65)), format!("\"{}\"…", "k".repeat(64)));
        assert_eq!(quoted(&"k".repeat(64)), format!("\"{}\"", "k".repeat(64)));
    }
}
