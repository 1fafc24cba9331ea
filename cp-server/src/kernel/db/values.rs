//! Values and rows that both drivers support.

use sqlx::postgres::PgRow;
use sqlx::{Encode, FromRow, Postgres, Type};

use crate::kernel::db::direct::{Direct, DirectRow};

/// A value that both databases accept.
pub trait Value<'q>:
    Encode<'q, Direct> + Type<Direct> + Encode<'q, Postgres> + Type<Postgres>
{
}
impl<'q, T> Value<'q> for T where
    T: Encode<'q, Direct> + Type<Direct> + Encode<'q, Postgres> + Type<Postgres>
{
}

/// A row that both databases return.
pub trait Row: for<'r> FromRow<'r, DirectRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}
impl<T> Row for T where T: for<'r> FromRow<'r, DirectRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{}
