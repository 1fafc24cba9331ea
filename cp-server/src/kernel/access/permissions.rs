//! Permissions: the requirements of the table's lines, and the content of roles and tokens.
//!
//! # Design
//! Each slice declares the permissions of its own resources with
//! [`permissions!`](crate::permissions), and the system roles that hold them. The composition
//! publishes all of them once, before an application exists. Rejected: a list of all permissions in
//! the kernel, which every new resource edits.

use std::cmp::Ordering;
use std::sync::OnceLock;

use crate::kernel::access::areas::AreaKind;
use crate::kernel::access::rate_limits::StrictRate;

/// The declaration of a permission by its slice.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Declared {
    pub code: &'static str,
    /// The lowest system role of each family that holds the permission.
    pub held_by: &'static [&'static str],
    /// The codes that imply the permission.
    pub implied_by: &'static [&'static str],
    /// The stricter rate that bounds its requests.
    pub rate: Option<StrictRate>,
    /// Whether the callers of a suspended organization keep it.
    pub kept: bool,
    /// The kind of area outside of which a machine of such an area does not hold it.
    pub confined: Option<AreaKind>,
}

/// A permission: a line of the table requires it, and a caller holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permission(&'static Declared);

/// Declares permissions as constants of [`Permission`], and `PERMISSIONS`, the list of them.
///
/// `held by` names the lowest system role of each family that holds the permission. `implied by`
/// names codes whose holders have it, too. Without either, only callers to which the platform
/// grants the permission hold it. `bounded by` names a stricter rate. `kept in suspension` leaves
/// the permission to the callers of a suspended organization. They always keep permissions that end
/// with `:read`. `confined to Deployment` gives it to a deployment's token on that deployment only.
#[macro_export]
macro_rules! permissions {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident = $code:literal
        $(, held by [$($role:literal),+])?
        $(, implied by [$($by:literal),+])?
        $(, bounded by $rate:ident)?
        $(, kept in $kept:ident)?
        $(, confined to $area:ident)?;
    )+) => {
        impl $crate::kernel::access::permissions::Permission {$(
            $(#[doc = $doc])+
            pub const $name: Self = Self::declared(&$crate::kernel::access::permissions::Declared {
                code: $code,
                held_by: &[$($($role),+)?],
                implied_by: &[$($($by),+)?],
                rate: $crate::permissions!(@rate $($rate)?),
                kept: $crate::permissions!(@kept $code $($kept)?),
                confined: $crate::permissions!(@confined $($area)?),
            });
        )+}
        /// The permissions that this slice declares.
        pub const PERMISSIONS: &[$crate::kernel::access::permissions::Permission] =
            &[$($crate::kernel::access::permissions::Permission::$name),+];
    };
    (@rate) => { None };
    (@rate $rate:ident) => { Some($crate::kernel::access::rate_limits::StrictRate::$rate) };
    (@kept $code:literal) => { $crate::kernel::access::permissions::reads($code) };
    (@kept $code:literal $kept:ident) => { true };
    (@confined) => { None };
    (@confined $area:ident) => { Some($crate::kernel::access::areas::AreaKind::$area) };
}

/// Returns whether the code is a permission to read.
pub const fn reads(code: &str) -> bool {
    let (code, verb) = (code.as_bytes(), b":read");
    let mut at = 0;
    while at < verb.len() {
        if code.len() < verb.len() || code[code.len() - verb.len() + at] != verb[at] {
            return false;
        }
        at += 1;
    }
    true
}

const fn of_the_kernel(code: &'static str) -> Declared {
    Declared { code, held_by: &[], implied_by: &[], rate: None, kept: true, confined: None }
}

impl Permission {
    /// No credential is required.
    pub const PUBLIC: Self = Self(&of_the_kernel("public"));
    /// Any credential is sufficient.
    pub const ANY: Self = Self(&of_the_kernel("any"));

    pub const fn declared(declared: &'static Declared) -> Self {
        Self(declared)
    }

    pub const fn as_str(self) -> &'static str {
        self.0.code
    }

    pub fn details(self) -> &'static Declared {
        self.0
    }

    /// Returns every declared permission, by code.
    ///
    /// # Panics
    /// Panics before the composition has published the declarations.
    pub fn all() -> &'static [Self] {
        PUBLISHED.get().expect("the composition publishes the permissions first")
    }

    /// Returns the position of the permission among all permissions.
    fn bit(self) -> Option<usize> {
        Self::all().binary_search(&self).ok()
    }
}

/// The permissions of all slices, by code.
static PUBLISHED: OnceLock<Vec<Permission>> = OnceLock::new();

/// Publishes the permissions of all slices; later calls change nothing.
///
/// # Panics
/// Panics if two slices declare the same code, or a set has no room for one more.
pub(in crate::kernel) fn publish(permissions: impl FnOnce() -> Vec<Permission>) {
    PUBLISHED.get_or_init(|| {
        let mut all = permissions();
        all.sort();
        let repeated = all.windows(2).find(|pair| pair[0] == pair[1]);
        assert!(repeated.is_none(), "{repeated:?} is declared twice");
        assert!(all.len() <= Permissions::CAPACITY, "a set has no room for {} of them", all.len());
        all
    });
}

impl PartialOrd for Permission {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Permission {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.code.cmp(other.0.code)
    }
}

impl std::str::FromStr for Permission {
    type Err = String;
    fn from_str(code: &str) -> Result<Self, String> {
        let found = Self::all().binary_search_by(|one| one.as_str().cmp(code));
        found.map(|at| Self::all()[at]).map_err(|_| {
            let known: Vec<&str> = Self::all().iter().map(|p| p.as_str()).collect();
            format!("must contain only these permissions: *, {}", known.join(", "))
        })
    }
}

/// A set of permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permissions(u128);

impl Permissions {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(u128::MAX);
    /// The number of permissions for which a set has room.
    pub const CAPACITY: usize = u128::BITS as usize;

    /// Returns the permissions that are confined to this kind of area.
    pub fn confined_to(kind: AreaKind) -> Self {
        let all = Permission::all().iter();
        let confined = all.filter(|permission| permission.details().confined == Some(kind));
        confined.fold(Self::NONE, |set, permission| set.with(*permission))
    }

    pub fn with(self, permission: Permission) -> Self {
        permission.bit().map_or(self, |bit| Self(self.0 | 1 << bit))
    }

    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub fn contains(self, permission: Permission) -> bool {
        permission.bit().is_some_and(|bit| self.0 & 1 << bit != 0)
    }

    pub fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns the permissions that the other set lacks.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Parses codes; `*` stands for all of them.
    pub fn parse<'a>(codes: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        codes.into_iter().try_fold(Self::NONE, |set, code| match code {
            "*" => Ok(Self::ALL),
            code => Ok(set.with(code.parse()?)),
        })
    }

    /// Returns the permissions of the codes that this version knows. A permission that only a newer
    /// version knows grants nothing here.
    pub fn known<'a>(codes: impl IntoIterator<Item = &'a str>) -> Self {
        codes.into_iter().filter_map(|code| Self::parse([code]).ok()).fold(Self::NONE, Self::union)
    }

    pub fn codes(self) -> Vec<&'static str> {
        Permission::all().iter().filter(|p| self.contains(**p)).map(|p| p.as_str()).collect()
    }

    /// Returns whether the set has every permission of this server.
    pub fn is_all(self) -> bool {
        Permission::all().iter().all(|permission| self.contains(*permission))
    }
}

/// The privileges that a role, a token or a set of codes grants to its holder.
///
/// # Design
/// Data planes have permission codes of their own, which this server stores and does not interpret.
/// A caller that may add members could otherwise grant a data plane's `runs:delete` without holding
/// it. So this server compares the codes as strings, in addition to its own permissions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Privileges {
    /// The permissions at this server, implied ones included.
    pub permissions: Permissions,
    /// The codes as they are written, those of data planes included.
    pub codes: Vec<String>,
    /// The rank of the role; 0 without one.
    pub rank: i64,
}

impl Privileges {
    /// Returns the privileges that no other privileges exceed.
    pub fn all() -> Self {
        Self { permissions: Permissions::ALL, codes: vec!["*".into()], rank: i64::MAX }
    }

    /// Returns the codes of `given` that these privileges do not cover, each once.
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

/// Returns whether a held code covers a wanted one: it is the same, or a wildcard above it.
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
        crate::operations().published();
        for (held, given, lacking) in [
            (&["runs:read"][..], &["runs:read"][..], &[][..]),
            (&["runs:*"], &["runs:read", "runs:*"], &[]),
            (&["runs:read"], &["runs:*"], &["runs:*"]),
            (&["runs:*"], &["*"], &["artifacts:delete"]),
            (&["run*"], &["runs:read"], &["runs:read"]),
            (&["*"], &["*.*", "runs:delete", "org:create"], &[]),
            (&["members:write"], &["members:write", "*.*"], &["*.*"]),
            // A wildcard belongs to the data planes: it permits nothing here.
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
