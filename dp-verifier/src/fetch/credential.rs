//! Credentials of a data plane at its control plane.

use std::fmt;

use cp_contracts::LicenseKey;

/// The credential with which a data plane calls its control plane: the token of its deployment, or
/// a license key.
///
/// A string converts into a credential: one in the form of a license key, with the right checksum,
/// is a license key, and every other string is a token. The `Debug` form hides the credential.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(Scheme);

#[derive(Clone, PartialEq, Eq)]
enum Scheme {
    Token(String),
    LicenseKey(String),
}

impl Credential {
    /// The token of a deployment.
    #[must_use]
    pub fn token(text: &str) -> Self {
        Self(Scheme::Token(text.trim().to_owned()))
    }

    /// A license key, also one that the vendor imported from another system.
    #[must_use]
    pub fn license_key(text: &str) -> Self {
        Self(Scheme::LicenseKey(text.trim().to_owned()))
    }

    pub(crate) fn is_license_key(&self) -> bool {
        matches!(self.0, Scheme::LicenseKey(_))
    }

    /// Returns the value of the header `Authorization`.
    pub(crate) fn header(&self) -> String {
        match &self.0 {
            Scheme::Token(text) => format!("Bearer {text}"),
            Scheme::LicenseKey(text) => format!("License {text}"),
        }
    }
}

impl From<&str> for Credential {
    fn from(text: &str) -> Self {
        if is_license_key(text) { Self::license_key(text) } else { Self::token(text) }
    }
}

impl From<String> for Credential {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&String> for Credential {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Scheme::Token(_) => "Credential::token(…)",
            Scheme::LicenseKey(_) => "Credential::license_key(…)",
        })
    }
}

/// Returns whether a text has the form of a license key, perhaps with the prefix of an issuer.
fn is_license_key(text: &str) -> bool {
    let prefix = text.trim().split_once('-').map(|(prefix, _)| prefix);
    LicenseKey::parse(text.trim(), prefix).is_ok()
}

#[cfg(test)]
mod tests {
    use super::Credential;

    #[test]
    fn license_key_is_recognized_in_every_accepted_spelling() {
        for key in [
            "01234-56789-ABCDE-FGHJK-MNP8N",
            "ZZZZZ-ZZZZZ-ZZZZZ-ZZZZZ-ZZZ86",
            " o1234 56789abcde-FGHJK-MNP8N\n",
            "0L234-56789-ABCDE-FGHJK-MNP8N",
            "ACME-01234-56789-ABCDE-FGHJK-MNP8N",
        ] {
            let header = Credential::from(key).header();
            assert_eq!(header, format!("License {}", key.trim()));
        }
        for token in [
            "01234-56789-ABCDE-FGHJK-MNP8M",
            "01234-56789-ABCDE-FGHJK-MNP8",
            "01234-56789-ABCDE-FGHJK-MNP8U",
            "cpat_0198c0de_0123456789abcdef_01234567",
            "eyJhbGciOiJSUzI1NiJ9.e30.c2ln",
            "",
        ] {
            assert_eq!(Credential::from(token).header(), format!("Bearer {token}"));
        }
    }

    #[test]
    fn debug_form_hides_the_credential() {
        let shown =
            format!("{:?} {:?}", Credential::token("s3cr3t"), Credential::license_key("s3cr3t"));
        assert!(!shown.contains("s3cr3t"), "{shown}");
    }
}
