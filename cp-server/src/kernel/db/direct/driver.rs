//! What sqlx asks of a database besides rows and values. Statements run on rusqlite instead, so the
//! types of connections and statements have no values.

use std::str::FromStr;
use std::time::Duration;

use log::LevelFilter;
use rusqlite::types::Value as Stored;
use sqlx::query::{Query, QueryAs, QueryScalar};
use sqlx::{
    ConnectOptions, Connection, Database, Either, FromRow, IntoArguments, SqlStr, Statement,
    Transaction,
};
use sqlx_core::transaction::TransactionManager;
use url::Url;

use super::marker::Direct;
use super::row::{DirectColumn, DirectRow};
use super::values::{DirectArguments, DirectValue, DirectValueRef, Kind};

impl Database for Direct {
    type Connection = NoConnection;
    type TransactionManager = NoTransactions;
    type Row = DirectRow;
    type QueryResult = NoResult;
    type Column = DirectColumn;
    type TypeInfo = Kind;
    type Value = DirectValue;
    type ValueRef<'r> = DirectValueRef<'r>;
    type Arguments = DirectArguments;
    type ArgumentBuffer = Vec<Stored>;
    type Statement = NoStatement;
    const NAME: &'static str = "SQLite";
    const URL_SCHEMES: &'static [&'static str] = &[];
}

#[derive(Debug)]
pub enum NoConnection {}

#[derive(Clone, Debug)]
pub enum NoOptions {}

#[derive(Clone, Debug)]
pub enum NoStatement {}

#[derive(Debug)]
pub enum NoTransactions {}

#[derive(Debug, Default)]
pub struct NoResult;

impl Extend<Self> for NoResult {
    fn extend<T: IntoIterator<Item = Self>>(&mut self, _: T) {}
}

impl Connection for NoConnection {
    type Database = Direct;
    type Options = NoOptions;

    async fn close(self) -> sqlx::Result<()> {
        match self {}
    }
    async fn close_hard(self) -> sqlx::Result<()> {
        match self {}
    }
    async fn ping(&mut self) -> sqlx::Result<()> {
        match *self {}
    }
    async fn begin(&mut self) -> sqlx::Result<Transaction<'_, Direct>> {
        match *self {}
    }
    fn shrink_buffers(&mut self) {
        match *self {}
    }
    async fn flush(&mut self) -> sqlx::Result<()> {
        match *self {}
    }
    fn should_flush(&self) -> bool {
        match *self {}
    }
}

impl FromStr for NoOptions {
    type Err = sqlx::Error;

    fn from_str(_: &str) -> sqlx::Result<Self> {
        Err(sqlx::Error::PoolClosed)
    }
}

impl ConnectOptions for NoOptions {
    type Connection = NoConnection;

    fn from_url(_: &Url) -> sqlx::Result<Self> {
        Err(sqlx::Error::PoolClosed)
    }
    async fn connect(&self) -> sqlx::Result<NoConnection> {
        match *self {}
    }
    fn log_statements(self, _: LevelFilter) -> Self {
        match self {}
    }
    fn log_slow_statements(self, _: LevelFilter, _: Duration) -> Self {
        match self {}
    }
}

impl TransactionManager for NoTransactions {
    type Database = Direct;

    async fn begin(conn: &mut NoConnection, _: Option<SqlStr>) -> sqlx::Result<()> {
        match *conn {}
    }
    async fn commit(conn: &mut NoConnection) -> sqlx::Result<()> {
        match *conn {}
    }
    async fn rollback(conn: &mut NoConnection) -> sqlx::Result<()> {
        match *conn {}
    }
    fn start_rollback(conn: &mut NoConnection) {
        match *conn {}
    }
    fn get_transaction_depth(conn: &NoConnection) -> usize {
        match *conn {}
    }
}

impl Statement for NoStatement {
    type Database = Direct;

    fn into_sql(self) -> SqlStr {
        match self {}
    }
    fn sql(&self) -> &SqlStr {
        match *self {}
    }
    fn parameters(&self) -> Option<Either<&[Kind], usize>> {
        match *self {}
    }
    fn columns(&self) -> &[DirectColumn] {
        match *self {}
    }
    fn query(&self) -> Query<'_, Direct, DirectArguments> {
        match *self {}
    }
    fn query_with<A: IntoArguments<Direct>>(&self, _: A) -> Query<'_, Direct, A> {
        match *self {}
    }
    fn query_as<O: for<'r> FromRow<'r, DirectRow>>(
        &self,
    ) -> QueryAs<'_, Direct, O, DirectArguments> {
        match *self {}
    }
    fn query_as_with<'s, O, A>(&'s self, _: A) -> QueryAs<'s, Direct, O, A>
    where
        O: for<'r> FromRow<'r, DirectRow>,
        A: IntoArguments<Direct>,
    {
        match *self {}
    }
    fn query_scalar<O>(&self) -> QueryScalar<'_, Direct, O, DirectArguments>
    where
        (O,): for<'r> FromRow<'r, DirectRow>,
    {
        match *self {}
    }
    fn query_scalar_with<'s, O, A>(&'s self, _: A) -> QueryScalar<'s, Direct, O, A>
    where
        (O,): for<'r> FromRow<'r, DirectRow>,
        A: IntoArguments<Direct>,
    {
        match *self {}
    }
}
