//! The state of the provider, as far as provisioning reads it.

/// A role of the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteRole {
    pub key: String,
    pub display_name: String,
    /// Empty for none.
    pub group: String,
}

/// The grant of a person in the project and the organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteGrant {
    pub id: String,
    pub user_id: String,
    pub role_keys: Vec<String>,
    /// An inactive grant gives no roles in tokens.
    pub is_active: bool,
}

/// A person with an e-mail address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteUser {
    pub id: String,
    pub email: String,
    pub is_verified: bool,
}
