//! Callers: an identity and its grants.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use cp_contracts::ProblemCode;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::kernel::access::areas::{Area, AreaKind};
use crate::kernel::access::ids::{DeploymentId, OrganizationId, Owned, UserId};
use crate::kernel::access::owners;
pub use crate::kernel::access::owners::Owner;
pub use crate::kernel::access::permissions::{Permission, Permissions, Privileges};
use crate::kernel::access::policy::{self, Domain, Grant, Location, Verdict};
use crate::kernel::db::{Conn, Share};
use crate::kernel::error::{Error, Result};

/// The widest scope of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Scope {
    Platform,
    Organization { organization_id: OrganizationId },
    Deployment { organization_id: OrganizationId, deployment_id: DeploymentId },
}

impl Scope {
    /// Returns the organization that the caller is restricted to.
    pub fn organization(self) -> Option<OrganizationId> {
        match self {
            Self::Platform => None,
            Self::Organization { organization_id } | Self::Deployment { organization_id, .. } => {
                Some(organization_id)
            }
        }
    }
}

crate::text_enum! {
    /// The kind of a caller.
    CallerKind {
        Anonymous = "anonymous",
        ServiceToken = "service_token",
        Person = "person",
        LicenseKey = "license_key",
        /// The operator at the machine itself: the CLI on the database, or the first start.
        System = "system",
    }
}

/// The authority that vouches for a login, or for a link of an identity to a user.
///
/// An organization vouches only for its own people. Its statements count for its own grants, and
/// never for another organization or the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Authority {
    Platform,
    Organization(OrganizationId),
}

impl Authority {
    /// Returns the organization, if the authority is one.
    pub fn organization(self) -> Option<OrganizationId> {
        match self {
            Self::Platform => None,
            Self::Organization(id) => Some(id),
        }
    }

    /// Returns whether the authority's statements count in the organization.
    pub fn counts_in(self, organization: OrganizationId) -> bool {
        self.organization().is_none_or(|own| own == organization)
    }
}

impl From<Option<OrganizationId>> for Authority {
    fn from(organization: Option<OrganizationId>) -> Self {
        organization.map_or(Self::Platform, Self::Organization)
    }
}

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    pub kind: CallerKind,
    /// The ID by which rates, idempotency keys and sessions count. For a person it stands for the
    /// pair of the user and the authority that vouches for the login.
    pub id: Uuid,
    pub name: String,
    pub user: Option<UserId>,
    /// The scope that the credential is restricted to; for a person, the scope of their first
    /// grant.
    pub scope: Scope,
    pub grants: Arc<[Grant]>,
    /// The login of a person.
    pub login: Option<Arc<LoggedIn>>,
    /// The end of the credential; what a machine creates ends no later.
    pub ends_at: Option<DateTime<Utc>>,
    /// Whether a platform caller restricted itself to one organization, for this request.
    pub is_narrowed: bool,
}

/// The statements of a person's provider that this server uses.
#[derive(Debug)]
pub struct LoggedIn {
    pub provider: String,
    pub issuer: String,
    pub authority: Authority,
    /// The roles that the provider vouches for, and the organization in which they count.
    pub roles: Vec<String>,
    pub roles_in: Option<OrganizationId>,
    /// Whether the provider vouches for a superadmin.
    pub is_superadmin: bool,
    /// The product labels that the person is restricted to; empty means all.
    pub products: Vec<String>,
    /// The session, if a browser's cookie is the credential.
    pub session: Option<Uuid>,
}

impl Caller {
    pub fn anonymous() -> Self {
        Self {
            kind: CallerKind::Anonymous,
            id: Uuid::nil(),
            name: "anonymous".into(),
            user: None,
            scope: Scope::Platform,
            grants: Arc::default(),
            login: None,
            ends_at: None,
            is_narrowed: false,
        }
    }

    /// Returns the caller of the operator: a process that can open the database and the keys needs
    /// no token.
    pub fn system(name: &str) -> Self {
        let by = CallerKind::System.as_str();
        let grants = Arc::new([Grant::new(Domain::Platform, Privileges::all(), by)]);
        Self { kind: CallerKind::System, name: name.into(), grants, ..Self::anonymous() }
    }

    /// Returns the share of the caller where requests wait for each other. An organization's
    /// callers have one share together; each caller of the platform has its own.
    pub fn share(&self) -> Share {
        match (self.kind, self.scope.organization()) {
            (CallerKind::System, _) => Share::SERVER,
            (_, Some(organization)) => Share::of(organization.0),
            (_, None) => Share::of(self.id),
        }
    }

    /// Creates the caller of a machine: one set of permissions in the scope of its token. A
    /// deployment's token holds the permissions that are confined to deployments on its own only.
    pub fn machine(id: Uuid, name: String, scope: Scope, held: Privileges) -> Self {
        let on = scope.organization().map_or(Domain::Platform, Domain::Organization);
        let held = Grant::new(on, held, CallerKind::ServiceToken.as_str());
        let grants = match scope {
            Scope::Deployment { organization_id, deployment_id } => {
                let own = Area { kind: AreaKind::Deployment, id: deployment_id.0 };
                let confined = Permissions::confined_to(own.kind);
                let on = Domain::Area(organization_id, own);
                let here = Grant { on, ..held.clone().narrowed(confined) };
                [held.without(confined), here].into()
            }
            _ => [held].into(),
        };
        Self { kind: CallerKind::ServiceToken, id, name, scope, grants, ..Self::anonymous() }
    }

    /// Returns the authority of the caller: an organization for its own tokens and logins.
    pub fn authority(&self) -> Authority {
        match &self.login {
            Some(login) => login.authority,
            None if matches!(self.kind, CallerKind::ServiceToken | CallerKind::LicenseKey) => {
                self.scope.organization().into()
            }
            None => Authority::Platform,
        }
    }

    /// Returns whether the caller is this user, by an authority that counts in the organization.
    pub fn is_user_in(&self, user: UserId, organization: OrganizationId) -> bool {
        self.user == Some(user) && self.authority().counts_in(organization)
    }

    /// Returns the ID of the actor in audit events: the user, not the pair of the user and the
    /// authority.
    pub fn actor_id(&self) -> Uuid {
        self.user.map_or(self.id, |user| user.0)
    }

    /// Returns the organization that owns `row`, if the caller may use `permission` on it.
    ///
    /// A row that the caller cannot see is *not found*, exactly like a missing row. A row that the
    /// caller sees, but lacks the permission for, is *forbidden*.
    pub async fn in_organization<T: Owned>(
        &self,
        tx: &mut Conn,
        row: T,
        permission: Permission,
    ) -> Result<OrganizationId> {
        let owner = owners::owner_of(tx, row).await?.ok_or_else(|| Error::not_found(T::MISSING))?;
        let areas = self.areas_of(tx, owner.id, row).await?;
        if areas.iter().any(|area| self.is_of_another(*area)) {
            return Err(Error::not_found(T::MISSING));
        }
        self.decide(owner, Location::Within(owner.id, &areas), T::MISSING, permission)
    }

    /// Returns whether the caller is a deployment, and the area is another deployment. A deployment
    /// does not know the others.
    fn is_of_another(&self, area: Area) -> bool {
        matches!(self.scope, Scope::Deployment { deployment_id, .. }
            if area.kind == AreaKind::Deployment && area.id != deployment_id.0)
    }

    /// Returns the areas that contain the row, if they can matter to the caller.
    async fn areas_of<T: Owned>(
        &self,
        tx: &mut Conn,
        owner: OrganizationId,
        row: T,
    ) -> Result<Vec<Area>> {
        match T::WITHIN {
            Some(within) if self.grants.iter().any(|grant| grant.on.is_area_of(owner)) => {
                Ok(tx.q(within.sql).bind(row).all().await?)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// Decides on an object of an organization.
    pub fn decide(
        &self,
        owner: Owner,
        location: Location<'_>,
        noun: &'static str,
        permission: Permission,
    ) -> Result<OrganizationId> {
        match policy::decide(&self.grants, location, permission) {
            Verdict::Hidden => Err(Error::not_found(noun)),
            Verdict::Forbidden => Err(forbidden(permission, "here")),
            Verdict::Allowed if owner.suspended && self.is_stopped(permission) => {
                let detail = "The organization is suspended: its data can be read but not changed.";
                Err(Error::new(ProblemCode::OrganizationSuspended, detail))
            }
            Verdict::Allowed => Ok(owner.id),
        }
    }

    /// Returns whether the caller may do this in the whole organization, not only in an area of it.
    pub fn may_throughout(&self, organization: OrganizationId, permission: Permission) -> bool {
        let whole = Location::Organization(organization);
        policy::decide(&self.grants, whole, permission) == Verdict::Allowed
    }

    /// Refuses a caller that may do this only in a part of the organization.
    pub fn refuse_parts(&self, organization: OrganizationId, permission: Permission) -> Result<()> {
        match self.may_throughout(organization, permission) {
            true => Ok(()),
            false => Err(forbidden(permission, "in the whole organization")),
        }
    }

    /// Returns the areas of the organization in which the caller may do this; `None` for the whole
    /// organization.
    pub fn areas(&self, organization: OrganizationId, permission: Permission) -> Option<Vec<Area>> {
        if self.may_throughout(organization, permission) {
            return None;
        }
        let holding = self.grants.iter().filter(|grant| grant.permissions.contains(permission));
        let areas = holding.filter_map(|grant| match grant.on {
            Domain::Area(own, area) if own == organization => Some(area),
            _ => None,
        });
        Some(areas.collect())
    }

    /// Returns whether the organization's suspension stops this: its own people and tokens cannot
    /// change anything then. The usage of a data plane still counts.
    fn is_stopped(&self, permission: Permission) -> bool {
        !self.is_of_platform() && !permission.details().kept
    }

    /// Checks that the caller may use `permission` on the platform itself.
    pub fn on_platform(&self, permission: Permission) -> Result<()> {
        match policy::decide(&self.grants, Location::Platform, permission) {
            Verdict::Allowed => Ok(()),
            _ if self.is_of_platform() => Err(forbidden(permission, "here")),
            _ => Err(forbidden(permission, "on the platform")),
        }
    }

    /// Returns the widest scope in which the caller may use the permission: the platform, or the
    /// first organization that permits it. For lines that answer by the caller's own scope.
    pub fn widest_scope(&self, permission: Permission) -> Result<Scope> {
        if permission == Permission::ANY {
            return Ok(self.scope);
        }
        // A permission in a workspace does not extend to its organization.
        let mut holding = self.grants.iter().filter(|grant| {
            !matches!(grant.on, Domain::Area(..)) && grant.permissions.contains(permission)
        });
        let first = holding.clone().next().ok_or_else(|| forbidden(permission, "here"))?;
        Ok(match first.on.organization() {
            // A machine's scope is narrower still: its deployment.
            _ if self.kind != CallerKind::Person => self.scope,
            Some(organization_id) if !holding.any(|grant| grant.on == Domain::Platform) => {
                Scope::Organization { organization_id }
            }
            _ => Scope::Platform,
        })
    }

    /// Returns the organizations in which the caller has grants.
    pub fn organizations(&self) -> BTreeSet<OrganizationId> {
        self.grants.iter().filter_map(|grant| grant.on.organization()).collect()
    }

    pub fn is_of_platform(&self) -> bool {
        self.grants.iter().any(|grant| grant.on == Domain::Platform)
    }

    /// Refuses to grant privileges that the caller does not hold on the row.
    pub async fn refuse_giving_on<T: Owned>(
        &self,
        tx: &mut Conn,
        owner: OrganizationId,
        row: T,
        given: &Privileges,
        field: &'static str,
    ) -> Result<()> {
        let areas = self.areas_of(tx, owner, row).await?;
        self.refuse_giving(given, Location::Within(owner, &areas), field)
    }

    /// Refuses to grant privileges that the caller does not hold at the location.
    pub fn refuse_giving(
        &self,
        given: &Privileges,
        location: Location<'_>,
        field: &'static str,
    ) -> Result<()> {
        let held = policy::privileges(&self.grants, location);
        let lacking = held.lacking(given);
        if !lacking.is_empty() {
            let detail = format!(
                "`{field}` grants permissions that the caller does not hold here: {}. A caller \
                 grants only what it holds.",
                lacking.join(", ")
            );
            let refused = Error::new(ProblemCode::Forbidden, detail).at(field);
            return Err(refused.with("lacking", lacking));
        }
        if given.rank > held.rank {
            let detail = format!(
                "`{field}` has the rank {}, above the caller's rank {} here. A caller grants at \
                 most its own rank.",
                given.rank, held.rank
            );
            return Err(Error::new(ProblemCode::Forbidden, detail).at(field));
        }
        Ok(())
    }
}

fn forbidden(permission: Permission, place: &str) -> Error {
    let code = permission.as_str();
    let detail = format!("The caller does not hold the permission {code} {place}.");
    Error::new(ProblemCode::Forbidden, detail).with("permission", code)
}

/// A path without a target of its own: the caller's own scope decides, as in `GET /me`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct CallerScope;

/// The request's ID: the caller's `X-Request-Id` if it is valid, else a new one.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// Marks a request that this process makes for a caller whose own request was admitted.
#[derive(Clone, Copy, Debug)]
pub(in crate::kernel) struct Vouched;

/// The address that the request came from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);
