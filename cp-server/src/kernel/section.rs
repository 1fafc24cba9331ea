//! Sections of an organization's export: one member of the document each.
//!
//! # Design
//! A slice declares its section with its table, from the record of its own lists. A section is
//! streamed row by row into a small channel, so memory does not grow with the organization. No
//! record reads the column of a secret, so no secret is exported.

mod shape;
mod writer;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kernel::access::ids::OrganizationId;
use crate::kernel::app::App;
use crate::kernel::db::Conn;
use crate::kernel::db::query::Rows;
use crate::kernel::db::record::Record;
use crate::kernel::db::values::Row;
use crate::kernel::error::Result;
use crate::kernel::http::json::Moment;

pub use self::writer::{Broken, Child, Form, WithChild, Writer};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// Exports usage and audit events from this instant on (inclusive). All from the first when
    /// absent.
    pub since: Option<Moment>,
    /// Exports usage and audit events up to this instant (inclusive). All up to now when absent.
    pub until: Option<Moment>,
    /// Additional content, which is exported only on request and only as NDJSON.
    pub include: Option<Include>,
}

crate::text_enum! {
    Include {
        /// The single usage events behind the sums.
        UsageEvents = "usage_events",
    }
}

/// A request for an export.
pub struct ExportRequest {
    pub app: App,
    pub organization: OrganizationId,
    pub now: DateTime<Utc>,
    pub window: Window,
}

/// A record whose exported form depends on the time or a setting, or has other members than the row.
pub trait Exported: Record + Send {
    type Shown: Serialize + JsonSchema + Send + Sync;
    fn shown(self, request: &ExportRequest) -> Self::Shown;
}

/// One member of the document.
pub struct Section {
    pub name: &'static str,
    /// The column of the organization; the table's declaration sets it.
    pub(in crate::kernel) owner: &'static str,
    /// A further condition.
    condition: &'static str,
    order: &'static str,
    /// The column that `since` and `until` filter.
    during: Option<&'static str>,
    /// Whether it is exported only when the request includes it.
    include: Option<Include>,
    write: Write,
    schema: fn(&mut SchemaGenerator) -> Value,
}

type Write = for<'a> fn(Writing<'a>) -> Written<'a>;
pub type Written<'a> = BoxFuture<'a, Result<(), Broken>>;

/// A section that is being written.
pub struct Writing<'a> {
    pub section: &'a Section,
    pub tx: &'a mut Conn,
    pub request: &'a ExportRequest,
    pub out: &'a mut Writer,
}

impl Section {
    const fn new(
        name: &'static str,
        write: Write,
        schema: fn(&mut SchemaGenerator) -> Value,
    ) -> Self {
        Self {
            name,
            owner: "organization_id",
            condition: "",
            order: "",
            during: None,
            include: None,
            write,
            schema,
        }
    }

    /// Declares a list of records, in the form of their own lists.
    pub const fn many<R>(name: &'static str) -> Self
    where
        R: Record + Serialize + JsonSchema + Send + Sync,
    {
        Self::new(name, many::<R>, list_of::<R>)
    }

    /// Declares a list of records in their exported form.
    pub const fn many_shown<R: Exported>(name: &'static str) -> Self {
        Self::new(name, many_shown::<R>, list_of::<R::Shown>)
    }

    /// Declares the first of the records, or null.
    pub const fn one<R>(name: &'static str) -> Self
    where
        R: Record + Serialize + JsonSchema + Send + Sync,
    {
        Self::new(name, one::<R>, |schemas| shape::one(&schemas.subschema_for::<R>()))
    }

    /// Declares a list of records, each with a list of its children. The join returns the rows of
    /// one record next to each other.
    pub const fn tree<R, C>(name: &'static str) -> Self
    where
        R: Record + Serialize + JsonSchema + Send + Sync,
        C: Child + JsonSchema,
        WithChild<R, C>: Row,
    {
        let schema = |schemas: &mut SchemaGenerator| {
            let record = schemas.subschema_for::<R>();
            shape::tree(&record, C::MEMBER, &schemas.subschema_for::<C>())
        };
        Self::new(name, tree::<R, C>, schema)
    }

    /// Sets a further condition: `AND …`.
    #[must_use]
    pub const fn condition(self, condition: &'static str) -> Self {
        Self { condition, ..self }
    }

    /// Sets another order than by ID.
    #[must_use]
    pub const fn order(self, order: &'static str) -> Self {
        Self { order, ..self }
    }

    /// Sets the column that `since` and `until` filter.
    #[must_use]
    pub const fn during(self, column: &'static str) -> Self {
        Self { during: Some(column), ..self }
    }

    /// Exports the section only when the request includes it.
    #[must_use]
    pub const fn only_with(self, include: Include) -> Self {
        Self { include: Some(include), ..self }
    }

    /// See [`listed!`](crate::listed).
    pub const fn of_list(
        name: &'static str,
        write: Write,
        schema: fn(&mut SchemaGenerator) -> Value,
    ) -> Self {
        Self::new(name, write, schema)
    }

    pub fn schema(&self, schemas: &mut SchemaGenerator) -> Value {
        (self.schema)(schemas)
    }

    pub async fn write(
        &self,
        tx: &mut Conn,
        request: &ExportRequest,
        out: &mut Writer,
    ) -> Result<(), Broken> {
        if self.include.is_some() && self.include != request.window.include {
            return Ok(());
        }
        (self.write)(Writing { section: self, tx, request, out }).await
    }

    /// Returns the query of the section's rows of the organization.
    fn rows<'c, R: Record>(&self, tx: &'c mut Conn, request: &ExportRequest) -> Rows<'c, R> {
        self.narrowed(tx.select("WHERE "), R::TABLE, R::KEY, request)
    }

    fn narrowed<'c, R: Row>(
        &self,
        rows: Rows<'c, R>,
        from: &'static str,
        key: &'static str,
        request: &ExportRequest,
    ) -> Rows<'c, R> {
        let table = from.split_whitespace().next().unwrap_or_default();
        let mut rows = rows.sql(table).sql(".").sql(self.owner).sql(" = $1");
        rows = rows.bind(request.organization).sql(" ").sql(self.condition);
        if let Some(column) = self.during {
            let Window { since, until, .. } = &request.window;
            if let Some(since) = since {
                rows = rows.sql(" AND ").sql(column).and(" >= ?", since.0);
            }
            if let Some(until) = until {
                rows = rows.sql(" AND ").sql(column).and(" <= ?", until.0);
            }
        }
        rows.sql(" ORDER BY ").sql(if self.order.is_empty() { key } else { self.order })
    }
}

/// Declares a section from a function's result: `listed!("usage", UsageTotal, totals)`.
#[macro_export]
macro_rules! listed {
    ($name:literal, $item:ty, $read:path) => {
        $crate::kernel::section::Section::of_list(
            $name,
            |writing| {
                Box::pin(async move {
                    let items: Vec<$item> = $read(writing.tx, writing.request).await?;
                    writing.out.all(writing.section.name, &items).await
                })
            },
            |schemas| $crate::kernel::section::list_of::<$item>(schemas),
        )
    };
}

/// Returns the schema of a list.
pub fn list_of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    shape::many(&schemas.subschema_for::<T>())
}

fn many<R: Record + Serialize + Send + Sync>(writing: Writing<'_>) -> Written<'_> {
    let Writing { section, tx, request, out } = writing;
    Box::pin(async move { out.many(section.name, section.rows::<R>(tx, request), |row| row).await })
}

fn many_shown<R: Exported>(writing: Writing<'_>) -> Written<'_> {
    let Writing { section, tx, request, out } = writing;
    Box::pin(async move {
        out.many(section.name, section.rows::<R>(tx, request), |row| row.shown(request)).await
    })
}

fn one<R: Record + Serialize + Send + Sync>(writing: Writing<'_>) -> Written<'_> {
    let Writing { section, tx, request, out } = writing;
    Box::pin(async move { out.one(section.name, section.rows::<R>(tx, request)).await })
}

fn tree<R, C>(writing: Writing<'_>) -> Written<'_>
where
    R: Record + Serialize + Send + Sync,
    C: Child,
    WithChild<R, C>: Row,
{
    let Writing { section, tx, request, out } = writing;
    Box::pin(async move {
        let columns = format!("{}, {}", R::COLUMNS, C::COLUMNS);
        let joined = tx.select_from(&columns, C::FROM).sql(" WHERE ");
        let rows = section.narrowed(joined, R::TABLE, R::KEY, request);
        out.tree::<R, C>(section.name, rows).await
    })
}
