//! A clock that was wrong: what the operator decides about numbers that are ahead of it.
//!
//! # Design
//! Status lists and license files are numbered by the clock, and data planes take nothing that is older
//! than what they have. A clock that was set back is no harm within a day. Beyond that the server cannot
//! know whether the clock is wrong now or was wrong before, and only in the second case the numbers may
//! go back: data planes whose clocks were right have refused what came from the future.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::licenses::file_numbers;
use super::status_lists;
use crate::kernel::access::caller::{Caller, Scope};
use crate::kernel::app::App;
use crate::kernel::error::Result;
use crate::kernel::http::cx::Cx;
use crate::kernel::journal::record;

/// Takes what is ahead of the clock back to it: how many status lists were.
pub async fn accept(app: &App, reason: &str) -> Result<u64> {
    let tx = app.db.begin().await?;
    let mut cx = Cx::outside(app, Caller::system("cli"), Scope::Platform, tx);
    let now: DateTime<Utc> = cx.now;
    let lists = status_lists::take_back(&mut cx.tx, now).await?;
    file_numbers::take_back(&mut cx.tx, now).await?;
    cx.trail.reason = Some(reason.to_owned());
    cx.trail.after = Some(json!({"clock": now, "status_lists": lists}));
    record::record(&mut cx, "clock.accept", None, ("clock", String::new())).await?;
    cx.tx.commit().await?;
    Ok(lists)
}
