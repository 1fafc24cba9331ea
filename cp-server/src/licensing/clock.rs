//! The operator's decision about numbers that are ahead of a wrong clock.
//!
//! # Design
//! Status lists and license files are numbered by the clock, and data planes accept nothing older
//! than their own. A clock that was set back by at most a day does no harm. Beyond that, the server
//! cannot distinguish a clock that is wrong now from one that was wrong before. Only in the second
//! case may the numbers go back: data planes with correct clocks have refused documents from the
//! future.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::licenses::file_numbers;
use super::status_lists;
use crate::kernel::access::caller::Caller;
use crate::kernel::app::App;
use crate::kernel::effect::Effect;
use crate::kernel::error::Result;

/// Resets numbers that are ahead of the clock. Returns the number of status lists among them.
pub async fn accept(app: &App, reason: &str) -> Result<u64> {
    let mut cx = app.change(Caller::system("cli")).await?;
    let now: DateTime<Utc> = cx.now;
    let lists = status_lists::take_back(&mut cx.tx, now).await?;
    file_numbers::take_back(&mut cx.tx, now).await?;
    cx.audit.reason = Some(reason.to_owned());
    cx.audit.after = Some(json!({"clock": now, "status_lists": lists}));
    cx.finish("clock.accept", None, ("clock", String::new()), Effect::Rights).await?;
    Ok(lists)
}
