//! The outcome of a provisioning run.

use schemars::JsonSchema;
use serde::Serialize;

use super::zitadel::failures::ProviderError;
use crate::kernel::access::ids::UserId;

/// The outcome of a run.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Provisioning {
    pub dry_run: bool,
    /// Whether the run reached every item. Otherwise another run continues.
    pub complete: bool,
    /// Whether the defaults changed the provider's maps, or would change them in a run that is not
    /// dry.
    pub config_updated: bool,
    pub roles: Vec<RoleOutcome>,
    pub grants: Vec<GrantOutcome>,
    pub summary: Summary,
}

/// The outcome for one role.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RoleOutcome {
    /// The key at the provider, with the prefix.
    pub key: String,
    #[serde(flatten)]
    pub item: Item,
}

/// The outcome for one person.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GrantOutcome {
    pub email: Option<String>,
    /// Null for a person who is not a member.
    pub user_id: Option<UserId>,
    /// The person's ID at the provider; null when it is not known.
    pub provider_user_id: Option<String>,
    /// The keys that the person must have, with the prefix.
    pub role_keys: Vec<String>,
    #[serde(flatten)]
    pub item: Item,
}

/// The outcome for one item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Item {
    /// The change that the item requires.
    pub action: Action,
    pub status: ItemStatus,
    /// The reason why the item was skipped or is not as planned; null without one.
    pub reason: Option<Reason>,
    /// The provider's refusal; null without one.
    pub error: Option<ProviderError>,
}

crate::text_enum! { Action { Create = "create", Update = "update", None = "none" } }

crate::text_enum! {
    /// What became of an item.
    ItemStatus {
        /// A dry run would change it.
        Planned = "planned",
        Done = "done",
        /// It was as planned.
        Unchanged = "unchanged",
        /// The provider refused.
        Failed = "failed",
        /// It was not changed, for the reason.
        Skipped = "skipped",
    }
}

crate::text_enum! {
    /// The reason of an outcome.
    Reason {
        /// No role key stands for the member's role.
        NoRoleKeys = "no_role_keys",
        /// No account is linked, and the search by address is off.
        NotLinked = "not_linked",
        /// The provider knows no person with the address.
        UserNotFound = "user_not_found",
        /// Several people at the provider have the address.
        Ambiguous = "ambiguous",
        /// The provider has not verified the address.
        EmailUnverified = "email_unverified",
        /// The person's grant is inactive.
        Inactive = "inactive",
        /// The run had no writes or no time left, or the provider does not list a change yet.
        RunAgain = "run_again",
    }
}

/// The number of items by status.
#[derive(Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Summary {
    pub planned: u32,
    pub done: u32,
    pub unchanged: u32,
    pub failed: u32,
    /// Items that are left for another run.
    pub skipped: u32,
    /// People for whom a person must decide: see their `reason`.
    pub unresolved: u32,
}

impl Item {
    pub fn new(action: Action, status: ItemStatus) -> Self {
        Self { action, status, reason: None, error: None }
    }

    pub fn skipped(action: Action, reason: Reason) -> Self {
        Self { reason: Some(reason), ..Self::new(action, ItemStatus::Skipped) }
    }

    pub fn failed(action: Action, error: ProviderError) -> Self {
        Self { error: Some(error), ..Self::new(action, ItemStatus::Failed) }
    }

    fn is_left(&self) -> bool {
        self.reason == Some(Reason::RunAgain)
    }
}

impl Provisioning {
    /// Returns the outcome of these items.
    pub fn of(dry_run: bool, roles: Vec<RoleOutcome>, grants: Vec<GrantOutcome>) -> Self {
        let mut summary = Summary::default();
        let mut complete = true;
        let items = roles.iter().map(|one| &one.item).chain(grants.iter().map(|one| &one.item));
        for item in items {
            complete &= !item.is_left();
            let count = match item.status {
                ItemStatus::Planned => &mut summary.planned,
                ItemStatus::Done => &mut summary.done,
                ItemStatus::Unchanged => &mut summary.unchanged,
                ItemStatus::Failed => &mut summary.failed,
                ItemStatus::Skipped if item.is_left() => &mut summary.skipped,
                ItemStatus::Skipped => &mut summary.unresolved,
            };
            *count += 1;
        }
        Self { dry_run, complete, config_updated: false, roles, grants, summary }
    }
}
