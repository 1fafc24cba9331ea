//! One run: reads the provider's state, compares it with the desired one, and applies the difference.

use std::collections::{BTreeSet, HashMap};

use super::outcome::{Action, GrantOutcome, Item, ItemStatus, Provisioning, Reason, RoleOutcome};
use super::plan::{GrantChange, PlannedGrant, PlannedRole, RoleChange, grant_change, role_change};
use super::state::{RemoteGrant, RemoteRole, RemoteUser};
use super::zitadel::Zitadel;
use super::zitadel::failures::Failure;

/// The most writes of one run.
const WRITES: u32 = 100;
/// The number of addresses of one search.
const AT_ONCE: usize = 50;
/// How often a grant that exists is searched in lists that lag behind.
const READS: u32 = 3;

/// The settings of a run.
pub struct Options<'r> {
    pub dry_run: bool,
    pub resolve_by_email: bool,
    pub prune: bool,
    pub activate: bool,
    pub role_prefix: &'r str,
}

/// A run in progress.
struct Run<'r, 'z> {
    zitadel: &'r mut Zitadel<'z>,
    options: &'r Options<'r>,
    writes: u32,
    /// The provider's grants, by person.
    grants: HashMap<String, RemoteGrant>,
}

/// Runs once. It fails if the provider refuses the first list: then nothing was written.
pub async fn run(
    zitadel: &mut Zitadel<'_>,
    options: &Options<'_>,
    roles: &[PlannedRole],
    grants: Vec<PlannedGrant>,
) -> Result<Provisioning, Failure> {
    let known_roles = if roles.is_empty() { Vec::new() } else { zitadel.roles().await? };
    let known_grants = match grants.is_empty() {
        true => Ok(Vec::new()),
        false => zitadel.grants(None).await,
    };
    let known_grants = match known_grants {
        Err(failure) if roles.is_empty() => return Err(failure),
        // The provider answered: the outcome has the refusal, and the roles.
        known => known,
    };
    let found = match &known_grants {
        Ok(_) => People::find(zitadel, options, &grants).await,
        Err(_) => People::default(),
    };
    let mut run = Run { zitadel, options, writes: 0, grants: HashMap::new() };
    let mut role_outcomes = Vec::with_capacity(roles.len());
    for role in roles {
        let known = known_roles.iter().find(|known| known.key == role.key);
        let item = run.settle_role(role, known).await;
        role_outcomes.push(RoleOutcome { key: role.key.clone(), item });
    }
    let refused = known_grants.map(|known| run.grants = by_person(known)).err();
    let mut grant_outcomes = Vec::with_capacity(grants.len());
    for grant in grants {
        let person = match &refused {
            Some(failure) => Err(item_of(Action::None, failure.clone())),
            None => found.resolve(&grant, options.resolve_by_email),
        };
        let (provider_user_id, item) = match person {
            Ok(id) => {
                let item = run.settle_grant(&id, &grant.role_keys).await;
                (Some(id), item)
            }
            Err(item) => (grant.provider_user_id, item),
        };
        let PlannedGrant { user_id, email, role_keys, .. } = grant;
        grant_outcomes.push(GrantOutcome { email, user_id, provider_user_id, role_keys, item });
    }
    Ok(Provisioning::of(options.dry_run, role_outcomes, grant_outcomes))
}

/// Returns the grants by person; of several of one person, an active one.
fn by_person(grants: Vec<RemoteGrant>) -> HashMap<String, RemoteGrant> {
    let mut by_person: HashMap<String, RemoteGrant> = HashMap::with_capacity(grants.len());
    for grant in grants {
        let known = by_person.get(&grant.user_id);
        if known.is_none_or(|known| !known.is_active) {
            by_person.insert(grant.user_id.clone(), grant);
        }
    }
    by_person
}

impl Run<'_, '_> {
    async fn settle_role(&mut self, role: &PlannedRole, known: Option<&RemoteRole>) -> Item {
        let action = match role_change(role, known) {
            RoleChange::None => return Item::new(Action::None, ItemStatus::Unchanged),
            RoleChange::Create => Action::Create,
            RoleChange::Update => Action::Update,
        };
        if let Some(item) = self.withheld(action) {
            return item;
        }
        let written = match known {
            None => self.zitadel.add_role(role).await,
            Some(known) => self.zitadel.update_role(role, known).await,
        };
        match written {
            Ok(()) => Item::new(action, ItemStatus::Done),
            // The list did not have it yet.
            Err(failure) if failure.is_conflict() => Item::new(action, ItemStatus::Unchanged),
            Err(failure) => item_of(action, failure),
        }
    }

    /// Settles the grant of one person at the provider.
    async fn settle_grant(&mut self, user: &str, role_keys: &[String]) -> Item {
        if let Some(known) = self.grants.get(user).cloned() {
            return self.settle_known(known, role_keys).await;
        }
        if let Some(item) = self.withheld(Action::Create) {
            return item;
        }
        match self.zitadel.add_grant(user, role_keys).await {
            Ok(()) => Item::new(Action::Create, ItemStatus::Done),
            Err(failure) if failure.is_conflict() => match self.find_grant(user, &failure).await {
                Ok(known) => self.settle_known(known, role_keys).await,
                Err(item) => item,
            },
            Err(failure) => item_of(Action::Create, failure),
        }
    }

    /// Returns the grant that exists although the list did not have it. Its keys may differ: it is
    /// unique per person, not per key.
    async fn find_grant(&mut self, user: &str, conflict: &Failure) -> Result<RemoteGrant, Item> {
        for attempt in 0..READS {
            self.zitadel.wait_for_lists(attempt).await;
            let known = self.zitadel.grants(Some(user)).await;
            let known = known.map_err(|failure| item_of(Action::Create, failure))?;
            if let Some(known) = by_person(known).remove(user) {
                return Ok(known);
            }
        }
        let mut item = item_of(Action::Create, conflict.clone());
        item.reason = Some(Reason::RunAgain);
        Err(item)
    }

    async fn settle_known(&mut self, known: RemoteGrant, role_keys: &[String]) -> Item {
        let Options { prune, activate, role_prefix, .. } = *self.options;
        if !known.is_active && !activate {
            return Item::skipped(Action::None, Reason::Inactive);
        }
        let keys = match grant_change(role_keys, Some(&known), role_prefix, prune) {
            GrantChange::Update(keys) => Some(keys),
            GrantChange::Create | GrantChange::None => None,
        };
        if keys.is_none() && known.is_active {
            return Item::new(Action::None, ItemStatus::Unchanged);
        }
        // An inactive grant gets its keys first: no one gets roles by it that are not wanted.
        let mut settled = known.clone();
        if let Some(keys) = keys {
            if let Some(item) = self.withheld(Action::Update) {
                return item;
            }
            if let Err(failure) = self.zitadel.update_grant(&known, &keys).await {
                return item_of(Action::Update, failure);
            }
            settled.role_keys = keys;
        }
        if !known.is_active {
            if let Some(item) = self.withheld(Action::Update) {
                return item;
            }
            if let Err(failure) = self.zitadel.activate_grant(&known).await {
                return item_of(Action::Update, failure);
            }
            settled.is_active = true;
        }
        // Another item may name the same person.
        self.grants.insert(settled.user_id.clone(), settled);
        Item::new(Action::Update, ItemStatus::Done)
    }

    /// Returns the outcome of a write that does not happen: in a dry run, or without writes left.
    /// Otherwise counts it.
    fn withheld(&mut self, action: Action) -> Option<Item> {
        if self.options.dry_run {
            return Some(Item::new(action, ItemStatus::Planned));
        }
        if self.writes == WRITES {
            return Some(Item::skipped(action, Reason::RunAgain));
        }
        self.writes += 1;
        None
    }
}

fn item_of(action: Action, failure: Failure) -> Item {
    match failure {
        Failure::Provider(error) => Item::failed(action, error),
        Failure::OutOfTime => Item::skipped(action, Reason::RunAgain),
    }
}

/// The people that a search by address found.
#[derive(Default)]
struct People {
    /// By address in lower case.
    found: HashMap<String, Vec<RemoteUser>>,
    /// The refusals of searches, by address.
    refused: HashMap<String, Failure>,
}

impl People {
    /// Searches the people without an ID at the provider.
    async fn find(
        zitadel: &mut Zitadel<'_>,
        options: &Options<'_>,
        grants: &[PlannedGrant],
    ) -> Self {
        let mut people = Self::default();
        if !options.resolve_by_email {
            return people;
        }
        let is_sought =
            |grant: &&PlannedGrant| grant.provider_user_id.is_none() && !grant.role_keys.is_empty();
        let addresses: BTreeSet<String> = grants
            .iter()
            .filter(is_sought)
            .filter_map(|grant| grant.email.as_deref().map(str::to_lowercase))
            .collect();
        let addresses: Vec<String> = addresses.into_iter().collect();
        for some in addresses.chunks(AT_ONCE) {
            match zitadel.users(some).await {
                Ok(users) => {
                    for user in users {
                        let of_address = people.found.entry(user.email.to_lowercase()).or_default();
                        if !of_address.iter().any(|known| known.id == user.id) {
                            of_address.push(user);
                        }
                    }
                }
                Err(failure) => {
                    let refused = some.iter().map(|one| (one.clone(), failure.clone()));
                    people.refused.extend(refused);
                }
            }
        }
        people
    }

    /// Returns the person's ID at the provider, or the outcome without one.
    fn resolve(&self, grant: &PlannedGrant, resolve_by_email: bool) -> Result<String, Item> {
        let unresolved = |reason| Err(Item::skipped(Action::None, reason));
        if grant.role_keys.is_empty() {
            return unresolved(Reason::NoRoleKeys);
        }
        if let Some(id) = &grant.provider_user_id {
            return Ok(id.clone());
        }
        let address = grant.email.as_deref().filter(|_| resolve_by_email).map(str::to_lowercase);
        let Some(address) = address else { return unresolved(Reason::NotLinked) };
        if let Some(failure) = self.refused.get(&address) {
            return Err(item_of(Action::None, failure.clone()));
        }
        match self.found.get(&address).map_or(&[][..], Vec::as_slice) {
            [] => unresolved(Reason::UserNotFound),
            [one] if one.is_verified => Ok(one.id.clone()),
            [_] => unresolved(Reason::EmailUnverified),
            _ => unresolved(Reason::Ambiguous),
        }
    }
}
