//! Fingerprints of machines.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fmt, io};

use uuid::Uuid;

use crate::base64url::encode;
use crate::crypto::hmac_sha256;
use crate::files::{read, trimmed_bytes};
use crate::license::LicenseContext;

/// The files with the machine ID of Linux, machine-id(5).
const MACHINE_ID: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];

/// The name of the component that is the app's own string.
const TEXT: &str = "text";

/// The maximum size of such a file, in bytes.
const MAX_MACHINE_ID: usize = 256;

/// The fingerprint of a machine for one license, from one or more components.
///
/// Each component is hashed at once, with the license's ID as the key: base64url of
/// HMAC-SHA-256(license ID, name ‖ 0 ‖ value). So the control plane never receives a value, and the
/// same machine has different fingerprints under two licenses. The fingerprint of one component is
/// its hash. That of several components is the hash of their hashes, in the order of their names.
///
/// ```no_run
/// # fn holder(license: &dp_verifier::LicenseContext, mac: &str) -> std::io::Result<dp_verifier::Holder> {
/// use dp_verifier::{Fingerprint, Holder};
///
/// let print = Fingerprint::of(license).machine_id()?.component("mac", mac);
/// # Ok(
/// Holder::machine(&print)
/// # )
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct Fingerprint {
    license_id: Uuid,
    /// The hashes of the components, by name.
    components: BTreeMap<String, String>,
}

impl Fingerprint {
    /// Creates a fingerprint without components, for a license.
    pub fn of(license: &LicenseContext) -> Self {
        Self { license_id: license.license_id(), components: BTreeMap::new() }
    }

    /// Adds the machine ID of the operating system, as the component `machine_id`.
    ///
    /// Containers that share an image or a host may share a machine ID. They supply their own
    /// string as [`text`](Self::text) instead.
    ///
    /// # Errors
    ///
    /// Returns an error when the system has no machine ID or it cannot be read.
    pub fn machine_id(self) -> io::Result<Self> {
        let id = machine_id(&MACHINE_ID.map(Path::new))?;
        Ok(self.component("machine_id", id))
    }

    /// Adds a component, such as the address of a network card. The value of a name that exists is
    /// replaced. An empty value is ignored: it would be the same on every machine.
    pub fn component(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        if !value.is_empty() {
            let key = self.license_id.to_string();
            let hash = hash(&key, name, value);
            self.components.insert(name.to_owned(), hash);
        }
        self
    }

    /// Adds the app's own string for this machine, as the component `text`: for example the name of
    /// a container's volume, or the value of a setting.
    pub fn text(self, value: &str) -> Self {
        self.component(TEXT, value)
    }

    /// Returns the fingerprint, which is empty without components.
    pub(crate) fn value(&self) -> String {
        let mut hashes = self.components.values();
        match (hashes.next(), hashes.next()) {
            (None, _) => String::new(),
            (Some(only), None) => only.clone(),
            _ => {
                let all = self.components.iter().map(|(name, hash)| format!("{name}\0{hash}\n"));
                let all: String = all.collect();
                hash(&self.license_id.to_string(), "fingerprint", all.as_bytes())
            }
        }
    }

    /// Returns the hashes of the components, by name.
    pub(crate) fn components(&self) -> &BTreeMap<String, String> {
        &self.components
    }
}

/// Shows the names of the components only.
impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Fingerprint");
        shown.field("components", &self.components.keys()).finish_non_exhaustive()
    }
}

/// Returns the fingerprint that [`Fingerprint::text`] has under a license, and that is also its only
/// component.
#[must_use]
pub fn text_fingerprint(license_id: Uuid, value: &str) -> String {
    hash(&license_id.to_string(), TEXT, value.as_bytes())
}

fn hash(key: &str, name: &str, value: &[u8]) -> String {
    encode(&hmac_sha256(key.as_bytes(), &[name.as_bytes(), &[0], value]))
}

/// Reads the first of these files that has a machine ID.
fn machine_id(paths: &[&Path]) -> io::Result<Vec<u8>> {
    for path in paths {
        match read(path, MAX_MACHINE_ID) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
            Ok(text) => {
                let id = trimmed_bytes(&text);
                // systemd writes `uninitialized` until the first boot has ended.
                if id.len() == 32 && id.iter().all(u8::is_ascii_hexdigit) {
                    return Ok(id.to_ascii_lowercase());
                }
            }
        }
    }
    let why = "this system has no machine ID: use another component";
    Err(io::Error::new(io::ErrorKind::NotFound, why))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;

    use super::{Fingerprint, machine_id};

    fn print() -> Fingerprint {
        Fingerprint { license_id: Uuid::from_u128(7), components: BTreeMap::new() }
    }

    #[test]
    fn fingerprint_of_one_component_is_its_hash() {
        // printf 'mac\0aa:bb' | openssl dgst -sha256 -hmac 00000000-0000-0000-0000-000000000007 -binary
        let one = print().component("mac", "aa:bb");
        assert_eq!(one.value(), "vrfBu0m73Hsr4Xi_j9sNeyfFZwluio1lQr5XpnVe7b8");
        assert_eq!(one.components()["mac"], one.value());
        assert_eq!(print().value(), "");
        assert_eq!(print().component("mac", ""), print());
    }

    #[test]
    fn fingerprint_of_several_components_depends_on_each_and_not_on_their_order() {
        let both = print().component("mac", "aa:bb").component("disk", "1");
        assert_eq!(both.value().len(), 43);
        assert_eq!(both.value(), print().component("disk", "1").component("mac", "aa:bb").value());
        for other in [
            print().component("mac", "aa:bb"),
            print().component("mac", "aa:bb").component("disk", "2"),
            print().component("mac", "aa:bb").component("disc", "1"),
            Fingerprint { license_id: Uuid::from_u128(8), ..print() }
                .component("mac", "aa:bb")
                .component("disk", "1"),
        ] {
            assert_ne!(both.value(), other.value());
        }
    }

    #[test]
    fn machine_id_is_the_first_one_that_exists() {
        let dir = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
        let paths = [first.as_path(), second.as_path()];
        assert!(machine_id(&paths).is_err());
        std::fs::write(&second, "0123456789abcdef0123456789ABCDEF\n").unwrap();
        for unusable in [None, Some(""), Some("uninitialized\n"), Some("0123")] {
            if let Some(text) = unusable {
                std::fs::write(&first, text).unwrap();
            }
            assert_eq!(machine_id(&paths).unwrap(), b"0123456789abcdef0123456789abcdef");
        }
    }
}
