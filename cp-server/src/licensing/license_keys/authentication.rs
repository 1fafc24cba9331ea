//! Authentication of license keys: `Authorization: License <key>`.

use std::sync::Arc;

use chrono::TimeDelta;

use super::rows::{FoundKey, KeyText, find};
use crate::kernel::access::areas::{Area, AreaKind};
use crate::kernel::access::caller::{
    Caller, CallerKind, Permission, Permissions, Privileges, Scope,
};
use crate::kernel::access::policy::{Domain, Grant};
use crate::kernel::app::{App, Authenticate, CallerFuture};
use crate::kernel::cache::Cache;
use crate::kernel::error::Result;
use crate::kernel::secret::Secret;

/// The permissions of a license key on its own license.
const HELD: [Permission; 2] = [Permission::LEASES_WRITE, Permission::LICENSES_FETCH];

/// The time for which a caller is cached, as for service tokens.
const REMEMBERED: TimeDelta = TimeDelta::seconds(3);

/// The credentials of this slice, as the kernel uses them.
#[derive(Default)]
pub struct LicenseKeys {
    /// By the hash of the key.
    known: Cache<[u8; 32], Caller>,
}

impl Authenticate for LicenseKeys {
    fn scheme(&self) -> &'static str {
        "license"
    }

    fn caller<'a>(&'a self, app: &'a App, credential: &'a str) -> CallerFuture<'a> {
        Box::pin(self.find(app, credential))
    }
}

impl LicenseKeys {
    async fn find(&self, app: &App, text: &str) -> Result<Option<Caller>> {
        // A malformed key is an unknown one here.
        let Ok(key) = KeyText::read(app, &Secret::new(text.to_owned())) else { return Ok(None) };
        let (hash, now) = (key.hash(), app.clock.now());
        let generation = app.rights.now();
        if let Some(caller) = self.known.recall(&hash, generation, now) {
            return Ok(Some(caller));
        }
        let Some(found) = find(&mut app.db.read(), &hash).await? else { return Ok(None) };
        if found.revoked_at.is_some() || found.is_expired(now) {
            return Ok(None);
        }
        let caller = found.caller();
        let until = caller.ends_at.map_or(now + REMEMBERED, |ends| ends.min(now + REMEMBERED));
        self.known.keep(hash, caller.clone(), generation, until);
        Ok(Some(caller))
    }
}

/// Returns what a key holds on its license.
pub(super) fn held() -> Privileges {
    let permissions = HELD.into_iter().fold(Permissions::NONE, Permissions::with);
    let codes = permissions.codes().into_iter().map(str::to_owned).collect();
    Privileges { permissions, codes, rank: 0 }
}

impl FoundKey {
    /// Returns the key as a caller. Its only grant is on its license, so that every other object of
    /// the organization is hidden.
    pub fn caller(&self) -> Caller {
        let license = Area { kind: AreaKind::License, id: self.license_id.0 };
        let on = Domain::Area(self.organization_id, license);
        Caller {
            kind: CallerKind::LicenseKey,
            id: self.id.0,
            name: self.hint.clone(),
            scope: Scope::Deployment {
                organization_id: self.organization_id,
                deployment_id: self.deployment_id,
            },
            grants: Arc::new([Grant::new(on, held(), CallerKind::LicenseKey.as_str())]),
            ends_at: self.ends_at(),
            ..Caller::anonymous()
        }
    }
}
