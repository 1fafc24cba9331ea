//! The one decision: whether the caller's grants permit an operation at a location.
//!
//! # Design
//! A grant is a set of permissions on a domain: the platform, an organization, or an area inside
//! an organization. An area is a workspace, a project, or a group with everything below it. Every
//! credential resolves to a list of grants, and [`decide`] uses nothing else. A location that no
//! grant covers is hidden: it reads like a missing object. A covered location without the
//! permission is forbidden. The matrix of all roles and lines is committed as `docs/policy.md`.

use std::sync::Arc;

use crate::kernel::access::areas::Area;
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::access::permissions::{Permission, Permissions, Privileges};

/// The domain in which a grant counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    Platform,
    Organization(OrganizationId),
    Area(OrganizationId, Area),
}

impl Domain {
    /// Returns the organization of the domain, or the organization that contains it.
    pub fn organization(self) -> Option<OrganizationId> {
        match self {
            Self::Platform => None,
            Self::Organization(organization) | Self::Area(organization, _) => Some(organization),
        }
    }
}

impl Domain {
    pub fn is_area_of(self, organization: OrganizationId) -> bool {
        matches!(self, Self::Area(own, _) if own == organization)
    }
}

/// Permissions on a domain.
#[derive(Clone, Debug)]
pub struct Grant {
    pub on: Domain,
    pub permissions: Permissions,
    /// The codes that the grant came from, those of data planes included.
    pub codes: Arc<[String]>,
    /// The rank of its role.
    pub rank: i64,
    /// The source of the grant: `service token`, `superadmin`, or a role's code.
    pub by: Arc<str>,
}

impl Grant {
    pub fn new(on: Domain, given: Privileges, by: impl Into<Arc<str>>) -> Self {
        let Privileges { permissions, codes, rank } = given;
        Self { on, permissions, codes: codes.into(), rank, by: by.into() }
    }

    /// Returns the grant without these permissions.
    pub fn without(mut self, excluded: Permissions) -> Self {
        let is_excluded =
            |code: &String| code.parse().is_ok_and(|permission| excluded.contains(permission));
        self.codes = self.codes.iter().filter(|code| !is_excluded(code)).cloned().collect();
        self.permissions = self.permissions.without(excluded);
        self
    }

    /// Returns the grant, restricted to these permissions.
    pub fn narrowed(mut self, most: Permissions) -> Self {
        let is_within =
            |code: &&String| code.parse().is_ok_and(|permission| most.contains(permission));
        self.codes = self.codes.iter().filter(is_within).cloned().collect();
        self.permissions = self.permissions.intersection(most);
        self
    }
}

/// The location of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location<'a> {
    /// The platform, which no organization owns.
    Platform,
    /// An organization: every caller with a grant in it knows that it exists.
    Organization(OrganizationId),
    /// An object of an organization, with the areas that contain it.
    Within(OrganizationId, &'a [Area]),
}

impl Domain {
    fn covers(self, location: Location<'_>) -> bool {
        match (self, location) {
            (Self::Platform, _) => true,
            (_, Location::Platform) => false,
            (
                Self::Organization(own),
                Location::Organization(owner) | Location::Within(owner, _),
            ) => own == owner,
            (Self::Area(own, area), Location::Within(owner, areas)) => {
                own == owner && areas.contains(&area)
            }
            (Self::Area(..), Location::Organization(_)) => false,
        }
    }

    fn shows(self, location: Location<'_>) -> bool {
        let knows = |owner| self.organization() == Some(owner);
        matches!(location, Location::Platform)
            || matches!(location, Location::Organization(owner) if knows(owner))
            || self.covers(location)
    }
}

/// The result of the decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// The caller can see the object, but may not do this to it.
    Forbidden,
    /// The caller cannot distinguish the object from a missing one.
    Hidden,
}

/// Decides whether the grants permit the operation at the location.
pub fn decide(grants: &[Grant], location: Location<'_>, permission: Permission) -> Verdict {
    if held(grants, location).contains(permission)
        || permission == Permission::ANY && grants.iter().any(|grant| grant.on.covers(location))
    {
        Verdict::Allowed
    } else if location == Location::Platform || grants.iter().any(|g| g.on.shows(location)) {
        Verdict::Forbidden
    } else {
        Verdict::Hidden
    }
}

/// Returns all permissions of the grants at a location.
pub fn held(grants: &[Grant], location: Location<'_>) -> Permissions {
    let covering = grants.iter().filter(|grant| grant.on.covers(location));
    covering.fold(Permissions::NONE, |held, grant| held.union(grant.permissions))
}

/// Returns all privileges that the grants can pass on at a location.
pub fn privileges(grants: &[Grant], location: Location<'_>) -> Privileges {
    let mut held = Privileges::default();
    for grant in grants.iter().filter(|grant| grant.on.covers(location)) {
        held.permissions = held.permissions.union(grant.permissions);
        held.codes.extend(grant.codes.iter().cloned());
        held.rank = held.rank.max(grant.rank);
    }
    if held.permissions.is_all() {
        held.rank = i64::MAX;
    }
    held
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::kernel::access::areas::AreaKind;

    const ORGS: [OrganizationId; 2] =
        [OrganizationId(Uuid::from_u128(1)), OrganizationId(Uuid::from_u128(2))];

    fn area() -> impl Strategy<Value = Area> {
        let kinds = AreaKind::ALL;
        (proptest::sample::select(kinds.to_vec()), 10..13u128)
            .prop_map(|(kind, id)| Area { kind, id: Uuid::from_u128(id) })
    }

    fn organization() -> impl Strategy<Value = OrganizationId> {
        proptest::sample::select(ORGS.to_vec())
    }

    fn permission() -> impl Strategy<Value = Permission> {
        crate::operations().published();
        proptest::sample::select(Permission::all())
    }

    fn grant() -> impl Strategy<Value = Grant> {
        let on = prop_oneof![
            1 => Just(Domain::Platform),
            4 => organization().prop_map(Domain::Organization),
            8 => (organization(), area()).prop_map(|(o, a)| Domain::Area(o, a)),
        ];
        let some = proptest::collection::vec(permission(), 0..4);
        (on, some).prop_map(|(on, some)| {
            let permissions = some.into_iter().fold(Permissions::NONE, Permissions::with);
            Grant::new(on, Privileges { permissions, ..Privileges::default() }, "test")
        })
    }

    proptest! {
        #[test]
        fn a_grant_elsewhere_changes_nothing(
            grants in proptest::collection::vec(grant(), 0..5),
            areas in proptest::collection::vec(area(), 0..3),
            permission in permission(),
        ) {
            let here = Location::Within(ORGS[0], &areas);
            let near: Vec<Grant> = grants.iter().filter(|g| g.on.covers(here)).cloned().collect();
            prop_assert_eq!(decide(&grants, here, permission), decide(&near, here, permission));
            // One grant alone must allow it.
            let by_one = near.iter().any(|g| g.permissions.contains(permission));
            let allowed = decide(&grants, here, permission) == Verdict::Allowed;
            prop_assert_eq!(allowed, by_one);
        }

        #[test]
        fn nothing_covers_another_organization_but_the_platform(
            grants in proptest::collection::vec(grant(), 0..5),
            areas in proptest::collection::vec(area(), 0..3),
        ) {
            let foreign: Vec<Grant> = grants
                .into_iter()
                .filter(|g| g.on.organization().is_some_and(|own| own != ORGS[0]))
                .collect();
            for location in [Location::Organization(ORGS[0]), Location::Within(ORGS[0], &areas)] {
                prop_assert_eq!(decide(&foreign, location, Permission::ANY), Verdict::Hidden);
            }
        }
    }
}
