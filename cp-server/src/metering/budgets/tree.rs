//! The tree of a cycle's allocations: which one is a part of which, and whether they fit.
//!
//! # Design
//! All rows of a cycle are read, changed in memory and checked as a whole, while the budget is
//! locked. A check of single rows would miss that a new allocation of a group takes over the
//! allocations of the groups below it.

use std::collections::{HashMap, HashSet};

use cp_contracts::ProblemCode;

use crate::identity::scopes::{ScopeKind, ScopeRef};
use crate::kernel::access::ids::OrganizationId;
use crate::kernel::error::{Error, Result};
use crate::kernel::http::cx::Cx;
use crate::metering::limits::allocations::AllocationRow;
use crate::metering::quantity::Quantity;
use crate::tenancy::ids::GroupId;

/// The groups of an organization, each with the group above it.
pub struct Groups(HashMap<GroupId, Option<GroupId>>);

impl Groups {
    pub async fn read(cx: &mut Cx) -> Result<Self> {
        let sql = "SELECT id, parent_id FROM groups WHERE organization_id = $1";
        let rows: Vec<(GroupId, Option<GroupId>)> = cx.tx.q(sql).bind(cx.at).all().await?;
        Ok(Self(rows.into_iter().collect()))
    }

    /// Returns the groups above this one, nearest first.
    fn above(&self, group: GroupId) -> impl Iterator<Item = GroupId> + '_ {
        let parent = |id: &GroupId| self.0.get(id).copied().flatten();
        std::iter::successors(parent(&group), move |id| parent(id))
    }

    /// Returns whether one of the groups is this group or is below it.
    pub fn is_in(&self, groups: &[GroupId], above: GroupId) -> bool {
        groups.iter().any(|id| *id == above || self.above(*id).any(|one| one == above))
    }
}

/// The allocations of a cycle.
pub struct Tree {
    pub rows: Vec<AllocationRow>,
    organization: OrganizationId,
}

impl Tree {
    pub fn new(organization: OrganizationId, rows: Vec<AllocationRow>) -> Self {
        Self { rows, organization }
    }

    pub fn find(&self, scope: ScopeRef) -> Option<&AllocationRow> {
        self.rows.iter().find(|row| row.scope == scope)
    }

    /// Adds the row, or replaces that of its scope.
    pub fn put(&mut self, row: AllocationRow) {
        match self.rows.iter_mut().find(|one| one.scope == row.scope) {
            Some(before) => *before = row,
            None => self.rows.push(row),
        }
    }

    /// Sets for each group the nearest group above it that has an allocation. Returns the rows that
    /// changed.
    pub fn settle(&mut self, groups: &Groups) -> Vec<ScopeRef> {
        let group_of = |row: &AllocationRow| row.scope.id_of(ScopeKind::Group).map(GroupId);
        let allocated: HashSet<GroupId> = self.rows.iter().filter_map(group_of).collect();
        let mut changed = Vec::new();
        for row in &mut self.rows {
            let Some(group) = group_of(row) else { continue };
            let within = groups.above(group).find(|above| allocated.contains(above));
            if within != row.within_id {
                row.within_id = within;
                changed.push(row.scope);
            }
        }
        changed
    }

    /// Returns the scope of whose allocation the row is a part; `None` for the root.
    pub fn within(&self, row: &AllocationRow) -> Option<ScopeRef> {
        match row.within_id {
            _ if row.is_root() => None,
            Some(group) => Some(ScopeRef::group(group)),
            None => Some(ScopeRef::organization(self.organization)),
        }
    }

    /// Returns the rows that are a part of the allocation of this scope.
    pub fn children(&self, scope: ScopeRef) -> impl Iterator<Item = &AllocationRow> {
        self.rows.iter().filter(move |row| self.within(row) == Some(scope))
    }

    /// Returns the sum of the parts of each allocation.
    pub fn sums(&self) -> HashMap<ScopeRef, Quantity> {
        let mut sums: HashMap<ScopeRef, Quantity> = HashMap::new();
        for row in &self.rows {
            if let Some(scope) = self.within(row) {
                *sums.entry(scope).or_default() += row.effective();
            }
        }
        sums
    }

    /// Refuses allocations whose parts together are more than they have.
    ///
    /// # Errors
    /// 409 `over_allocated` with the scope whose credits do not suffice.
    pub fn refuse_oversold(&self) -> Result<()> {
        let sums = self.sums();
        let oversold = self.rows.iter().find_map(|row| {
            let requested = sums.get(&row.scope).copied().unwrap_or_default();
            (requested > row.effective()).then_some((row, requested))
        });
        let Some((row, requested)) = oversold else { return Ok(()) };
        let available = row.effective();
        let detail = format!(
            "The allocations of `{}` together must be at most {available} credits (got {requested}).",
            row.scope
        );
        let refused = Error::new(ProblemCode::OverAllocated, detail);
        Err(refused
            .with("scope", row.scope)
            .with("requested", requested)
            .with("available", available))
    }

    /// Removes the largest allocations that do not fit, each with its parts, until the others fit.
    pub fn fit(&mut self) {
        loop {
            let sums = self.sums();
            let oversold = self
                .rows
                .iter()
                .find(|row| sums.get(&row.scope).copied().unwrap_or_default() > row.effective());
            let Some(scope) = oversold.map(|row| row.scope) else { return };
            let largest = self.children(scope).max_by_key(|row| (row.effective(), row.scope));
            let Some(largest) = largest.map(|row| row.scope) else { return };
            self.remove(largest);
        }
    }

    fn remove(&mut self, scope: ScopeRef) {
        let parts: Vec<ScopeRef> = self.children(scope).map(|row| row.scope).collect();
        for part in parts {
            self.remove(part);
        }
        self.rows.retain(|row| row.scope != scope);
    }
}
