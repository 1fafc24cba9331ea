//! The result for a token or a file.

use dp_verifier::{
    ErrorCode, ImportError, ImportedFile, LicenseContext, LogProof, LogRecord, StateRecord,
    VerifyError,
};

pub(crate) type Checked = Result<Accepted, Refusal>;

pub(crate) enum Accepted {
    License(LicenseContext, Vec<String>),
    File(ImportedFile),
    Proof(LogProof),
    Log(LogRecord),
    State(StateRecord),
}

#[derive(Clone)]
pub(crate) struct Refusal {
    pub(crate) code: ErrorCode,
    pub(crate) detail: String,
    pub(crate) warnings: Vec<String>,
}

impl From<VerifyError> for Refusal {
    fn from(error: VerifyError) -> Self {
        let (code, detail) = (error.code(), error.detail().to_owned());
        Self { code, detail, warnings: Vec::new() }
    }
}

impl From<ImportError> for Refusal {
    fn from(error: ImportError) -> Self {
        let (code, detail) = (error.code(), error.detail().to_owned());
        Self { code, detail, warnings: Vec::new() }
    }
}
