//! Places of the platform, and those that are open to all.

use crate::kernel::access::caller::{Caller, CallerScope, Permission, Scope};
use crate::kernel::access::ids::{OrganizationId, Owned};
use crate::kernel::access::place::{Exposure, PathTarget};
use crate::kernel::db::Conn;
use crate::kernel::error::Result;
use cp_contracts::ProblemCode;
use schemars::{Schema, json_schema};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;

/// `/plans`: the platform, which no organization owns.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Platform;

impl PathTarget for Platform {
    type Authorized = Scope;
    const EXPOSURE: Exposure = Exposure::Platform;

    async fn authorize(&self, caller: &Caller, _: &mut Conn, p: Permission) -> Result<Scope> {
        caller.on_platform(p)?;
        Ok(Scope::Platform)
    }
}

/// What may stand in a platform path.
pub trait PlatformId {
    const NOUN: &'static str;
}

impl PathTarget for CallerScope {
    type Authorized = Scope;
    const EXPOSURE: Exposure = Exposure::Anywhere;

    async fn authorize(&self, caller: &Caller, _: &mut Conn, p: Permission) -> Result<Scope> {
        caller.widest_scope(p)
    }
}

/// `/roles/{id}`: a row of an organization, or of the platform for everyone.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
pub struct OrgOrPlatform<T>(pub T);

impl<T: Owned> PathTarget for OrgOrPlatform<T> {
    type Authorized = Scope;
    const EXPOSURE: Exposure = Exposure::Anywhere;

    async fn authorize(&self, caller: &Caller, tx: &mut Conn, p: Permission) -> Result<Scope> {
        // First of all, so that a foreign row and a missing one are refused alike.
        let widest = caller.widest_scope(p)?;
        match caller.in_organization(tx, self.0, p).await {
            Ok(organization_id) => Ok(Scope::Organization { organization_id }),
            // The operation tells a row of the platform from none.
            Err(error) if *error.code() == ProblemCode::NotFound => Ok(widest),
            Err(error) => Err(error),
        }
    }
    async fn owner(&self, tx: &mut Conn) -> Result<Option<OrganizationId>> {
        self.0.owner(tx).await
    }
    fn target(&self, _: Self::Authorized) -> (&'static str, String) {
        (T::NOUN, self.0.to_string())
    }
    fn parameters() -> Vec<Schema> {
        vec![json_schema!({"type": "string", "format": "uuid"})]
    }
    fn noun() -> &'static str {
        T::MISSING
    }
}

/// `/invitations/accept`: open to all; the credential is in the body.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct PublicPath;

impl PathTarget for PublicPath {
    type Authorized = Scope;
    const EXPOSURE: Exposure = Exposure::Public;

    async fn authorize(&self, _: &Caller, _: &mut Conn, _: Permission) -> Result<Scope> {
        Ok(Scope::Platform)
    }
}

/// A row below one of the two places that no organization owns, by its id or its code: who may go
/// there is the place's decision.
macro_rules! rows_of {
    ($($(#[doc = $doc:literal])+ $name:ident of $place:ident;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Deserialize)]
        #[serde(transparent)]
        pub struct $name<T>(pub T);

        impl<T> PathTarget for $name<T>
        where
            T: Clone + DeserializeOwned + Display + PlatformId + Send + Sync + 'static,
        {
            type Authorized = Scope;
            const EXPOSURE: Exposure = $place::EXPOSURE;

            async fn authorize(
                &self,
                caller: &Caller,
                tx: &mut Conn,
                permission: Permission,
            ) -> Result<Scope> {
                $place.authorize(caller, tx, permission).await
            }
            fn target(&self, _: Self::Authorized) -> (&'static str, String) {
                (T::NOUN, self.0.to_string())
            }
            fn parameters() -> Vec<Schema> {
                vec![json_schema!({"type": "string"})]
            }
            fn noun() -> &'static str {
                T::NOUN
            }
        }
    )+};
}

rows_of! {
    /// `/users/{id}`: a row of the platform.
    PlatformRow of Platform;
    /// `/plans/{code}`: something that callers of every scope may read.
    ForAll of CallerScope;
}
