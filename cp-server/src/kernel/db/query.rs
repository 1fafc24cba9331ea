//! A statement under construction: its SQL, and values bound into the driver's own arguments.

use std::marker::PhantomData;

use futures_util::stream::{BoxStream, Stream, StreamExt};
use sqlx::Arguments;
use sqlx::postgres::{PgArguments, PgRow};

use crate::kernel::access::areas::Area;
use crate::kernel::access::ids::Owned;
use crate::kernel::db::direct::{DirectArguments, DirectRow, Most};
use crate::kernel::db::drivers::{
    Args, Driver, Text, direct_stream, driver, lite_exec, lite_rows, lite_stream, pg_exec, pg_rows,
    pg_stream, pg_weight,
};
use crate::kernel::db::record::Record;
use crate::kernel::db::values::{Row, Value};
use crate::kernel::db::{Conn, Statements};
use crate::kernel::traces::{Span, Tracing};

/// A statement under construction.
pub struct Query<'c> {
    conn: &'c mut Conn,
    text: Text,
    args: Args,
    bound: usize,
    refused: Option<sqlx::error::BoxDynError>,
}

enum Found {
    Sqlite(Vec<DirectRow>),
    Postgres(Vec<PgRow>),
}

impl<'c> Query<'c> {
    fn new(conn: &'c mut Conn, text: Text) -> Self {
        let args = if conn.is_sqlite() {
            Args::Sqlite(DirectArguments::default())
        } else {
            Args::Postgres(PgArguments::default())
        };
        Query { conn, text, args, bound: 0, refused: None }
    }

    /// Binds the next `$n`.
    pub fn bind<'q>(mut self, value: impl Value<'q>) -> Self {
        let done = match &mut self.args {
            Args::Sqlite(args) => Arguments::add(args, value),
            Args::Postgres(args) => Arguments::add(args, value),
        };
        self.bound += 1;
        self.refused = self.refused.or(done.err());
        self
    }

    /// Appends SQL in which every `?` stands for `value`.
    pub fn and<'q>(mut self, text: &'static str, value: impl Value<'q>) -> Self {
        let place = format!("${}", self.bound + 1);
        self.push(&text.replace('?', &place));
        self.bind(value)
    }

    /// Appends a filter if `value` is present.
    pub fn and_some<'q, T: Value<'q>>(self, text: &'static str, value: Option<T>) -> Self {
        match value {
            Some(value) => self.and(text, value),
            None => self,
        }
    }

    pub fn sql(mut self, text: &'static str) -> Self {
        self.push(text);
        self
    }

    /// Appends the maximum number of rows.
    pub fn limit(self, most: i64) -> Self {
        // SQLite plans a statement again for each value of a parameter that is the whole limit.
        self.and(" LIMIT ? + 0", most)
    }

    /// Appends `($1, $2), ($3, $4)`: one list of placeholders per item, bound by `bind`. For
    /// `VALUES` with many rows; the databases accept some ten thousand placeholders in one
    /// statement.
    pub fn rows<T>(
        mut self,
        items: impl IntoIterator<Item = T>,
        bind: impl Fn(Self, T) -> Self,
    ) -> Self {
        // SQLite finds the index of a placeholder such as `$7` by a linear search over all of them,
        // which dominates in statements of thousands. Placeholders without numbers avoid that.
        let is_counted = self.bound == 0 && matches!(self.args, Args::Sqlite(_));
        let place = |n| if is_counted { "?".to_owned() } else { format!("${n}") };
        for (n, item) in items.into_iter().enumerate() {
            let first = self.bound + 1;
            self = bind(self, item);
            let places: Vec<String> = (first..=self.bound).map(place).collect();
            let comma = if n == 0 { "" } else { ", " };
            self.push(&format!("{comma}({})", places.join(", ")));
        }
        self
    }

    fn push(&mut self, text: &str) {
        let before = match std::mem::replace(&mut self.text, Text::Static("")) {
            Text::Static(text) => text.to_owned(),
            Text::Built(text) => text,
        };
        self.text = Text::Built(before + text);
    }

    pub async fn all<T: Row>(self) -> sqlx::Result<Vec<T>> {
        self.run(usize::MAX).await?.decode()
    }

    pub async fn one<T: Row>(self) -> sqlx::Result<T> {
        self.opt().await?.ok_or(sqlx::Error::RowNotFound)
    }

    pub async fn opt<T: Row>(self) -> sqlx::Result<Option<T>> {
        Ok(self.run(1).await?.decode()?.pop())
    }

    /// Returns the only column of the only row.
    pub async fn value<T>(self) -> sqlx::Result<Option<T>>
    where
        (T,): Row,
    {
        Ok(self.opt::<(T,)>().await?.map(|(value,)| value))
    }

    /// Executes the statement. Returns the number of affected rows.
    pub async fn exec(self) -> sqlx::Result<u64> {
        let (conn, text, args) = self.ready()?;
        let span = conn.span(text.as_str());
        let work = async {
            match driver(conn, args).await? {
                Driver::Direct(reader, args) => reader.execute(text.as_str(), &args.0),
                Driver::Sqlite(conn, args) => lite_exec(conn, text, args, Statements::Named).await,
                Driver::Postgres(conn, args, names) => pg_exec(conn, text, args, names).await,
            }
        };
        work.recorded(span).await
    }

    // Not generic: compiled once, and the only place that calls a driver for rows.
    async fn run(self, most: usize) -> sqlx::Result<Found> {
        let (conn, text, args) = self.ready()?;
        let span = conn.span(text.as_str());
        let work = async {
            Ok::<_, sqlx::Error>(match driver(conn, args).await? {
                Driver::Direct(reader, args) => {
                    let most = Most { rows: most, bytes: usize::MAX };
                    Found::Sqlite(reader.rows(text.as_str(), &args.0, most)?.0)
                }
                Driver::Sqlite(conn, args) => {
                    let rows = lite_rows(conn, text, args, Statements::Named, most).await?;
                    let read = DirectRow::reader();
                    Found::Sqlite(rows.iter().map(read).collect::<sqlx::Result<_>>()?)
                }
                Driver::Postgres(conn, args, names) => {
                    Found::Postgres(pg_rows(conn, text, args, names, most).await?)
                }
            })
        };
        work.recorded(span).await
    }

    /// Streams the rows: they are never in memory together.
    async fn stream<T: Row + 'c>(self) -> sqlx::Result<BoxStream<'c, sqlx::Result<T>>> {
        let (conn, text, args) = self.ready()?;
        let span = conn.span(text.as_str());
        let rows = match driver(conn, args).recorded(span.clone()).await? {
            Driver::Direct(reader, args) => {
                direct_stream(reader, &text, &args)?.map(|row| T::from_row(&row?)).boxed()
            }
            Driver::Sqlite(conn, args) => {
                let mut read = DirectRow::reader();
                lite_stream(conn, text, args, Statements::Named)
                    .map(move |row| T::from_row(&read(&row?)?))
                    .boxed()
            }
            Driver::Postgres(conn, args, names) => {
                pg_stream(conn, text, args, names).map(|row| T::from_row(&row?)).boxed()
            }
        };
        Ok(kept_until_the_end(rows, span))
    }

    /// Reads rows until they exceed a size. Returns them, and whether there are more.
    async fn until<T: Row>(self, bytes: usize) -> sqlx::Result<(Vec<T>, bool)> {
        let (found, is_cut) = self.run_until(bytes).await?;
        Ok((found.decode()?, is_cut))
    }

    // Not generic, as above.
    async fn run_until(self, bytes: usize) -> sqlx::Result<(Found, bool)> {
        let (conn, text, args) = self.ready()?;
        let span = conn.span(text.as_str());
        let work = async {
            Ok::<_, sqlx::Error>(match driver(conn, args).await? {
                Driver::Direct(reader, args) => {
                    let most = Most { rows: usize::MAX, bytes };
                    let (rows, is_cut) = reader.rows(text.as_str(), &args.0, most)?;
                    (Found::Sqlite(rows), is_cut)
                }
                Driver::Sqlite(conn, args) => {
                    let mut read = DirectRow::reader();
                    let rows = lite_stream(conn, text, args, Statements::Named);
                    let rows = rows.map(move |row| read(&row?));
                    let (rows, is_cut) = cut(rows, bytes, DirectRow::weight).await?;
                    (Found::Sqlite(rows), is_cut)
                }
                Driver::Postgres(conn, args, names) => {
                    let rows = pg_stream(conn, text, args, names);
                    let (rows, is_cut) = cut(rows, bytes, pg_weight).await?;
                    (Found::Postgres(rows), is_cut)
                }
            })
        };
        work.recorded(span).await
    }

    fn ready(self) -> sqlx::Result<(&'c mut Conn, Text, Args)> {
        if let Some(error) = self.refused {
            return Err(sqlx::Error::Encode(error));
        }
        // A missing bind is NULL on SQLite, silently, and an error on PostgreSQL.
        #[cfg(debug_assertions)]
        {
            let text = self.text.as_str();
            let over = format!("${}", self.bound + 1);
            assert!(!text.contains(&over), "{over} is not bound in {text}");
        }
        Ok((self.conn, self.text, self.args))
    }
}

/// Takes the rows until they exceed a size, and learns whether there are more.
async fn cut<R>(
    mut rows: impl Stream<Item = sqlx::Result<R>> + Unpin,
    most: usize,
    weight: impl Fn(&R) -> usize,
) -> sqlx::Result<(Vec<R>, bool)> {
    let (mut taken, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next().await {
        let row = row?;
        if bytes > most {
            return Ok((taken, true));
        }
        bytes += weight(&row);
        taken.push(row);
    }
    Ok((taken, false))
}

/// Ends the span with the stream.
fn kept_until_the_end<'c, T: 'c>(rows: BoxStream<'c, T>, span: Span) -> BoxStream<'c, T> {
    if !span.is_recorded() {
        return rows;
    }
    let row = move |row| {
        let _ = &span;
        row
    };
    rows.map(row).boxed()
}

impl Found {
    fn decode<T: Row>(self) -> sqlx::Result<Vec<T>> {
        match self {
            Self::Sqlite(rows) => rows.iter().map(T::from_row).collect(),
            Self::Postgres(rows) => rows.iter().map(T::from_row).collect(),
        }
    }
}

/// A query whose rows are records.
pub struct Rows<'c, R>(
    pub(in crate::kernel) Query<'c>,
    pub(in crate::kernel) PhantomData<fn() -> R>,
);

impl<'c, R: Row + 'c> Rows<'c, R> {
    /// Streams the rows: they are never in memory together.
    pub async fn stream(self) -> sqlx::Result<BoxStream<'c, sqlx::Result<R>>> {
        self.0.stream().await
    }

    /// Reads rows until their approximate size exceeds `bytes`: the last of them may be large.
    /// Returns them, and whether there are more.
    pub async fn until(self, bytes: usize) -> sqlx::Result<(Vec<R>, bool)> {
        self.0.until(bytes).await
    }
}

impl<'c, R: Row> Rows<'c, R> {
    pub fn bind<'q>(self, value: impl Value<'q>) -> Self {
        Rows(self.0.bind(value), PhantomData)
    }
    pub fn and<'q>(self, text: &'static str, value: impl Value<'q>) -> Self {
        Rows(self.0.and(text, value), PhantomData)
    }
    pub fn and_some<'q, T: Value<'q>>(self, text: &'static str, value: Option<T>) -> Self {
        Rows(self.0.and_some(text, value), PhantomData)
    }
    pub fn limit(self, most: i64) -> Self {
        Rows(self.0.limit(most), PhantomData)
    }
    pub fn rows<T>(
        self,
        items: impl IntoIterator<Item = T>,
        bind: impl Fn(Query<'c>, T) -> Query<'c>,
    ) -> Self {
        Rows(self.0.rows(items, bind), PhantomData)
    }
    pub fn sql(self, text: &'static str) -> Self {
        Rows(self.0.sql(text), PhantomData)
    }
    pub fn is_sqlite(&self) -> bool {
        matches!(self.0.args, Args::Sqlite(_))
    }
    /// Keeps the rows in one of these areas; all rows for `None`.
    pub fn within<T: Owned>(mut self, areas: Option<Vec<Area>>) -> Self
    where
        R: Record,
    {
        let (Some(areas), Some(within)) = (areas, T::WITHIN) else { return self };
        let of_the_row = within.sql.replace("$1", R::KEY);
        let begin = format!(
            " AND EXISTS (SELECT 1 FROM ({of_the_row}) AS area
                          WHERE (area.kind, area.id) IN (VALUES "
        );
        self.0.push(&begin);
        self.rows(areas, |query, area| query.bind(area.kind).bind(area.id)).sql("))")
    }
    /// Locks the rows until the end of the transaction. On SQLite, this transaction already is the
    /// only writer.
    pub fn locked(self) -> Self {
        if self.is_sqlite() { self } else { self.sql(" FOR UPDATE") }
    }
    pub async fn all(self) -> sqlx::Result<Vec<R>> {
        self.0.all().await
    }
    pub async fn one(self) -> sqlx::Result<R> {
        self.0.one().await
    }
    pub async fn opt(self) -> sqlx::Result<Option<R>> {
        self.0.opt().await
    }
}

impl Conn {
    /// Begins the span of a statement, if the running work has a trace.
    pub(super) fn span(&self, text: &str) -> Span {
        // The driver's own events are on threads of its own for SQLite, where no test reads them.
        tracing::trace!(target: "cp_server::statements", statement = text);
        Span::statement(if self.is_sqlite() { "sqlite" } else { "postgresql" }, text)
    }

    pub fn q(&mut self, sql: &'static str) -> Query<'_> {
        Query::new(self, Text::Static(sql))
    }

    /// Starts a statement whose SQL must differ between the databases.
    pub fn q2(&mut self, sqlite: &'static str, postgres: &'static str) -> Query<'_> {
        let text = if self.is_sqlite() { sqlite } else { postgres };
        self.q(text)
    }

    /// `SELECT <columns> FROM <table> <tail>`.
    pub fn select<R: Record>(&mut self, tail: &'static str) -> Rows<'_, R> {
        let sql = format!("SELECT {} FROM {} {tail}", R::COLUMNS, R::TABLE);
        Rows(Query::new(self, Text::Built(sql)), PhantomData)
    }

    /// `SELECT <columns> FROM <from>`: for reads from several tables.
    pub fn select_from<R: Row>(&mut self, columns: &str, from: &'static str) -> Rows<'_, R> {
        let sql = format!("SELECT {columns} FROM {from}");
        Rows(Query::new(self, Text::Built(sql)), PhantomData)
    }

    /// `<statement> RETURNING <columns>`.
    pub fn returning<R: Record>(&mut self, statement: &'static str) -> Rows<'_, R> {
        let sql = format!("{statement} RETURNING {}", R::COLUMNS);
        Rows(Query::new(self, Text::Built(sql)), PhantomData)
    }
}
