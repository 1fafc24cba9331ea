//! Sections of an organization's export: one member of the document each.
//!
//! # Design
//! A slice declares its section where it declares its table, from the record that its own lists
//! answer with. A section is streamed row by row into a channel of few places, so memory does not
//! grow with the organization. No record reads the column of a secret, so none is exported.

mod shape;
mod writer;

use chrono::{DateTime, Utc};
use futures_util::future::BoxFuture;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kernel::access::ids::OrganizationId;
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
    /// Usage and audit events at or after this instant.
    pub since: Option<Moment>,
    /// Usage and audit events at or before this instant.
    pub until: Option<Moment>,
    /// What is exported only on request, and line by line only.
    pub include: Option<Include>,
}

crate::text_enum! {
    Include {
        /// The single events behind the sums.
        UsageEvents = "usage_events",
    }
}

/// A request for an export.
pub struct ExportRequest {
    pub organization: OrganizationId,
    pub now: DateTime<Utc>,
    pub window: Window,
}

/// A record whose exported form depends on the time, or has other members than the row.
pub trait Exported: Record + Send {
    type Shown: Serialize + JsonSchema + Send + Sync;
    fn shown(self, now: DateTime<Utc>) -> Self::Shown;
}

/// One member of the document.
pub struct Section {
    pub name: &'static str,
    /// The column of the organization.
    owner: &'static str,
    /// A further condition.
    condition: &'static str,
    order: &'static str,
    /// The column that `since` and `until` narrow.
    during: Option<&'static str>,
    /// Whether it is exported only when the request includes it.
    include: Option<Include>,
    write: Write,
    schema: fn(&mut SchemaGenerator) -> Value,
}

type Write =
    for<'a> fn(&'a Section, &'a mut Conn, &'a ExportRequest, &'a mut Writer) -> Written<'a>;
pub type Written<'a> = BoxFuture<'a, Result<(), Broken>>;
/// Reads what a section lists, where that is no record.
pub type Reader<T> = for<'a> fn(&'a mut Conn, &'a ExportRequest) -> BoxFuture<'a, Result<Vec<T>>>;

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

    /// A list of records, as their own lists answer them.
    pub const fn many<R>(name: &'static str) -> Self
    where
        R: Record + Serialize + JsonSchema + Send + Sync,
    {
        Self::new(name, many::<R>, |schemas| shape::many(&schemas.subschema_for::<R>()))
    }

    /// A list of records in their exported form.
    pub const fn many_shown<R: Exported>(name: &'static str) -> Self {
        let schema =
            |schemas: &mut SchemaGenerator| shape::many(&schemas.subschema_for::<R::Shown>());
        Self::new(name, many_shown::<R>, schema)
    }

    /// The first of the records, or null.
    pub const fn one<R>(name: &'static str) -> Self
    where
        R: Record + Serialize + JsonSchema + Send + Sync,
    {
        Self::new(name, one::<R>, |schemas| shape::one(&schemas.subschema_for::<R>()))
    }

    /// A list of records, each with a list of its children, from a join in which the rows of one
    /// record are neighbors.
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

    #[must_use]
    pub const fn owner(self, owner: &'static str) -> Self {
        Self { owner, ..self }
    }

    /// A further condition: `AND …`.
    #[must_use]
    pub const fn condition(self, condition: &'static str) -> Self {
        Self { condition, ..self }
    }

    /// Another order than by id.
    #[must_use]
    pub const fn order(self, order: &'static str) -> Self {
        Self { order, ..self }
    }

    /// `since` and `until` narrow the rows by this column.
    #[must_use]
    pub const fn during(self, column: &'static str) -> Self {
        Self { during: Some(column), ..self }
    }

    /// Exported only when the request includes it.
    #[must_use]
    pub const fn only_with(self, include: Include) -> Self {
        Self { include: Some(include), ..self }
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
        (self.write)(self, tx, request, out).await
    }

    /// The section's rows of the organization.
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

/// What a function reads, as a section: `listed!(UsageTotal, totals)`.
#[macro_export]
macro_rules! listed {
    ($name:literal, $item:ty, $read:path) => {
        $crate::kernel::section::Section::of_list(
            $name,
            |section, tx, request, out| {
                Box::pin(async move {
                    let items: Vec<$item> = $read(tx, request).await?;
                    out.all(section.name, &items).await
                })
            },
            |schemas| $crate::kernel::section::list_of::<$item>(schemas),
        )
    };
}

impl Section {
    /// See [`listed!`](crate::listed).
    pub const fn of_list(
        name: &'static str,
        write: Write,
        schema: fn(&mut SchemaGenerator) -> Value,
    ) -> Self {
        Self::new(name, write, schema)
    }
}

/// The schema of a list.
pub fn list_of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    shape::many(&schemas.subschema_for::<T>())
}

fn many<'a, R>(
    section: &'a Section,
    tx: &'a mut Conn,
    request: &'a ExportRequest,
    out: &'a mut Writer,
) -> Written<'a>
where
    R: Record + Serialize + Send + Sync,
{
    Box::pin(async move { out.many(section.name, section.rows::<R>(tx, request), |row| row).await })
}

fn many_shown<'a, R: Exported>(
    section: &'a Section,
    tx: &'a mut Conn,
    request: &'a ExportRequest,
    out: &'a mut Writer,
) -> Written<'a> {
    Box::pin(async move {
        out.many(section.name, section.rows::<R>(tx, request), |row| row.shown(request.now)).await
    })
}

fn one<'a, R>(
    section: &'a Section,
    tx: &'a mut Conn,
    request: &'a ExportRequest,
    out: &'a mut Writer,
) -> Written<'a>
where
    R: Record + Serialize + Send + Sync,
{
    Box::pin(async move { out.one(section.name, section.rows::<R>(tx, request)).await })
}

fn tree<'a, R, C>(
    section: &'a Section,
    tx: &'a mut Conn,
    request: &'a ExportRequest,
    out: &'a mut Writer,
) -> Written<'a>
where
    R: Record + Serialize + Send + Sync,
    C: Child,
    WithChild<R, C>: Row,
{
    Box::pin(async move {
        let columns = format!("{}, {}", R::COLUMNS, C::COLUMNS);
        let joined = tx.select_from(&columns, C::FROM).sql(" WHERE ");
        let rows = section.narrowed(joined, R::TABLE, R::KEY, request);
        out.tree::<R, C>(section.name, rows).await
    })
}
