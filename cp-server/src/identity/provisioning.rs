//! Provisioning: roles and grants at an organization's identity provider.
//!
//! # Design
//! The desired state follows from the provider's role map and from the members; the provider's own
//! state is read, and the difference is applied. A run is bounded in writes and time, and repeatable:
//! another run continues where one ended. So there is no outbox. No transaction is open while a
//! provider answers; the transaction of the audit event begins afterwards.
//!
//! Grants are for the organization at the provider that `claim_map.organization_id` names, never for
//! the one of the service user: without the ID there are no grants.

pub mod identifiers;
pub mod members;
pub mod outcome;
pub mod plan;
pub mod request;
pub mod run;
pub mod state;
pub mod target;
pub mod zitadel;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Mutex, PoisonError};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use self::members::Member;
use self::outcome::Provisioning;
use self::plan::{PlannedGrant, PlannedRole, configured_roles, prefixed};
use self::request::{NamedGrants, NewProvisioning, NewRole, Selection};
use self::run::Options;
use self::target::Target;
use self::zitadel::Zitadel;
use self::zitadel::connection::Connection;
use self::zitadel::wire::Wire;
use super::providers::refuse_impersonation;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::place::Org;
use crate::kernel::app::Part;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;

crate::routes! { providers:
    /// Returns the roles and grants that the provider should have, without a request to the provider.
    GET "/organizations/{org}/identity-providers/{key}/provision" PROVIDERS_WRITE => plan;
    /// Sets up the roles and grants at the provider.
    ///
    /// The answer is 200 as soon as the provider answered the first request. It has the outcome of each
    /// item, also of refused ones. A run has at most 100 writes and 20 seconds; another run continues.
    POST "/organizations/{org}/identity-providers/{key}/provision" PROVIDERS_WRITE
        => provision, own_transaction, conditional_audit, grants;
}

/// The desired state of a provider.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ProvisioningPlan {
    provider: PlannedProvider,
    /// The roles of the project.
    roles: Vec<PlannedRole>,
    /// The members of rank 3 and above, by address.
    grants: Vec<PlannedGrant>,
}

/// The settings of the provider that decide about its roles and grants.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PlannedProvider {
    key: String,
    issuer: String,
    /// The project whose roles count.
    project_id: String,
    /// The organization at the provider in which people get their grants.
    organization_id: Option<String>,
    /// The prefix of the role keys at the provider.
    role_prefix: String,
    /// This server's role codes for each role of the provider.
    role_map: Map<String, Value>,
}

/// The lowest rank of an admin.
const ADMIN: i64 = 3;
/// The most members of a list in a request, besides the roles and grants.
const MOST_KEYS: usize = 100;
const MOST_USERS: usize = 1000;

async fn plan(cx: &mut Cx, (_, key): (Org, String)) -> Result<ProvisioningPlan> {
    let target = Target::load(cx, &key, false).await?;
    let roles = configured_roles(target.role_map()?, &target.role_prefix)?;
    let members = members::of_rank(cx, &key, ADMIN).await?;
    let grants = of_members(cx, &target, members, &[]).await?;
    let grants = grants.into_iter().map(PlannedGrant::examined).collect();
    let Target { provider, project_id, organization_id, role_prefix, role_map, .. } = target;
    let (key, issuer) = (provider.key, provider.issuer);
    let provider =
        PlannedProvider { key, issuer, project_id, organization_id, role_prefix, role_map };
    Ok(ProvisioningPlan { provider, roles, grants })
}

async fn provision(
    cx: &mut Cx,
    (_, key): (Org, String),
    new: NewProvisioning,
) -> Result<Provisioning> {
    cx.audit.target = Some(("identity provider", key.clone()));
    // The roles of the provider give rights here, too.
    refuse_impersonation(cx).await?;
    check(&new)?;
    let target = Target::load(cx, &key, new.apply_defaults).await?;
    let roles = wanted_roles(&target, &new.roles)?;
    let grants = wanted_grants(cx, &target, &new).await?;
    if !grants.is_empty() && target.organization_id.is_none() {
        let detail = "`claim_map.organization_id` is required for grants: the organization at the \
                      provider in which people get them.";
        return Err(Error::invalid("claim_map.organization_id", detail));
    }
    target.refuse_superadmin_keys(cx, grants.iter().flat_map(|grant| &grant.role_keys))?;
    let endpoint = target.endpoint(cx).await?;
    // Connections for reading are scarce, and a provider may be slow.
    cx.release();
    let (app, organization) = (cx.app.clone(), cx.at);
    let _running = Running::begin(Runs::of(&app), organization)?;
    let wire = Wire {
        api: endpoint.access.settings.api,
        project: &target.project_id,
        organization: target.organization_id.as_deref(),
        project_grant: target.project_grant_id.as_deref(),
    };
    let options = Options {
        dry_run: new.dry_run,
        resolve_by_email: new.resolve_by_email,
        prune: new.prune,
        activate: new.activate,
        role_prefix: &target.role_prefix,
    };
    let mut zitadel = Zitadel::new(Connection::new(&app, &endpoint), wire);
    let ran = run::run(&mut zitadel, &options, &roles, grants).await;
    let mut outcome = ran.map_err(zitadel::failures::Failure::into_error)?;
    outcome.config_updated = target.is_filled;
    if new.dry_run {
        cx.audit.omit();
        return Ok(outcome);
    }
    cx.begin().await?;
    if target.is_filled {
        target.store(cx).await?;
    }
    Ok(outcome)
}

/// Checks what the types of the request do not.
fn check(new: &NewProvisioning) -> Result<()> {
    let too_many = |field: String, most: usize| {
        let detail = format!("`{field}` must have at most {most} items.");
        Err(Error::invalid(field, detail))
    };
    if new.default_role_keys.len() > MOST_KEYS {
        return too_many("default_role_keys".to_owned(), MOST_KEYS);
    }
    if new.users.len() > MOST_USERS {
        return too_many("users".to_owned(), MOST_USERS);
    }
    let Selection::Listed(grants) = &new.grants else { return Ok(()) };
    for (n, grant) in grants.iter().enumerate() {
        let field = format!("grants[{n}].role_keys");
        match grant.role_keys.len() {
            0 => {
                let detail = format!("`{field}` must have at least 1 item.");
                return Err(Error::invalid(field, detail));
            }
            count if count > MOST_KEYS => return too_many(field, MOST_KEYS),
            _ => {}
        }
        let named =
            [grant.email.is_some(), grant.user_id.is_some(), grant.provider_user_id.is_some()];
        if named.into_iter().filter(|is_named| *is_named).count() != 1 {
            let field = format!("grants[{n}]");
            let detail = format!(
                "`{field}` must have exactly one of `email`, `user_id` and `provider_user_id`."
            );
            return Err(Error::invalid(field, detail));
        }
    }
    Ok(())
}

fn wanted_roles(
    target: &Target,
    wanted: &Selection<request::NamedRoles, NewRole>,
) -> Result<Vec<PlannedRole>> {
    let roles = match wanted {
        Selection::Named(_) => return configured_roles(target.role_map()?, &target.role_prefix),
        Selection::Listed(roles) => roles,
    };
    let mut keys = HashSet::new();
    let planned = roles.iter().enumerate().map(|(n, role)| {
        let base_key = role.key.as_str();
        let field = || format!("roles[{n}].key");
        if !keys.insert(base_key) {
            let detail = format!("`{}` is the key of an earlier item.", field());
            return Err(Error::invalid(field(), detail));
        }
        Ok(PlannedRole {
            key: prefixed(&target.role_prefix, base_key, field)?,
            base_key: base_key.to_owned(),
            display_name: role.display_name.as_str().to_owned(),
            group: role.group.as_ref().map(|group| group.as_str().to_owned()),
            is_explicit: true,
        })
    });
    planned.collect()
}

/// Returns the people of the request with their keys, and with their IDs at the provider as far as
/// this server knows them.
async fn wanted_grants(
    cx: &mut Cx,
    target: &Target,
    new: &NewProvisioning,
) -> Result<Vec<PlannedGrant>> {
    let mut grants = match &new.grants {
        Selection::Named(named) => {
            let rank = if *named == NamedGrants::Admins { ADMIN } else { i64::MIN };
            target.role_map()?;
            let members = members::of_rank(cx, &target.provider.key, rank).await?;
            of_members(cx, target, members, &new.default_role_keys).await?
        }
        Selection::Listed(listed) => of_list(cx, target, listed).await?,
    };
    let chosen: BTreeMap<String, &str> =
        new.users.iter().map(|(email, id)| (email.to_lowercase(), id.as_str())).collect();
    for grant in &mut grants {
        let email = grant.email.as_deref().map(str::to_lowercase);
        if let Some(id) = email.and_then(|email| chosen.get(&email)) {
            grant.provider_user_id = Some((*id).to_owned());
        }
    }
    Ok(grants)
}

async fn of_members(
    cx: &mut Cx,
    target: &Target,
    members: Vec<Member>,
    defaults: &[identifiers::RoleKey],
) -> Result<Vec<PlannedGrant>> {
    let roles = members::roles(cx).await?;
    let planned = members.into_iter().map(|member| {
        let mut keys = roles.keys_of(&member.role, member.rank, &target.role_map);
        keys.extend(defaults.iter().cloned().map(identifiers::RoleKey::into_string));
        let role_keys = keys_of(target, &keys, || "default_role_keys".to_owned())?;
        Ok(planned_member(member, role_keys))
    });
    planned.collect()
}

async fn of_list(
    cx: &mut Cx,
    target: &Target,
    listed: &[request::NewGrant],
) -> Result<Vec<PlannedGrant>> {
    let ids: BTreeSet<_> = listed.iter().filter_map(|grant| grant.user_id).collect();
    let addresses = listed.iter().filter_map(|grant| grant.email.as_ref());
    let addresses: BTreeSet<String> =
        addresses.map(|email| email.as_str().to_lowercase()).collect();
    let members = members::named(cx, &target.provider.key, &ids, &addresses).await?;
    let mut planned = Vec::with_capacity(listed.len());
    for (n, grant) in listed.iter().enumerate() {
        let keys: Vec<String> =
            grant.role_keys.iter().cloned().map(identifiers::RoleKey::into_string).collect();
        let role_keys = keys_of(target, &keys, || format!("grants[{n}].role_keys"))?;
        let email = grant.email.as_ref().map(|email| email.as_str().to_owned());
        let key = email.as_deref().map(str::to_lowercase);
        let is_named = |member: &&Member| {
            grant.user_id == Some(member.user_id) || key.as_ref() == Some(&member.email_key)
        };
        planned.push(match members.iter().find(is_named) {
            Some(member) => planned_member(member.clone(), role_keys),
            None if grant.user_id.is_some() => {
                return Err(Error::not_found("member").at(format!("grants[{n}].user_id")));
            }
            None => PlannedGrant {
                user_id: None,
                email,
                role: None,
                role_keys,
                provider_user_id: grant.provider_user_id.as_ref().map(|id| id.as_str().to_owned()),
                problem: None,
            },
        });
    }
    Ok(planned)
}

fn planned_member(member: Member, role_keys: Vec<String>) -> PlannedGrant {
    PlannedGrant {
        user_id: Some(member.user_id),
        email: Some(member.email),
        role: Some(member.role),
        role_keys,
        provider_user_id: member.subject,
        problem: None,
    }
}

/// Returns the keys at the provider, each once.
fn keys_of(target: &Target, keys: &[String], field: impl Fn() -> String) -> Result<Vec<String>> {
    let mut all = Vec::with_capacity(keys.len());
    for key in keys {
        let key = prefixed(&target.role_prefix, key, &field)?;
        if !all.contains(&key) {
            all.push(key);
        }
    }
    Ok(all)
}

/// The organizations whose run is in progress on this replica: one at a time, so that no organization
/// holds more than one place among the requests to providers.
#[derive(Debug, Default)]
pub struct Runs(Mutex<HashSet<OrganizationId>>);

impl Part for Runs {}

/// A run in progress.
struct Running<'r> {
    runs: &'r Runs,
    organization: OrganizationId,
}

impl<'r> Running<'r> {
    /// Begins a run.
    ///
    /// # Errors
    /// 409 while another run of the organization is in progress.
    fn begin(runs: &'r Runs, organization: OrganizationId) -> Result<Self> {
        let mut all = runs.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.insert(organization) {
            return Ok(Self { runs, organization });
        }
        let detail = "Another provisioning of this organization is in progress. Wait for its end.";
        Err(Error::conflict(detail))
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut all = self.runs.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(&self.organization);
    }
}
