//! The tokens signed on each day.
//!
//! # Design
//! A counter that every issuance increments would make all issuances wait for one row. So a job counts a
//! day when it has ended, once, by the primary key: the IDs of tokens are in the order of their creation.
//! The day of now is counted at each read, and the count ends early.

use chrono::{DateTime, NaiveDate, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use crate::kernel::access::caller::Scope;
use crate::kernel::access::platform::Platform;
use crate::kernel::app::App;
use crate::kernel::clock::first_id;
use crate::kernel::db::Conn;
use crate::kernel::declaration::Declaration;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;

pub static DECLARATION: Declaration = Declaration::of_platform("issuance_days", "day of issuance");

crate::routes! {
    /// The tokens that the authority signs, by the day.
    issuance declares DECLARATION:
    /// Returns the tokens signed on each of the last 90 days, UTC, the oldest first.
    GET "/issuance/daily" ORG_READ => daily;
}

/// The days of an answer, today included.
const DAYS: i64 = 90;
/// The seconds of a day.
const DAY: i64 = 86_400;
/// The largest count of a day that has not been counted by the job.
const MOST: i64 = 10_000;

/// The tokens signed on each day.
#[derive(Debug, Serialize, JsonSchema)]
struct Daily {
    /// The days, the oldest first; the last one is today.
    days: Vec<IssuanceDay>,
}

/// The tokens signed on one day.
#[derive(Debug, Serialize, JsonSchema)]
struct IssuanceDay {
    day: NaiveDate,
    issued: i64,
    /// Whether there are more: a day that has not been counted yet counts up to 10,000.
    more: bool,
}

async fn daily(cx: &mut Cx<Scope>, _: Platform) -> Result<Daily> {
    let today = number(cx.now);
    let oldest = today - DAYS + 1;
    let sql = "SELECT day, issued FROM issuance_days WHERE day >= $1 ORDER BY day";
    let counted: Vec<(i64, i64)> = cx.tx.q(sql).bind(oldest).all().await?;
    // Before the last day that the job counted, all days are counted.
    let last = counted.last().map_or(oldest - 1, |(day, _)| *day);
    let first_open = first_day(&mut cx.tx, last + 1).await?.unwrap_or(today);
    let mut days = Vec::new();
    for day in oldest..=today {
        let known = counted.iter().find(|(known, _)| *known == day).map(|(_, issued)| *issued);
        let issued = match known {
            Some(issued) => issued,
            None if day > last && day >= first_open => count(&mut cx.tx, day, MOST + 1).await?,
            None => 0,
        };
        let more = known.is_none() && issued > MOST;
        let issued = if more { MOST } else { issued };
        days.extend(date(day).map(|day| IssuanceDay { day, issued, more }));
    }
    Ok(Daily { days })
}

/// Counts the days that have ended since the last count.
pub async fn close(app: &App) -> Result<()> {
    let today = number(app.clock.now());
    let oldest = today - DAYS + 1;
    // Counted before the transaction: it holds SQLite's one writer.
    let mut read = app.db.read();
    let sql = "SELECT day FROM issuance_days ORDER BY day DESC LIMIT 1";
    let last: Option<i64> = read.q(sql).value().await?;
    let next = last.map_or(oldest, |last| (last + 1).max(oldest));
    // Days without a token need no row, but for the last one: it says how far the count is.
    let first = first_day(&mut read, next).await?.unwrap_or(today - 1);
    let mut days = Vec::new();
    for day in first.min(today - 1).max(next)..today {
        days.push((day, count(&mut read, day, i64::MAX).await?));
    }
    let mut tx = app.db.begin().await?;
    for (day, issued) in days {
        let sql = "INSERT INTO issuance_days (day, issued) VALUES ($1, $2)
                   ON CONFLICT (day) DO NOTHING";
        tx.q(sql).bind(day).bind(issued).exec().await?;
    }
    tx.q("DELETE FROM issuance_days WHERE day < $1").bind(oldest).exec().await?;
    tx.commit().await?;
    Ok(())
}

/// Returns the day of the first token from this day on.
async fn first_day(tx: &mut Conn, day: i64) -> Result<Option<i64>> {
    let sql = "SELECT issued_at FROM bundles WHERE id >= $1 ORDER BY id LIMIT 1";
    let first: Option<DateTime<Utc>> = tx.q(sql).bind(first_of(day)).value().await?;
    Ok(first.map(number))
}

async fn count(tx: &mut Conn, day: i64, most: i64) -> Result<i64> {
    let sql =
        "SELECT COUNT(*) FROM (SELECT 1 FROM bundles WHERE id >= $1 AND id < $2 LIMIT $3) AS c";
    let count = tx.q(sql).bind(first_of(day)).bind(first_of(day + 1)).bind(most);
    Ok(count.value().await?.unwrap_or(0))
}

fn number(at: DateTime<Utc>) -> i64 {
    at.timestamp().div_euclid(DAY)
}

fn first_of(day: i64) -> Uuid {
    first_id(DateTime::from_timestamp(day * DAY, 0).unwrap_or_default())
}

fn date(day: i64) -> Option<NaiveDate> {
    DateTime::from_timestamp(day * DAY, 0).map(|at| at.date_naive())
}
