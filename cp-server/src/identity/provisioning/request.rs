//! The input of a provisioning run.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::identifiers::{RemoteId, RoleKey};
use crate::kernel::access::ids::UserId;
use crate::kernel::http::json::ITEMS;
use crate::kernel::text::Email;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProvisioning {
    /// Whether the run only compares: it changes nothing anywhere and leaves no audit event. False
    /// when absent.
    #[serde(default)]
    pub dry_run: bool,
    /// The roles that the project must have: `configured` stands for the keys of `role_map`. An empty
    /// list is none. `configured` when absent.
    #[serde(default)]
    pub roles: Selection<NamedRoles, NewRole>,
    /// The people who must have role keys: `admins` stands for members of rank 3 and above, `members`
    /// for all. An empty list is none. `admins` when absent.
    #[serde(default)]
    pub grants: Selection<NamedGrants, NewGrant>,
    /// The keys that each selected member gets besides those of the member's role; none when absent.
    #[serde(default)]
    #[schemars(length(max = 100))]
    pub default_role_keys: Vec<RoleKey>,
    /// People's IDs at the provider, by e-mail address; upper and lower case are equal. They come
    /// before linked accounts and the search.
    #[serde(default)]
    pub users: BTreeMap<String, RemoteId>,
    /// Whether to search the provider for people without a linked account, by verified e-mail address.
    /// True when absent.
    #[serde(default = "yes")]
    pub resolve_by_email: bool,
    /// Whether to remove other keys from the grants of the selected people, if the keys begin with the
    /// provider's `role_prefix`. With an empty prefix no key is removed. False when absent.
    #[serde(default)]
    pub prune: bool,
    /// Whether to activate inactive grants. False when absent.
    #[serde(default)]
    pub activate: bool,
    /// Whether to fill the gaps of the provider's `claim_map` and `role_map` from the onboarding, and
    /// to store them unless `dry_run`. False when absent.
    #[serde(default)]
    pub apply_defaults: bool,
}

fn yes() -> bool {
    true
}

/// A role of the project.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "NewProviderRole")]
pub struct NewRole {
    /// The key, to which the provider's `role_prefix` is added.
    pub key: RoleKey,
    /// The display name at the provider.
    pub display_name: RoleKey,
    /// The group at the provider. The stored one stays when absent.
    pub group: Option<RoleKey>,
}

/// A person with role keys. Exactly one of `email`, `user_id` and `provider_user_id` names the person.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGrant {
    /// The person's e-mail address. The person need not be a member.
    pub email: Option<Email>,
    /// A member of the organization.
    pub user_id: Option<UserId>,
    /// The person's ID at the provider.
    pub provider_user_id: Option<RemoteId>,
    /// The keys, to which the provider's `role_prefix` is added.
    #[schemars(length(min = 1, max = 100))]
    pub role_keys: Vec<RoleKey>,
}

crate::text_enum! { NamedRoles { Configured = "configured" } }
crate::text_enum! { NamedGrants { Admins = "admins", Members = "members" } }

/// A list, or a name for one.
#[derive(Debug)]
pub enum Selection<N, T> {
    Named(N),
    Listed(Vec<T>),
}

impl<T> Default for Selection<NamedRoles, T> {
    fn default() -> Self {
        Self::Named(NamedRoles::Configured)
    }
}

impl<T> Default for Selection<NamedGrants, T> {
    fn default() -> Self {
        Self::Named(NamedGrants::Admins)
    }
}

impl<'de, N: FromStr<Err = String>, T: Deserialize<'de>> Deserialize<'de> for Selection<N, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrList<N, T>(PhantomData<(N, T)>);
        impl<'de, N: FromStr<Err = String>, T: Deserialize<'de>> Visitor<'de> for NameOrList<N, T> {
            type Value = Selection<N, T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name or a list")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                text.parse().map(Selection::Named).map_err(E::custom)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Self::Value, A::Error> {
                let items = Vec::deserialize(SeqAccessDeserializer::new(items))?;
                Ok(Selection::Listed(items))
            }
        }
        deserializer.deserialize_any(NameOrList(PhantomData))
    }
}

impl<N: JsonSchema, T: JsonSchema> JsonSchema for Selection<N, T> {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        format!("{}Or{}", N::schema_name(), T::schema_name()).into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (name, item) = (generator.subschema_for::<N>(), generator.subschema_for::<T>());
        json_schema!({"anyOf": [name, {"type": "array", "items": item, "maxItems": ITEMS}]})
    }
}
