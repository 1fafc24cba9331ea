//! Permissions: what a line of the table asks for, and what roles and tokens hold.

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
            /// Whether it lets change something.
            pub fn changes(self) -> bool {
                let code = self.as_str();
                ["write", "create", "delete", "issue"].iter().any(|verb| code.ends_with(verb))
            }
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
    /// Delete an organization: suspend it, or on the platform purge it.
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
    /// Erase what audit events tell.
    AuditErase = "audit:erase";
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
            format!("one is not a permission; these are: *, {}", known.join(", "))
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

    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those that the other set lacks.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// From codes; `*` stands for all of them.
    pub fn parse<'a>(codes: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        codes.into_iter().try_fold(Self::NONE, |set, code| match code {
            "*" => Ok(Self::ALL),
            code => Ok(set.with(code.parse()?)),
        })
    }

    /// Those of the codes that this version knows: a permission that a newer replica gave grants
    /// nothing here.
    pub fn known<'a>(codes: impl IntoIterator<Item = &'a str>) -> Self {
        codes.into_iter().filter_map(|code| Self::parse([code]).ok()).fold(Self::NONE, Self::union)
    }

    pub fn codes(self) -> Vec<&'static str> {
        Permission::ALL.iter().filter(|p| self.contains(**p)).map(|p| p.as_str()).collect()
    }

    /// Whether every permission of this server is in the set.
    pub fn is_all(self) -> bool {
        Permission::ALL.iter().all(|permission| self.contains(*permission))
    }
}

/// What a role, a token or a set of codes gives to its holder.
///
/// # Design
/// Data planes have permission codes of their own, which this server stores and does not interpret.
/// A caller that may add members could otherwise give away a data plane's `runs:delete` without
/// holding it. So the codes are compared as strings, beside the permissions of this server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privileges {
    /// What they permit at this server, implied permissions included.
    pub permissions: Permissions,
    /// The codes as they are written, those of data planes included.
    pub codes: Vec<String>,
    /// The rank of the role; 0 without one.
    pub rank: i64,
}

impl Privileges {
    /// The privileges that no other privileges exceed.
    pub fn all() -> Self {
        Self { permissions: Permissions::ALL, codes: vec!["*".into()], rank: i64::MAX }
    }

    /// The codes of `given` that these privileges do not cover, each once.
    ///
    /// A code of this server is covered by its permission, held or implied. Another code is covered
    /// by itself, by a wildcard, or by all permissions of this server.
    pub fn lacking(&self, given: &Self) -> Vec<String> {
        let missing = given.permissions.without(self.permissions).codes();
        let mut lacking: Vec<String> = missing.into_iter().map(str::to_owned).collect();
        if self.permissions.is_all() {
            return lacking;
        }
        for code in &given.codes {
            let is_held = code.parse::<Permission>().is_ok()
                || self.codes.iter().any(|held| covers(held, code));
            if !is_held && !lacking.contains(code) {
                lacking.push(code.clone());
            }
        }
        lacking
    }
}

/// Whether a held code covers a wanted one: it is the same, or a wildcard above it.
///
/// `*`, `*:*` and `*.*` cover every code; `runs:*` covers `runs:read` and `runs:*`.
fn covers(held: &str, wanted: &str) -> bool {
    let is_below = |prefix: &str| prefix.ends_with([':', '.']) && wanted.starts_with(prefix);
    ["*", "*:*", "*.*"].contains(&held)
        || held == wanted
        || held.strip_suffix('*').is_some_and(is_below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn privileges(codes: &[&str]) -> Privileges {
        let permissions = Permissions::known(codes.iter().copied());
        let codes = codes.iter().map(|code| (*code).to_owned()).collect();
        Privileges { permissions, codes, rank: 0 }
    }

    #[test]
    fn privileges_lacking_names_each_code_that_is_not_covered() {
        for (held, given, lacking) in [
            (&["runs:read"][..], &["runs:read"][..], &[][..]),
            (&["runs:*"], &["runs:read", "runs:*"], &[]),
            (&["runs:read"], &["runs:*"], &["runs:*"]),
            (&["runs:*"], &["*"], &["org:create"]),
            (&["run*"], &["runs:read"], &["runs:read"]),
            (&["*"], &["*.*", "runs:delete", "org:create"], &[]),
            (&["members:write"], &["members:write", "*.*"], &["*.*"]),
            // A wildcard is a word of the data planes: it permits nothing here.
            (&["members:*"], &["members:write"], &["members:write"]),
            (&["data.sales.*"], &["data.sales.query", "data.query"], &["data.query"]),
        ] {
            let found = privileges(held).lacking(&privileges(given));
            let found: Vec<&str> = found.iter().map(String::as_str).collect();
            let expected = if given == ["*"] { found.get(..1).unwrap_or_default() } else { &found };
            assert_eq!(expected, lacking, "{held:?} gives {given:?}");
        }
    }
}
