//! Path targets: the object that a path identifies, and the result of its authorization.

use std::fmt::Display;
use std::future::Future;
use std::marker::PhantomData;

use schemars::{Schema, json_schema};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::kernel::access::areas::AreaKind;
use crate::kernel::access::caller::{Caller, Owner, Permission, Scope};
use crate::kernel::access::ids::{OrganizationId, Owned};
use crate::kernel::access::owners;
use crate::kernel::access::policy::Location;
use crate::kernel::db::Conn;
use crate::kernel::error::{Error, Result};

/// The identifiers of a path, in their order.
pub trait PathTarget: Clone + DeserializeOwned + Send + Sync + 'static {
    /// The result of authorization: the organization, the platform, or the caller's own scope.
    type Authorized: Authorized;
    const EXPOSURE: Exposure;
    /// The kinds of areas that can contain the target.
    const AREAS: &'static [AreaKind] = &[];

    fn authorize(
        &self,
        caller: &Caller,
        tx: &mut Conn,
        permission: Permission,
    ) -> impl Future<Output = Result<Self::Authorized>> + Send;

    /// Returns the organization that owns the target, whether or not the caller can see it. `None`
    /// when the path identifies no object of an organization.
    fn owner(&self, _: &mut Conn) -> impl Future<Output = Result<Option<OrganizationId>>> + Send {
        std::future::ready(Ok(None))
    }

    /// Returns the type and ID for the audit event of an answer that names no object.
    fn target(&self, _: Self::Authorized) -> (&'static str, String) {
        ("platform", "platform".into())
    }

    /// Returns the schemas of the path's parameters; a path without identifiers has none.
    fn parameters() -> Vec<Schema> {
        Vec::new()
    }

    /// Returns the noun in the refusal of a path whose identifier cannot be parsed.
    fn noun() -> &'static str {
        "page"
    }
}

/// The protection of a line's target; the authorization sweep covers each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exposure {
    /// Open to all: the server ignores credentials.
    Public,
    /// The caller's own scope decides the content of the answer.
    Anywhere,
    /// Platform callers only.
    Platform,
    /// The organization that owns the target; foreign and missing targets look the same.
    Organization,
    /// The person whose row the path names, and no other caller.
    Own,
}

/// The result of authorization.
pub trait Authorized: Copy + Send + Sync + 'static {
    fn scope(self) -> Scope;
    /// Returns the result again.
    ///
    /// # Panics
    /// When the scope is not of such a result.
    fn of(scope: Scope) -> Self;
}

impl Authorized for OrganizationId {
    fn scope(self) -> Scope {
        Scope::Organization { organization_id: self }
    }
    fn of(scope: Scope) -> Self {
        scope.organization().expect("the place is in an organization")
    }
}

impl Authorized for Scope {
    fn scope(self) -> Scope {
        self
    }
    fn of(scope: Scope) -> Self {
        scope
    }
}

/// `/licenses/{id}`: a row of one organization.
impl<T: Owned> PathTarget for T {
    type Authorized = OrganizationId;
    const EXPOSURE: Exposure = Exposure::Organization;
    const AREAS: &'static [AreaKind] = match T::WITHIN {
        Some(within) => within.kinds,
        None => &[],
    };

    async fn authorize(
        &self,
        caller: &Caller,
        tx: &mut Conn,
        permission: Permission,
    ) -> Result<OrganizationId> {
        caller.in_organization(tx, *self, permission).await
    }
    async fn owner(&self, tx: &mut Conn) -> Result<Option<OrganizationId>> {
        let owner: Option<Owner> = tx.q(T::OWNER).bind(*self).opt().await?;
        Ok(owner.map(|owner| owner.id))
    }
    fn target(&self, _: Self::Authorized) -> (&'static str, String) {
        (T::NOUN, self.to_string())
    }
    fn parameters() -> Vec<Schema> {
        vec![id_of(T::NOUN)]
    }
    fn noun() -> &'static str {
        T::MISSING
    }
}

/// Returns the schema of an ID in a path.
pub(super) fn id_of(noun: &str) -> Schema {
    let description = format!("The ID of the {noun}.");
    json_schema!({"type": "string", "format": "uuid", "description": description})
}

/// `/groups/{id}/members/{user}`, `/organizations/{org}/quotas/{metric}`: an object below a path
/// target. Only the first identifier decides. A composite key or a condition of the statement
/// restricts the second one.
impl<P: PathTarget, U: Clone + DeserializeOwned + Display + Send + Sync + 'static> PathTarget
    for (P, U)
{
    type Authorized = P::Authorized;
    const EXPOSURE: Exposure = P::EXPOSURE;
    const AREAS: &'static [AreaKind] = P::AREAS;

    async fn authorize(
        &self,
        caller: &Caller,
        tx: &mut Conn,
        permission: Permission,
    ) -> Result<P::Authorized> {
        self.0.authorize(caller, tx, permission).await
    }
    async fn owner(&self, tx: &mut Conn) -> Result<Option<OrganizationId>> {
        self.0.owner(tx).await
    }
    fn target(&self, ground: P::Authorized) -> (&'static str, String) {
        let (noun, id) = self.0.target(ground);
        (noun, format!("{id}/{}", self.1))
    }
    fn parameters() -> Vec<Schema> {
        let text = json_schema!({"type": "string"});
        P::parameters().into_iter().chain([text]).collect()
    }
    fn noun() -> &'static str {
        P::noun()
    }
}

/// `/organizations/{org}/…`: an organization, by its ID or its slug. The operation works on
/// `cx.at`, which authorization found.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Org(String);

impl Org {
    /// Creates the target for an organization that a body names.
    pub fn named(text: String) -> Self {
        Self(text)
    }

    pub(in crate::kernel) async fn find(&self, tx: &mut Conn) -> Result<Option<Owner>> {
        let by_slug =
            "SELECT id, status = 'suspended' AS suspended FROM organizations WHERE slug = $1";
        Ok(match self.0.parse::<OrganizationId>() {
            Ok(id) => owners::owner_of(tx, id).await?,
            Err(_) if self.0.contains('\0') => None,
            Err(_) => tx.q(by_slug).bind(&*self.0).opt().await?,
        })
    }
}

impl PathTarget for Org {
    type Authorized = OrganizationId;
    const EXPOSURE: Exposure = Exposure::Organization;

    async fn authorize(
        &self,
        caller: &Caller,
        tx: &mut Conn,
        permission: Permission,
    ) -> Result<OrganizationId> {
        let found = self.find(tx).await?.ok_or_else(|| Error::not_found(Self::noun()))?;
        caller.decide(found, Location::Organization(found.id), Self::noun(), permission)
    }
    async fn owner(&self, tx: &mut Conn) -> Result<Option<OrganizationId>> {
        Ok(self.find(tx).await?.map(|owner| owner.id))
    }
    fn target(&self, organization: OrganizationId) -> (&'static str, String) {
        (Self::noun(), organization.to_string())
    }
    fn parameters() -> Vec<Schema> {
        vec![json_schema!({"type": "string", "description": "The organization's ID or slug."})]
    }
    fn noun() -> &'static str {
        "organization"
    }
}

/// `GET /organizations/{org}/projects`: the rows of an organization that the caller may read, in
/// the whole organization or in the caller's areas. The operation lists them with [`Rows::within`].
///
/// [`Rows::within`]: crate::kernel::db::query::Rows::within
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent, bound = "")]
pub struct OrgList<T> {
    org: Org,
    #[serde(skip)]
    rows: PhantomData<T>,
}

impl<T: Owned> PathTarget for OrgList<T> {
    type Authorized = OrganizationId;
    const EXPOSURE: Exposure = Org::EXPOSURE;
    const AREAS: &'static [AreaKind] = T::AREAS;

    async fn authorize(
        &self,
        caller: &Caller,
        tx: &mut Conn,
        permission: Permission,
    ) -> Result<OrganizationId> {
        let found = self.org.find(tx).await?.ok_or_else(|| Error::not_found(Org::noun()))?;
        let areas = caller.areas(found.id, permission).unwrap_or_default();
        if areas.iter().any(|area| Self::AREAS.contains(&area.kind)) {
            return Ok(found.id);
        }
        caller.decide(found, Location::Organization(found.id), Org::noun(), permission)
    }
    async fn owner(&self, tx: &mut Conn) -> Result<Option<OrganizationId>> {
        self.org.owner(tx).await
    }
    fn target(&self, organization: OrganizationId) -> (&'static str, String) {
        self.org.target(organization)
    }
    fn parameters() -> Vec<Schema> {
        Org::parameters()
    }
    fn noun() -> &'static str {
        Org::noun()
    }
}
