//! The desired state, and its difference to the provider's state. Nothing here asks a database or a
//! provider.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::identifiers;
use super::state::{RemoteGrant, RemoteRole};
use crate::identity::oidc::presets::texts;
use crate::kernel::access::ids::UserId;
use crate::kernel::error::{Error, Result};

/// The roles of an organization, by rank.
#[derive(Debug, Default)]
pub struct OrganizationRoles(pub Vec<OrganizationRole>);

/// A role of organizations.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct OrganizationRole {
    pub code: String,
    pub rank: i64,
    pub is_system: bool,
}

/// A role that the project must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlannedRole {
    /// The key at the provider, with the prefix.
    pub key: String,
    /// The key without the prefix.
    pub base_key: String,
    pub display_name: String,
    /// The group at the provider; null for none.
    pub group: Option<String>,
    /// Whether the caller named the texts, so that other ones are replaced.
    #[serde(skip)]
    pub is_explicit: bool,
}

/// A person, with the role keys that the person must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PlannedGrant {
    /// The person; null for a person who is not a member.
    pub user_id: Option<UserId>,
    pub email: Option<String>,
    /// The code of the member's role.
    pub role: Option<String>,
    /// The keys at the provider, with the prefix.
    pub role_keys: Vec<String>,
    /// The person's ID at the provider, if an account is linked.
    pub provider_user_id: Option<String>,
    /// The reason why no grant is possible; null when there is none.
    pub problem: Option<GrantProblem>,
}

crate::text_enum! {
    /// The reason why a person gets no grant.
    GrantProblem {
        /// No role key stands for the member's role.
        NoRoleKeys = "no_role_keys",
        /// No account of this provider is linked to the person.
        NotLinked = "not_linked",
    }
}

impl PlannedGrant {
    /// Returns the grant with its problem.
    #[must_use]
    pub fn examined(mut self) -> Self {
        self.problem = if self.role_keys.is_empty() {
            Some(GrantProblem::NoRoleKeys)
        } else if self.provider_user_id.is_none() {
            Some(GrantProblem::NotLinked)
        } else {
            None
        };
        self
    }
}

/// The map when neither the provider nor the onboarding has one: a role of its own for each system
/// role of organizations.
pub fn built_in_role_map() -> Map<String, Value> {
    let levels = ["owner", "admin", "member", "viewer"];
    let entry = |level: &str| {
        (format!("organization_{level}"), json!(format!("ORGANIZATION_{}", level.to_uppercase())))
    };
    levels.into_iter().map(entry).collect()
}

/// Returns the roles of a role map, in the order of their keys.
///
/// # Errors
/// 422 at the key that cannot be one at the provider.
pub fn configured_roles(role_map: &Map<String, Value>, prefix: &str) -> Result<Vec<PlannedRole>> {
    let role = |base_key: &String| {
        let key = prefixed(prefix, base_key, || format!("role_map.{base_key}"))?;
        let display_name = display_name(base_key);
        identifiers::check(&display_name).map_err(|rule| {
            let field = format!("role_map.{base_key}");
            Error::invalid(field.clone(), format!("The display name of `{field}` {rule}."))
        })?;
        Ok(PlannedRole {
            key,
            base_key: base_key.clone(),
            display_name,
            group: group(base_key),
            is_explicit: false,
        })
    };
    role_map.keys().map(role).collect()
}

/// Returns the key at the provider.
///
/// # Errors
/// 422 at the field when it is no key there.
pub fn prefixed(prefix: &str, base_key: &str, field: impl Fn() -> String) -> Result<String> {
    let key = format!("{prefix}{base_key}");
    match identifiers::check(&key) {
        Ok(_) => Ok(key),
        Err(rule) => {
            Err(Error::invalid(field(), format!("`{}` {rule}, with the prefix.", field())))
        }
    }
}

/// Returns the display name of a key: `account_admin` is "Account Admin".
fn display_name(key: &str) -> String {
    let words = key.split(is_separator).filter(|word| !word.is_empty());
    let capitalized = words.map(|word| {
        let mut letters = word.chars();
        letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect::<String>()
    });
    match capitalized.collect::<Vec<_>>().join(" ") {
        name if name.is_empty() => key.to_owned(),
        name => name,
    }
}

/// Returns the group of a key: its first word, if it has several.
fn group(key: &str) -> Option<String> {
    let (first, _) = key.split_once(is_separator)?;
    (!first.is_empty()).then(|| first.to_owned())
}

fn is_separator(c: char) -> bool {
    matches!(c, '_' | '-' | '.' | ':' | ' ')
}

impl OrganizationRoles {
    /// Returns the role that a value of a role map names, by code or short form. An organization's
    /// own ADMIN comes before the short form of a system role.
    fn named(&self, name: &str) -> Option<&OrganizationRole> {
        let code = name.to_uppercase();
        let long = format!("ORGANIZATION_{code}");
        let found: Vec<_> =
            self.0.iter().filter(|role| role.code == code || role.code == long).collect();
        found.iter().find(|role| !role.is_system).or(found.first()).copied()
    }

    /// Returns the keys, without the prefix, of a member's role: those that stand for the role, else
    /// those of the next lower rank that has any. No key stands for a higher role, too.
    pub fn keys_of(&self, code: &str, rank: i64, role_map: &Map<String, Value>) -> Vec<String> {
        let mut by_rank: BTreeMap<i64, Vec<String>> = BTreeMap::new();
        let mut own = Vec::new();
        for (key, value) in role_map {
            let names = texts(value).unwrap_or_default();
            let roles: Vec<_> = names.iter().filter_map(|name| self.named(name)).collect();
            // A key that stands for several roles counts as the highest, so it never raises a member.
            let Some(highest) = roles.iter().map(|role| role.rank).max() else { continue };
            if highest <= rank && roles.iter().any(|role| role.code == code) {
                own.push(key.clone());
            } else if highest < rank {
                by_rank.entry(highest).or_default().push(key.clone());
            }
        }
        if own.is_empty() {
            by_rank.pop_last().map(|(_, keys)| keys).unwrap_or_default()
        } else {
            own
        }
    }
}

/// The change that a role requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoleChange {
    Create,
    Update,
    None,
}

/// Compares a role with the provider's. Texts that are derived from the key never replace others: a
/// person may have chosen those.
pub fn role_change(planned: &PlannedRole, known: Option<&RemoteRole>) -> RoleChange {
    let Some(known) = known else { return RoleChange::Create };
    let differs = known.display_name != planned.display_name
        || planned.group.as_ref().is_some_and(|group| *group != known.group);
    if planned.is_explicit && differs { RoleChange::Update } else { RoleChange::None }
}

/// The change that a grant requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantChange {
    Create,
    /// The whole set of keys afterwards.
    Update(Vec<String>),
    None,
}

/// Compares the keys of a grant with the provider's. Other keys stay; with `prune` those with the
/// prefix go.
pub fn grant_change(
    role_keys: &[String],
    known: Option<&RemoteGrant>,
    prefix: &str,
    prune: bool,
) -> GrantChange {
    let Some(known) = known else { return GrantChange::Create };
    let is_unwanted = |key: &&String| {
        prune && !prefix.is_empty() && key.starts_with(prefix) && !role_keys.contains(key)
    };
    let mut keys: Vec<String> =
        known.role_keys.iter().filter(|key| !is_unwanted(key)).cloned().collect();
    for key in role_keys {
        if !keys.contains(key) {
            keys.push(key.clone());
        }
    }
    if keys == known.role_keys { GrantChange::None } else { GrantChange::Update(keys) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles() -> OrganizationRoles {
        let role = |code: &str, rank, is_system| OrganizationRole {
            code: code.to_owned(),
            rank,
            is_system,
        };
        OrganizationRoles(vec![
            role("ORGANIZATION_OWNER", 4, true),
            role("ORGANIZATION_ADMIN", 3, true),
            role("ORGANIZATION_MEMBER", 2, true),
            role("ORGANIZATION_VIEWER", 1, true),
            role("AUDITOR", 3, false),
            role("VIEWER", 2, false),
        ])
    }

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn role_keys_stand_for_the_role_or_for_the_next_lower_rank() {
        let roles = roles();
        let two = map(json!({
            "account_admin": "ORGANIZATION_ADMIN", "boss": ["admin", "ORGANIZATION_OWNER"],
            "reader": "viewer", "unknown": "NONE", "odd": 1,
        }));
        let keys = |code, rank| roles.keys_of(code, rank, &two);
        assert_eq!(keys("ORGANIZATION_OWNER", 4), ["boss"]);
        assert_eq!(keys("ORGANIZATION_ADMIN", 3), ["account_admin"]);
        // `viewer` names the organization's own role of rank 2, which lies below an auditor.
        assert_eq!(keys("AUDITOR", 3), ["reader"]);
        assert_eq!(keys("ORGANIZATION_MEMBER", 2), [""; 0]);
        assert_eq!(keys("VIEWER", 2), ["reader"]);
        let low = map(json!({"a": "ORGANIZATION_VIEWER", "b": "ORGANIZATION_MEMBER"}));
        assert_eq!(roles.keys_of("ORGANIZATION_OWNER", 4, &low), ["b"]);
        assert_eq!(roles.keys_of("ORGANIZATION_VIEWER", 1, &low), ["a"]);
        assert_eq!(roles.keys_of("ORGANIZATION_VIEWER", 1, &Map::new()), [""; 0]);
    }

    #[test]
    fn texts_of_a_role_come_from_its_key() {
        let found = configured_roles(&map(json!({"account_admin": "x", "boss": "y"})), "acme_");
        let role = |key: &str, base: &str, name: &str, group: Option<&str>| PlannedRole {
            key: key.to_owned(),
            base_key: base.to_owned(),
            display_name: name.to_owned(),
            group: group.map(str::to_owned),
            is_explicit: false,
        };
        let expected = [
            role("acme_account_admin", "account_admin", "Account Admin", Some("account")),
            role("acme_boss", "boss", "Boss", None),
        ];
        assert_eq!(found.unwrap(), expected);
        assert_eq!(display_name("__"), "__");
        assert_eq!(group("_x"), None);
        let long = map(json!({"x".repeat(198): "y"}));
        let refused = configured_roles(&long, "abc").unwrap_err().document();
        assert_eq!(refused.field.unwrap(), format!("role_map.{}", "x".repeat(198)));
    }

    #[test]
    fn grant_keeps_other_keys_and_prunes_only_its_prefix() {
        let texts = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        let known = RemoteGrant {
            id: "1".to_owned(),
            user_id: "2".to_owned(),
            role_keys: texts(&["acme_old", "foreign"]),
            is_active: true,
        };
        let wanted = texts(&["acme_new"]);
        let change = |prefix, prune| grant_change(&wanted, Some(&known), prefix, prune);
        assert_eq!(grant_change(&wanted, None, "acme_", true), GrantChange::Create);
        let union = GrantChange::Update(texts(&["acme_old", "foreign", "acme_new"]));
        assert_eq!(change("acme_", false), union);
        assert_eq!(change("", true), union, "an empty prefix is that of every key");
        assert_eq!(change("acme_", true), GrantChange::Update(texts(&["foreign", "acme_new"])));
        let superset = grant_change(&texts(&["foreign"]), Some(&known), "acme_", false);
        assert_eq!(superset, GrantChange::None);
    }
}
