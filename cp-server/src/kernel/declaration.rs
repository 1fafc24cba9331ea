//! The declarations of a slice's tables.
//!
//! # Design
//! A slice declares each table once, at its head: the noun of its rows and the permissions that act
//! on them. It also declares what happens to the rows on purge and export, and when a project ends
//! or moves. `lifecycle` walks the declarations in the order of the foreign keys, so no list of
//! tables is kept by hand. A test fails for a table of an organization that no slice declares.

use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;

use crate::kernel::access::ids::{OrganizationId, ProjectId, UserId};
use crate::kernel::access::permissions::{self, Permission};
use crate::kernel::db::Conn;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::kernel::sealed::Sealed;
use crate::kernel::section::Section;
use crate::kernel::taken::{self, Noun};

/// The declaration of one table.
pub struct Declaration {
    pub table: &'static str,
    /// The noun of one row in messages.
    pub noun: &'static str,
    pub permissions: &'static [Permission],
    /// The columns of the rows' secrets.
    pub sealed: &'static [Sealed],
    /// The removal of a person's data from the rows.
    pub erase: Option<Erase>,
    /// The events of changes outside the table of operations.
    pub events: &'static [Happening],
    /// Whether these events are notices, which an organization may turn off.
    pub has_notices: bool,
    /// For a table whose rows belong to organizations.
    pub tenant: Option<Tenant>,
}

/// A type of event that no line of the table records: a change by a job, the command line or a login.
#[derive(Clone, Copy, Debug)]
pub struct Happening {
    /// The action, such as `budget_cycles.open`.
    pub action: &'static str,
    /// The description, in one sentence.
    pub doc: &'static str,
}

/// The handling of an organization's rows.
pub struct Tenant {
    /// The column of the organization.
    pub owner: &'static str,
    pub purge: Purge,
    pub project: OfProject,
    pub export: Export,
}

/// The removal of a person's data from rows.
#[derive(Clone, Copy)]
pub enum Erase {
    /// A statement; `$1` is the user's ID.
    Statement(&'static str),
    /// Statements that depend on what they find, or on the instant.
    Steps(for<'a> fn(&'a mut Conn, UserId, DateTime<Utc>) -> BoxFuture<'a, Result<()>>),
}

impl Erase {
    pub async fn run(self, tx: &mut Conn, user: UserId, now: DateTime<Utc>) -> Result<()> {
        match self {
            Self::Statement(sql) => tx.q(sql).bind(user).exec().await.map(drop).map_err(Into::into),
            Self::Steps(steps) => steps(tx, user, now).await,
        }
    }
}

/// The handling of the rows by a purge of the organization.
pub enum Purge {
    /// The purge deletes them.
    Rows,
    /// The purge runs this first, and then deletes them.
    After(Hook),
    /// The purge leaves them, for this reason.
    Stay(&'static str),
}

/// The handling of rows when their project ends, or moves to another organization.
pub enum OfProject {
    /// The foreign keys decide: the rows end and move with it.
    Follow,
    /// This runs before the project ends or moves.
    Before(ProjectHook),
}

/// The place of the rows in an organization's export.
pub enum Export {
    /// In a section of their own.
    Section(Section),
    /// In several sections.
    Sections(&'static [Section]),
    /// In the section of another table.
    Within(&'static str),
    /// Left out, for this reason.
    LeftOut(&'static str),
}

pub type Hook = for<'a> fn(&'a mut Cx) -> BoxFuture<'a, Result<()>>;
/// Receives the project and its new organization; `None` when the project ends.
pub type ProjectHook =
    for<'a> fn(&'a mut Cx, ProjectId, Option<OrganizationId>) -> BoxFuture<'a, Result<()>>;

impl Declaration {
    /// Declares rows of the platform.
    pub const fn of_platform(table: &'static str, noun: &'static str) -> Self {
        Self {
            table,
            noun,
            permissions: &[],
            sealed: &[],
            erase: None,
            events: &[],
            has_notices: false,
            tenant: None,
        }
    }

    /// Declares rows of organizations, which a purge deletes.
    pub const fn of_organization(table: &'static str, noun: &'static str, export: Export) -> Self {
        let tenant = Tenant {
            owner: "organization_id",
            purge: Purge::Rows,
            project: OfProject::Follow,
            export,
        };
        Self { tenant: Some(tenant), ..Self::of_platform(table, noun) }
    }

    /// Sets the permissions that act on the rows.
    #[must_use]
    pub const fn permissions(self, permissions: &'static [Permission]) -> Self {
        Self { permissions, ..self }
    }

    /// Sets the columns of the rows' secrets, which a change of the key-encryption key reseals.
    #[must_use]
    pub const fn seals(self, sealed: &'static [Sealed]) -> Self {
        Self { sealed, ..self }
    }

    /// Sets the removal of a person's data from the rows.
    #[must_use]
    pub const fn erases(self, erase: Erase) -> Self {
        Self { erase: Some(erase), ..self }
    }

    /// Sets the events of changes that no line of the table makes.
    #[must_use]
    pub const fn events(self, events: &'static [Happening]) -> Self {
        Self { events, ..self }
    }

    /// Sets the events of the table's job, which are notices.
    #[must_use]
    pub const fn notices(self, events: &'static [Happening]) -> Self {
        Self { events, has_notices: true, ..self }
    }

    /// Sets another column of the organization than `organization_id`.
    #[must_use]
    pub const fn owner(mut self, owner: &'static str) -> Self {
        if let Some(tenant) = &mut self.tenant {
            tenant.owner = owner;
            if let Export::Section(section) = &mut tenant.export {
                section.owner = owner;
            }
        }
        self
    }

    /// Sets the handling of the rows by a purge of the organization.
    #[must_use]
    pub const fn purge(mut self, purge: Purge) -> Self {
        if let Some(tenant) = &mut self.tenant {
            tenant.purge = purge;
        }
        self
    }

    /// Sets a hook that runs before the rows' project ends or moves.
    #[must_use]
    pub const fn before_project(mut self, hook: ProjectHook) -> Self {
        if let Some(tenant) = &mut self.tenant {
            tenant.project = OfProject::Before(hook);
        }
        self
    }
}

/// The declarations of all slices.
static PUBLISHED: OnceLock<Vec<&'static Declaration>> = OnceLock::new();

/// Publishes the declarations of all slices; later calls change nothing.
pub(in crate::kernel) fn publish(declarations: &[&'static Declaration]) {
    PUBLISHED.get_or_init(|| declarations.to_vec());
    permissions::publish(|| declarations.iter().flat_map(|one| one.permissions).copied().collect());
    taken::publish(|| {
        let noun = |one: &&Declaration| Noun {
            table: one.table,
            noun: one.noun,
            is_of_organization: one.tenant.is_some(),
        };
        declarations.iter().map(noun).collect()
    });
}

/// Returns the declarations of all slices, in the order of the composition.
///
/// # Panics
/// Panics before the composition has published them.
pub fn all() -> &'static [&'static Declaration] {
    PUBLISHED.get().expect("the composition publishes the declarations first")
}

/// Returns the types of all notices.
pub fn notices() -> impl Iterator<Item = &'static str> {
    let with_notices = all().iter().filter(|one| one.has_notices);
    with_notices.flat_map(|one| one.events).map(|one| one.action)
}

pub(in crate::kernel) fn is_published() -> bool {
    PUBLISHED.get().is_some()
}
