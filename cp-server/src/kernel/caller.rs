//! Who is calling, and the one decision what they may do where.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::admission;
use super::db::Conn;
use super::error::{Error, Result};
use super::ids::{DeploymentId, OrganizationId, Owned, UserId};
use crate::App;

macro_rules! permissions {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal;)+) => {
        /// What a line of the table asks for, and a caller holds.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Permission {
            /// Nobody need say who they are.
            Public,
            /// Whoever is known may, with any credential.
            Any,
            $($(#[doc = $doc])+ $name,)+
        }
        impl Permission {
            pub const ALL: &'static [Self] = &[$(Self::$name),+];
            pub const fn as_str(self) -> &'static str {
                match self { Self::Public => "public", Self::Any => "any", $(Self::$name => $code),+ }
            }
        }
    };
}

permissions! {
    /// Create organizations.
    OrgCreate = "org:create";
    /// Read an organization.
    OrgRead = "org:read";
    /// Change an organization.
    OrgWrite = "org:write";
    /// Suspend or purge an organization.
    OrgDelete = "org:delete";
    /// Read workspaces.
    WorkspacesRead = "workspaces:read";
    /// Create and change workspaces.
    WorkspacesWrite = "workspaces:write";
    /// Read people and their identities.
    UsersRead = "users:read";
    /// Create, change and delete people and link their identities.
    UsersWrite = "users:write";
    /// Ask who a logged-in person is.
    UsersWhoami = "users:whoami";
    /// Read roles.
    RolesRead = "roles:read";
    /// Create and change custom roles.
    RolesWrite = "roles:write";
    /// Read memberships.
    MembersRead = "members:read";
    /// Create and change memberships.
    MembersWrite = "members:write";
    /// End memberships.
    MembersDelete = "members:delete";
    /// Read groups.
    GroupsRead = "groups:read";
    /// Create, change and delete groups.
    GroupsWrite = "groups:write";
    /// Read projects.
    ProjectsRead = "projects:read";
    /// Create, change and move projects, and grant teams roles on them.
    ProjectsWrite = "projects:write";
    /// Delete projects.
    ProjectsDelete = "projects:delete";
    /// Read artifacts.
    ArtifactsRead = "artifacts:read";
    /// Create artifacts.
    ArtifactsWrite = "artifacts:write";
    /// Delete artifacts.
    ArtifactsDelete = "artifacts:delete";
    /// Adjust the gauges of quotas.
    QuotasWrite = "quotas:write";
    /// Read plans.
    PlansRead = "plans:read";
    /// Create and change plans.
    PlansWrite = "plans:write";
    /// Read subscriptions.
    SubscriptionsRead = "subscriptions:read";
    /// Create and change subscriptions.
    SubscriptionsWrite = "subscriptions:write";
    /// Read deployments.
    DeploymentsRead = "deployments:read";
    /// Create and change deployments.
    DeploymentsWrite = "deployments:write";
    /// Read licenses and their bundles.
    LicensesRead = "licenses:read";
    /// Create, change, suspend and revoke licenses.
    LicensesWrite = "licenses:write";
    /// Sign license tokens.
    LicensesIssue = "licenses:issue";
    /// Read about the signing keys.
    KeysRead = "keys:read";
    /// Create, import, rotate and retire signing keys.
    KeysWrite = "keys:write";
    /// Create and revoke service tokens.
    TokensWrite = "tokens:write";
    /// Read about service tokens.
    TokensRead = "tokens:read";
    /// Read usage and its sums.
    UsageRead = "usage:read";
    /// Record usage.
    UsageWrite = "usage:write";
    /// Read usage limits and check them.
    LimitsRead = "limits:read";
    /// Set and remove usage limits.
    LimitsWrite = "limits:write";
    /// Read audit events.
    AuditRead = "audit:read";
    /// Record audit events of one's own.
    AuditWrite = "audit:write";
    /// Read the identity providers.
    ProvidersRead = "providers:read";
    /// Set and delete identity providers.
    ProvidersWrite = "providers:write";
    /// Read where secrets are kept.
    SecretsRead = "secrets:read";
    /// Set and delete references to secrets.
    SecretsWrite = "secrets:write";
    /// Read the billing account.
    BillingRead = "billing:read";
    /// Set the billing account. Not `billing:manage`, which an organization's owner has: who sets
    /// the plan sets what is paid for.
    BillingWrite = "billing:write";
    /// Export everything that an organization has.
    OrgExport = "org:export";
}

impl std::str::FromStr for Permission {
    type Err = String;
    fn from_str(code: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|p| p.as_str() == code).copied();
        found.ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|p| p.as_str()).collect();
            format!("{code:?} is not a permission; these are: *, {}", known.join(", "))
        })
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions(u64);

impl Permissions {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(u64::MAX);

    pub fn with(self, permission: Permission) -> Self {
        Self(self.0 | 1 << permission as u64)
    }

    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn contains(self, permission: Permission) -> bool {
        self.0 & 1 << permission as u64 != 0
    }

    pub fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    /// From codes; `*` stands for all of them.
    pub fn parse<'a>(codes: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        codes.into_iter().try_fold(Self::NONE, |set, code| match code {
            "*" => Ok(Self::ALL),
            code => Ok(set.with(code.parse()?)),
        })
    }

    pub fn codes(self) -> Vec<&'static str> {
        Permission::ALL.iter().filter(|p| self.contains(**p)).map(|p| p.as_str()).collect()
    }
}

/// How far a caller reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Scope {
    Platform,
    Organization { organization_id: OrganizationId },
    Deployment { organization_id: OrganizationId, deployment_id: DeploymentId },
}

impl Scope {
    /// The organization that the caller is held to.
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
    /// What a caller is.
    CallerKind {
        Anonymous = "anonymous",
        ServiceToken = "service_token",
        Person = "person",
        /// The operator at the machine itself: the CLI on the database, or the first start.
        System = "system",
    }
}

/// An authenticated caller.
#[derive(Clone, Debug)]
pub struct Caller {
    pub kind: CallerKind,
    pub id: Uuid,
    pub name: String,
    pub user: Option<UserId>,
    pub scope: Scope,
    pub permissions: Permissions,
}

impl Caller {
    pub fn anonymous() -> Self {
        Self {
            kind: CallerKind::Anonymous,
            id: Uuid::nil(),
            name: "anonymous".into(),
            user: None,
            scope: Scope::Platform,
            permissions: Permissions::NONE,
        }
    }

    /// Whoever can open the database and the keys needs no token.
    pub fn system(name: &str) -> Self {
        Self {
            kind: CallerKind::System,
            id: Uuid::nil(),
            name: name.into(),
            user: None,
            scope: Scope::Platform,
            permissions: Permissions::ALL,
        }
    }

    /// The organization that owns `row`, if the caller may use `permission` on it.
    ///
    /// A row that the caller can't see is *not found*, exactly like one that does not exist; one
    /// that it sees but may not touch is *forbidden*.
    pub async fn in_organization<T: Owned>(
        &self,
        tx: &mut Conn,
        row: T,
        permission: Permission,
    ) -> Result<OrganizationId> {
        let owner: Option<Option<OrganizationId>> = tx.q(T::OWNER).bind(row).value().await?;
        self.decide(owner.flatten(), T::MISSING, permission)
    }

    /// The decision itself: `owner` is the organization that was found, if any.
    pub fn decide(
        &self,
        owner: Option<OrganizationId>,
        noun: &'static str,
        permission: Permission,
    ) -> Result<OrganizationId> {
        let hidden = || Error::not_found(noun);
        let owner = owner.ok_or_else(hidden)?;
        if self.scope.organization().is_some_and(|own| own != owner) {
            return Err(hidden());
        }
        self.holds(permission)?;
        Ok(owner)
    }

    /// Whether the caller may use `permission` on the platform itself.
    pub fn on_platform(&self, permission: Permission) -> Result<()> {
        match self.scope {
            Scope::Platform => self.holds(permission),
            _ => Err(forbidden(permission, "on the platform")),
        }
    }

    /// Whether the caller holds the permission, wherever it is held to.
    pub fn holds(&self, permission: Permission) -> Result<()> {
        if permission == Permission::Any || self.permissions.contains(permission) {
            return Ok(());
        }
        Err(forbidden(permission, "here"))
    }
}

fn forbidden(permission: Permission, place: &str) -> Error {
    let code = permission.as_str();
    let detail = format!("The caller does not hold the permission {code} {place}.");
    Error::new(cp_contracts::ProblemCode::Forbidden, detail).with("permission", code)
}

/// Resolves a bearer credential; `None` when it is of another kind.
///
/// The kernel does not know which kinds of credentials exist: the slices that keep them do.
pub trait Authenticate: Send + Sync {
    fn caller<'a>(&'a self, app: &'a App, credential: &'a str) -> CallerFuture<'a>;

    /// An operation was committed on this replica: what was remembered may be over.
    fn committed(&self, action: &str);
}

pub type CallerFuture<'a> = Pin<Box<dyn Future<Output = Result<Option<Caller>>> + Send + 'a>>;

/// The caller that a request's `Authorization` header stands for.
pub async fn authenticate(app: &App, parts: &axum::http::request::Parts) -> Result<Caller> {
    // The CLI calls operations in its own process and vouches for itself.
    if let Some(caller) = parts.extensions.get::<Caller>() {
        return Ok(caller.clone());
    }
    let mut headers = parts.headers.get_all(axum::http::header::AUTHORIZATION).iter();
    let (Some(header), None) = (headers.next(), headers.next()) else {
        return Err(Error::unauthenticated("Send one header `Authorization: Bearer <token>`."));
    };
    let credential = header
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, credential)| credential)
        .ok_or_else(|| Error::unauthenticated("Send `Authorization: Bearer <token>`."))?;
    for kind in app.credentials.iter() {
        if let Some(caller) = kind.caller(app, credential).await? {
            admission::admit(app, &caller, parts).await?;
            return Ok(caller);
        }
    }
    Err(Error::unauthenticated("The token is not valid: unknown, expired or revoked."))
}

/// Where the caller's own reach decides: an answer to `GET /me`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Anywhere;

/// The request's id: the caller's `X-Request-Id` if it is a sound one, else a new one.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// The address that the request came from.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);
