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
use crate::kernel::access::caller::Caller;
use crate::kernel::app::App;
use crate::kernel::effect::Effect;
use crate::kernel::error::Result;

/// Takes what is ahead of the clock back to it: how many status lists were.
pub async fn accept(app: &App, reason: &str) -> Result<u64> {
    let mut cx = app.change(Caller::system("cli")).await?;
    let now: DateTime<Utc> = cx.now;
    let lists = status_lists::take_back(&mut cx.tx, now).await?;
    file_numbers::take_back(&mut cx.tx, now).await?;
    cx.trail.reason = Some(reason.to_owned());
    cx.trail.after = Some(json!({"clock": now, "status_lists": lists}));
    cx.finish("clock.accept", None, ("clock", String::new()), Effect::Rights).await?;
    Ok(lists)
}
