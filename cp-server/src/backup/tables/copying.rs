//! Rows in the binary format of PostgreSQL's `COPY`.
//!
//! # Design
//!
//! The text format was rejected: the database then parses each identifier, instant and number, which was
//! half of its work. <https://www.postgresql.org/docs/current/sql-copy.html> ("Binary Format") states the
//! layout. A value is the input of its type's receive function.

use anyhow::{Context, bail};
use chrono::DateTime;

use super::cells::Cell;
use super::table::Column;

/// Precedes the rows: the signature, no flags, no extension.
pub(super) const HEADER: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// Follows the rows.
pub(super) const TRAILER: &[u8] = &(-1_i16).to_be_bytes();

/// Microseconds from 1970 to 2000, the epoch of PostgreSQL.
const EPOCH: i64 = 946_684_800_000_000;

/// Appends one row.
pub(super) fn row(columns: &[Column], cells: &[Cell], into: &mut Vec<u8>) -> anyhow::Result<()> {
    into.extend(i16::try_from(columns.len())?.to_be_bytes());
    for (column, cell) in columns.iter().zip(cells) {
        if *cell == Cell::Null {
            into.extend((-1_i32).to_be_bytes());
            continue;
        }
        let length = into.len();
        into.extend([0; 4]);
        value(&column.kind, cell, into).with_context(|| column.name.clone())?;
        let bytes = i32::try_from(into.len() - length - 4)?;
        into[length..length + 4].copy_from_slice(&bytes.to_be_bytes());
    }
    Ok(())
}

fn value(kind: &str, cell: &Cell, into: &mut Vec<u8>) -> anyhow::Result<()> {
    match (kind, cell) {
        ("uuid", Cell::Blob(bytes)) if bytes.len() == 16 => into.extend(bytes),
        ("bytea", Cell::Blob(bytes)) => into.extend(bytes),
        ("bool", Cell::Integer(value @ (0 | 1))) => into.push(u8::from(*value == 1)),
        ("int2", Cell::Integer(value)) => into.extend(i16::try_from(*value)?.to_be_bytes()),
        ("int4", Cell::Integer(value)) => into.extend(i32::try_from(*value)?.to_be_bytes()),
        ("int8", Cell::Integer(value)) => into.extend(value.to_be_bytes()),
        ("timestamptz", Cell::Text(text)) => {
            let at = DateTime::parse_from_rfc3339(text).context("the text is not an instant")?;
            into.extend((at.timestamp_micros() - EPOCH).to_be_bytes());
        }
        ("text" | "varchar" | "json", Cell::Text(text)) => into.extend(text.as_bytes()),
        ("jsonb", Cell::Text(text)) => {
            // The version of the format.
            into.push(1);
            into.extend(text.as_bytes());
        }
        // Without the value, which may be a secret.
        (_, Cell::Null) => bail!("null cannot become a {kind}"),
        (_, Cell::Integer(_)) => bail!("the integer cannot become a {kind}"),
        (_, Cell::Text(_)) => bail!("the text cannot become a {kind}"),
        (_, Cell::Blob(_)) => bail!("the bytes cannot become a {kind}"),
    }
    Ok(())
}
