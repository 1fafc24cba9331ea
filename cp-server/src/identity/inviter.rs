//! The inviter of an offer that is accepted later.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::leavers;
use super::role_grants;
use super::service_tokens::rows::caller_of;
use crate::identity::ids::TokenId;
use crate::kernel::access::caller::{Authority, Caller, CallerKind, LoggedIn, Privileges};
use crate::kernel::access::ids::{OrganizationId, UserId};
use crate::kernel::access::policy::{Domain, Grant};
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::error::Result;

/// The inviter of an offer, as their login or token describes them, without grants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inviter {
    kind: CallerKind,
    id: Uuid,
    user: Option<UserId>,
    /// The organization that vouched for the login; `None` for the platform.
    organization: Option<OrganizationId>,
    /// The roles that the provider vouched for.
    #[serde(default)]
    roles: Vec<String>,
    roles_in: Option<OrganizationId>,
    #[serde(default)]
    products: Vec<String>,
    #[serde(default)]
    is_superadmin: bool,
}

impl Inviter {
    pub fn of(caller: &Caller) -> Self {
        let login = caller.login.as_deref();
        Self {
            kind: caller.kind,
            id: caller.id,
            user: caller.user,
            organization: caller.authority().organization(),
            roles: login.map(|login| login.roles.clone()).unwrap_or_default(),
            roles_in: login.and_then(|login| login.roles_in),
            products: login.map(|login| login.products.clone()).unwrap_or_default(),
            is_superadmin: login.is_some_and(|login| login.is_superadmin),
        }
    }

    /// Returns the inviter as a caller, with the grants of this instant.
    pub async fn caller(&self, app: &App, tx: &mut Conn) -> Result<Caller> {
        match self.kind {
            CallerKind::System => Ok(Caller::system("invitation")),
            CallerKind::ServiceToken => caller_of(app, tx, TokenId(self.id)).await,
            // A license key invites no person.
            CallerKind::Anonymous | CallerKind::LicenseKey => Ok(Caller::anonymous()),
            CallerKind::Person => self.person(tx).await,
        }
    }

    /// Returns whether the provider's roles still count for the person.
    async fn is_admitted(&self, tx: &mut Conn, organization: OrganizationId) -> Result<bool> {
        match self.user {
            Some(user) => leavers::admits(tx, organization, user).await,
            None => Ok(true),
        }
    }

    async fn person(&self, tx: &mut Conn) -> Result<Caller> {
        let mut held: Vec<Grant> = Vec::new();
        let authority = Authority::from(self.organization);
        let mut is_superadmin = self.is_superadmin;
        if let Some(user) = self.user {
            let sql = "SELECT is_superadmin FROM users WHERE id = $1 AND is_active";
            // A person who is not active holds nothing, whatever a provider vouches for.
            let Some(flag) = tx.q(sql).bind(user).value::<bool>().await? else {
                return Ok(Caller::anonymous());
            };
            is_superadmin |= flag;
            held = role_grants::of_person(tx, user, self.organization, &self.products).await?;
        }
        if let Some(organization) = self.roles_in
            && self.is_admitted(tx, organization).await?
        {
            held.extend(role_grants::of_roles(tx, organization, &self.roles).await?);
        }
        if is_superadmin && authority == Authority::Platform {
            held.push(Grant::new(Domain::Platform, Privileges::all(), "SUPERADMIN"));
        }
        let login = LoggedIn {
            provider: String::new(),
            issuer: String::new(),
            authority,
            roles: self.roles.clone(),
            roles_in: self.roles_in,
            products: self.products.clone(),
            is_superadmin: self.is_superadmin,
            session: None,
        };
        Ok(Caller {
            kind: CallerKind::Person,
            id: self.id,
            user: self.user,
            grants: held.into(),
            login: Some(Arc::new(login)),
            ..Caller::anonymous()
        })
    }
}
