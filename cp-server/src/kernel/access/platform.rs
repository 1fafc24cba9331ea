//! Path targets of the platform, and those that are open to all.

use crate::kernel::access::areas::AreaKind;
use crate::kernel::access::caller::{Caller, CallerScope, Permission, Scope};
use crate::kernel::access::ids::{OrganizationId, Owned};
use crate::kernel::access::place::{Exposure, PathTarget, id_of};
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

/// An identifier in a platform path.
pub trait PlatformId {
    const NOUN: &'static str;
    /// The member that identifies the row.
    const KEY: &'static str = "ID";
}

impl PathTarget for CallerScope {
    type Authorized = Scope;
    const EXPOSURE: Exposure = Exposure::Anywhere;

    async fn authorize(&self, caller: &Caller, _: &mut Conn, p: Permission) -> Result<Scope> {
        caller.widest_scope(p)
    }
}

/// `/roles/{id}`: a row of an organization, or a row of the platform that all callers may read.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
pub struct OrgOrPlatform<T>(pub T);

impl<T: Owned> PathTarget for OrgOrPlatform<T> {
    type Authorized = Scope;
    const EXPOSURE: Exposure = Exposure::Anywhere;

    async fn authorize(&self, caller: &Caller, tx: &mut Conn, p: Permission) -> Result<Scope> {
        // This check comes first, so that a foreign row and a missing one are refused alike.
        let widest = caller.widest_scope(p)?;
        match caller.in_organization(tx, self.0, p).await {
            Ok(organization_id) => Ok(Scope::Organization { organization_id }),
            // The operation distinguishes a row of the platform from a missing one.
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
        vec![id_of(T::NOUN)]
    }
    fn noun() -> &'static str {
        T::MISSING
    }
}

/// `/webhooks/{id}`: a row of an organization, or a row of the platform that only its own callers may
/// reach.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(transparent)]
pub struct AnyOwner<T>(pub T);

impl<T: Owned> PathTarget for AnyOwner<T> {
    type Authorized = Scope;
    const EXPOSURE: Exposure = Exposure::Organization;
    const AREAS: &'static [AreaKind] = <T as PathTarget>::AREAS;

    async fn authorize(&self, caller: &Caller, tx: &mut Conn, p: Permission) -> Result<Scope> {
        match caller.in_organization(tx, self.0, p).await {
            Ok(organization_id) => Ok(Scope::Organization { organization_id }),
            // The operation distinguishes a row of the platform from a missing one.
            Err(error) if *error.code() == ProblemCode::NotFound && caller.is_of_platform() => {
                caller.on_platform(p).map(|()| Scope::Platform)
            }
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
        vec![id_of(T::NOUN)]
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

/// A row that no organization owns, by its ID or its code. Its parent target decides which callers
/// may access the row.
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
                let description = format!("The {} of the {}.", T::KEY, T::NOUN);
                vec![json_schema!({"type": "string", "description": description})]
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
    /// `/plans/{code}`: a row that callers of every scope may read.
    ForAll of CallerScope;
}
