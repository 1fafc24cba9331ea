//! The PKCS#11 token.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, ensure};
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use secrecy::SecretString;
use uuid::Uuid;

/// DigestInfo of SHA-256, before the digest (RFC 8017, section 9.2, note 1).
const SHA256_DIGEST_INFO: [u8; 19] = [
    0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05,
    0x00, 0x04, 0x20,
];
/// F4, which data planes require.
const PUBLIC_EXPONENT: [u8; 3] = [1, 0, 1];

/// A token, with its sessions.
pub(crate) struct Token {
    module: Pkcs11,
    slot: Slot,
    pin: SecretString,
    idle: Mutex<Vec<Session>>,
    /// The handles of private keys, which are those of every session.
    handles: Mutex<HashMap<String, ObjectHandle>>,
}

/// The public half of a key, and the name under which the token finds the private half.
pub(crate) struct PublicHalf {
    pub(crate) name: String,
    pub(crate) modulus: Vec<u8>,
    pub(crate) exponent: Vec<u8>,
}

impl Token {
    pub(crate) fn open(module: &Path, label: &str, pin: SecretString) -> anyhow::Result<Self> {
        let about = || format!("the PKCS#11 library {}", module.display());
        let module = Pkcs11::new(module).with_context(about)?;
        module
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .with_context(about)?;
        let mut slots = module.get_slots_with_initialized_token()?.into_iter();
        let is_meant = |slot: &Slot| {
            module.get_token_info(*slot).is_ok_and(|info| info.label().trim_end() == label)
        };
        let slot =
            slots.find(is_meant).with_context(|| format!("no token has the label {label:?}"))?;
        let (idle, handles) = (Mutex::default(), Mutex::default());
        let token = Self { module, slot, pin, idle, handles };
        token.with_session(|_| Ok(())).context("the login to the token")?;
        Ok(token)
    }

    /// Makes a key whose private half the token does not hand out.
    pub(crate) fn generate(&self, bits: u64) -> anyhow::Result<PublicHalf> {
        #[expect(clippy::disallowed_methods, reason = "no test has to foretell the name of a key")]
        let name = format!("license-authority-{}", Uuid::now_v7());
        let id = name.clone().into_bytes();
        let public = [
            Attribute::Token(true),
            Attribute::Verify(true),
            Attribute::Label(id.clone()),
            Attribute::Id(id.clone()),
            Attribute::ModulusBits(bits.into()),
            Attribute::PublicExponent(PUBLIC_EXPONENT.to_vec()),
        ];
        let private = [
            Attribute::Token(true),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Sign(true),
            Attribute::Label(id.clone()),
            Attribute::Id(id),
        ];
        self.with_session(|session| {
            let mechanism = Mechanism::RsaPkcsKeyPairGen;
            let (public, private) = session.generate_key_pair(&mechanism, &public, &private)?;
            let wanted = [AttributeType::Modulus, AttributeType::PublicExponent];
            let (mut modulus, mut exponent) = (Vec::new(), Vec::new());
            for attribute in session.get_attributes(public, &wanted)? {
                match attribute {
                    Attribute::Modulus(bytes) => modulus = bytes,
                    Attribute::PublicExponent(bytes) => exponent = bytes,
                    _ => {}
                }
            }
            lock(&self.handles).insert(name.clone(), private);
            Ok(PublicHalf { name, modulus: unsigned(modulus), exponent: unsigned(exponent) })
        })
    }

    /// Signs a digest. Returns `None` if the token has no key of this name.
    pub(crate) fn sign(&self, name: &str, digest: &[u8; 32]) -> anyhow::Result<Option<Vec<u8>>> {
        let text = [&SHA256_DIGEST_INFO[..], digest].concat();
        self.with_session(|session| {
            let known = lock(&self.handles).get(name).copied();
            let Some(key) = known.map_or_else(|| find(session, name), |key| Ok(Some(key)))? else {
                return Ok(None);
            };
            let signed = session.sign(&Mechanism::RsaPkcs, key, &text);
            let mut handles = lock(&self.handles);
            match signed {
                Ok(signature) => {
                    handles.insert(name.to_owned(), key);
                    Ok(Some(signature))
                }
                Err(error) => {
                    // The next request looks the key up again.
                    handles.remove(name);
                    Err(error.into())
                }
            }
        })
    }

    /// Lends a session. A session with an error is not used again: the token may have restarted.
    fn with_session<T>(
        &self,
        work: impl FnOnce(&Session) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let idle = lock(&self.idle).pop();
        let session = idle.map_or_else(|| self.session(), Ok)?;
        let done = work(&session)?;
        lock(&self.idle).push(session);
        Ok(done)
    }

    fn session(&self) -> anyhow::Result<Session> {
        use cryptoki::error::{Error, RvError};
        let session = self.module.open_rw_session(self.slot)?;
        match session.login(UserType::User, Some(&self.pin)) {
            // One login counts for every session of the process.
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(session),
            Err(error) => Err(error.into()),
        }
    }
}

fn find(session: &Session, name: &str) -> anyhow::Result<Option<ObjectHandle>> {
    let wanted = [
        Attribute::Class(ObjectClass::PRIVATE_KEY),
        Attribute::Label(name.as_bytes().to_vec()),
        Attribute::Sign(true),
    ];
    let found = session.find_objects(&wanted)?;
    ensure!(found.len() < 2, "the token has {} keys with the label {name}", found.len());
    Ok(found.first().copied())
}

/// Returns the number without leading zeros.
fn unsigned(bytes: Vec<u8>) -> Vec<u8> {
    bytes.into_iter().skip_while(|byte| *byte == 0).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
