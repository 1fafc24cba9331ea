//! Holders of leases, and their hashes.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::{borrow::Cow, fmt};

use cp_contracts::{HolderKind, LeaseBodyClaims};
use uuid::Uuid;

use crate::base64url::encode;
use crate::crypto::sha256;
use crate::machine::Fingerprint;

/// The kind under which the components of a machine are hashed.
const COMPONENT: &str = "component";

/// A holder of a lease: a person, a machine, or any string of the app.
///
/// The `Debug` form shows the kind only.
#[derive(Clone)]
pub struct Holder {
    identity: Identity,
    /// The hashes for the license that asked first. An app has one license.
    hashes: OnceLock<HolderHashes>,
}

#[derive(Clone, PartialEq, Eq)]
enum Identity {
    User(Uuid),
    Email(String),
    Subject { provider: String, subject: String },
    Machine { fingerprint: String, components: BTreeMap<String, String> },
    Id(String),
}

/// The hashes of a holder under one license.
#[derive(Clone)]
pub(crate) struct HolderHashes {
    license_id: Uuid,
    holder: String,
    components: Vec<String>,
}

impl Holder {
    /// A person of the organization, by the ID in the control plane.
    #[must_use]
    pub fn user(id: Uuid) -> Self {
        Self::of(Identity::User(id))
    }

    /// A person, by an e-mail address.
    ///
    /// The control plane looks the address up. A lease of a person whom it knows is a lease of that
    /// [user](Self::user).
    #[must_use]
    pub fn email(address: &str) -> Self {
        Self::of(Identity::Email(address.to_lowercase()))
    }

    /// A person, by the subject at an identity provider. The control plane looks the pair up, as it
    /// does for [`email`](Self::email).
    #[must_use]
    pub fn subject(provider: &str, subject: &str) -> Self {
        let (provider, subject) = (provider.to_owned(), subject.to_owned());
        Self::of(Identity::Subject { provider, subject })
    }

    /// A machine. A fingerprint without components matches no lease.
    #[must_use]
    pub fn machine(print: &Fingerprint) -> Self {
        let (fingerprint, components) = (print.value(), print.components().clone());
        Self::of(Identity::Machine { fingerprint, components })
    }

    /// Any string of the app, such as the ID of a session.
    #[must_use]
    pub fn id(text: &str) -> Self {
        Self::of(Identity::Id(text.to_owned()))
    }

    fn of(identity: Identity) -> Self {
        Self { identity, hashes: OnceLock::new() }
    }

    /// Returns the kind of the holder.
    #[must_use]
    pub fn kind(&self) -> HolderKind {
        match &self.identity {
            Identity::User(_) => HolderKind::User,
            Identity::Email(_) => HolderKind::Email,
            Identity::Subject { .. } => HolderKind::Subject,
            Identity::Machine { .. } => HolderKind::Fingerprint,
            Identity::Id(_) => HolderKind::Id,
        }
    }

    /// Returns the hash of the holder under a license, as [`holder_hash`] does.
    #[must_use]
    pub fn hash(&self, license_id: Uuid) -> String {
        self.hashes(license_id).holder.clone()
    }

    /// Returns whether the lease belongs to this holder: the hash is the same, or enough components
    /// of the machine are.
    pub(crate) fn has(&self, lease: &LeaseBodyClaims) -> bool {
        let hashes = self.hashes(lease.license_id);
        if hashes.holder == lease.holder {
            return true;
        }
        let all = lease.components.len();
        let is_shared = |hash: &&String| hashes.components.contains(hash);
        let shared = lease.components.iter().filter(is_shared).count();
        match lease.matching.as_deref() {
            Some("any") => shared >= 1,
            Some("two") => shared >= 2,
            Some("most") => shared > all / 2,
            Some("all") => shared == all && all > 0,
            // `exact`, and the values of later versions.
            _ => false,
        }
    }

    fn hashes(&self, license_id: Uuid) -> Cow<'_, HolderHashes> {
        let known = self.hashes.get_or_init(|| self.compute(license_id));
        match known.license_id == license_id {
            true => Cow::Borrowed(known),
            false => Cow::Owned(self.compute(license_id)),
        }
    }

    fn compute(&self, license_id: Uuid) -> HolderHashes {
        let (text, components) = match &self.identity {
            Identity::User(id) => (id.to_string(), None),
            Identity::Email(text) | Identity::Id(text) => (text.clone(), None),
            Identity::Subject { provider, subject } => (format!("{provider}|{subject}"), None),
            Identity::Machine { fingerprint, components } => {
                (fingerprint.clone(), Some(components))
            }
        };
        let components = components.into_iter().flatten();
        let components = components.map(|(name, value)| component_hash(license_id, name, value));
        HolderHashes {
            license_id,
            holder: holder_hash(license_id, self.kind().as_str(), &text),
            components: components.collect(),
        }
    }

    /// Returns the holder as requests about a pool of this kind spell it: only pools of machines
    /// have components.
    #[cfg(feature = "fetch")]
    pub(crate) fn to_json(&self, kind: Option<&cp_contracts::PoolKind>) -> serde_json::Value {
        use serde_json::json;
        let is_node = kind == Some(&cp_contracts::PoolKind::Node);
        match &self.identity {
            Identity::User(id) => json!({ "user_id": id }),
            Identity::Email(address) => json!({ "email": address }),
            Identity::Subject { provider, subject } => {
                json!({ "provider": provider, "subject": subject })
            }
            Identity::Machine { fingerprint, components } if is_node => {
                json!({ "fingerprint": fingerprint, "components": components })
            }
            Identity::Machine { fingerprint, .. } => json!({ "fingerprint": fingerprint }),
            Identity::Id(text) => json!({ "id": text }),
        }
    }
}

/// Compares the identities.
impl PartialEq for Holder {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Eq for Holder {}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holder").field("kind", &self.kind().as_str()).finish_non_exhaustive()
    }
}

/// Returns the hash of a holder: base64url of the first 16 bytes of SHA-256 over
/// `<license_id>:<kind>:<text>`.
///
/// `kind` is the string of a [`HolderKind`]. `text` is the ID, the address, the fingerprint, or
/// `provider|subject`. An address counts in lower case.
#[must_use]
pub fn holder_hash(license_id: Uuid, kind: &str, text: &str) -> String {
    let text = match kind {
        "email" => Cow::Owned(text.to_lowercase()),
        _ => Cow::Borrowed(text),
    };
    let hash = sha256(&[format!("{license_id}:{kind}:{text}").as_bytes()]);
    encode(hash.first_chunk::<16>().map_or(&[], |half| half.as_slice()))
}

/// Returns the hash of a machine's component, as [`holder_hash`] of the kind `component` and the
/// text `<name>:<value>`. `value` is the value that the data plane sends.
#[must_use]
pub fn component_hash(license_id: Uuid, name: &str, value: &str) -> String {
    holder_hash(license_id, COMPONENT, &format!("{name}:{value}"))
}
