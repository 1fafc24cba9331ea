//! What the Zitadel knows, and how its lists lag behind.

use axum::http::StatusCode;

use super::{Fault, GRANTEE, Inner, ORGANIZATION, PROJECT, PROJECT_GRANT};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    pub key: String,
    pub display_name: String,
    pub group: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub id: String,
    pub email: String,
    pub is_verified: bool,
    pub organization: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub id: String,
    pub user: String,
    pub organization: String,
    pub keys: Vec<String>,
    pub is_active: bool,
}

/// The content of lists.
#[derive(Clone, Debug, Default)]
pub struct Lists {
    pub roles: Vec<Role>,
    pub grants: Vec<Grant>,
}

#[derive(Debug, Default)]
pub struct Known {
    pub now: Lists,
    pub users: Vec<User>,
    /// The number of reads that a change stays invisible.
    pub lag: usize,
    before: Lists,
    reads_left: usize,
    made: usize,
}

impl Known {
    /// Adds a person of the organization, with a verified address.
    pub fn add_user(&mut self, id: &str, email: &str) {
        self.users.push(User {
            id: id.to_owned(),
            email: email.to_owned(),
            is_verified: true,
            organization: ORGANIZATION.to_owned(),
        });
    }

    pub fn add_role(&mut self, key: &str) {
        let display_name = format!("Own name of {key}");
        self.now.roles.push(Role { key: key.to_owned(), display_name, group: String::new() });
    }

    pub fn add_grant(&mut self, user: &str, keys: &[&str]) {
        self.made += 1;
        self.now.grants.push(Grant {
            id: format!("grant-{}", self.made),
            user: user.to_owned(),
            organization: ORGANIZATION.to_owned(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            is_active: true,
        });
    }

    pub fn next_id(&mut self) -> String {
        self.made += 1;
        format!("grant-{}", self.made)
    }

    /// Returns the lists as a read finds them.
    pub fn listed(&mut self) -> &Lists {
        if self.reads_left == 0 {
            return &self.now;
        }
        self.reads_left -= 1;
        &self.before
    }

    /// Returns the lists for a change.
    pub fn changed(&mut self) -> &mut Lists {
        if self.lag > 0 && self.reads_left == 0 {
            self.before = self.now.clone();
        }
        self.reads_left = self.lag;
        &mut self.now
    }

    /// The keys of a person, sorted.
    pub fn keys_of(&self, user: &str) -> Vec<String> {
        let grants = self.now.grants.iter().filter(|grant| grant.user == user);
        let mut keys: Vec<String> = grants.flat_map(|grant| grant.keys.clone()).collect();
        keys.sort();
        keys
    }
}

/// A refusal of a call.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub message: String,
}

impl Refusal {
    pub fn new(status: StatusCode, message: &str) -> Self {
        Self { status, message: message.to_owned() }
    }

    pub fn unknown() -> Self {
        Self::new(StatusCode::NOT_FOUND, "unknown method")
    }

    pub fn invalid(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub fn exists(message: &str) -> Self {
        Self::new(StatusCode::CONFLICT, &format!("{message} (V3-DKcYh)"))
    }
}

impl Inner {
    /// The project of a call must be the one that exists, and its organization the owner.
    pub(super) fn check_project(
        &self,
        project: Option<&str>,
        organization: Option<&str>,
    ) -> Result<(), Refusal> {
        if project != Some(PROJECT) {
            return Err(Refusal::invalid("Project not found (COMMAND-EbFMN)"));
        }
        match organization {
            Some(ORGANIZATION) => Ok(()),
            _ => Err(Refusal::invalid("Organization not found (COMMAND-1m88i)")),
        }
    }

    /// The organization of a grant must own the project, or hold the grant of it. Version 2 finds the
    /// grant itself.
    pub(super) fn check_grantee(
        &self,
        project: Option<&str>,
        organization: Option<&str>,
        project_grant: Option<&str>,
    ) -> Result<(), Refusal> {
        match (organization, project_grant) {
            (Some(GRANTEE), Some(PROJECT_GRANT)) => self.check_project(project, Some(ORGANIZATION)),
            (_, Some(_)) => Err(Refusal::invalid("Project grant not found (COMMAND-Kd93s)")),
            (organization, None) => self.check_project(project, organization),
        }
    }

    pub(super) fn check_keys(&self, keys: &[String]) -> Result<(), Refusal> {
        let is_known = |key: &String| self.known.now.roles.iter().any(|role| role.key == *key);
        match !keys.is_empty() && keys.iter().all(is_known) {
            true => Ok(()),
            false => Err(Refusal::invalid("Errors.Project.Role.NotFound (COMMAND-mm9F4)")),
        }
    }

    pub(super) fn refuses_search(&self) -> Result<(), Refusal> {
        match self.fault {
            Fault::NoSearch => {
                Err(Refusal::new(StatusCode::FORBIDDEN, "No matching permissions found"))
            }
            _ => Ok(()),
        }
    }
}

pub fn text<'v>(body: &'v serde_json::Value, name: &str) -> Option<&'v str> {
    body[name].as_str().filter(|text| !text.is_empty())
}

pub fn texts(body: &serde_json::Value, name: &str) -> Vec<String> {
    let items = body[name].as_array().into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}
