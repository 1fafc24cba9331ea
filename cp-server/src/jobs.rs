//! Periodic jobs. Every job may run on every replica at once: its statements resolve conflicts.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use crate::audit::{erase, integrator};
use crate::identity::{console_links, sessions};
use crate::kernel::app::{App, Part};
use crate::kernel::counts;
use crate::kernel::http::idempotency;
use crate::licensing::issuance_days;
use crate::licensing::keys::keyring::Keyring;
use crate::licensing::keys::rotation;
use crate::licensing::leases::{hours, skew, tenures};
use crate::licensing::status_lists;
use crate::licensing::status_lists::StatusLists;
use crate::lifecycle::notices;
use crate::metering::budgets::renewal;
use crate::server::monitoring;
use crate::telemetry;
use crate::webhooks::{deliveries, sending};

/// The maximum delay until this replica knows a key that another replica changed.
const KEYS_EVERY: Duration = Duration::from_secs(5);
const ROTATION_EVERY: Duration = Duration::from_secs(60);
/// The maximum delay until a suspension or revocation is published.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// The maximum delay until new leaves of the log are signed, even without a request.
const LOG_EVERY: Duration = Duration::from_secs(1);
/// How often refusals of seats are added to their hours, and clocks are compared.
const LEASES_EVERY: Duration = Duration::from_secs(10);
/// The maximum delay until the use of the last hour is computed.
const LEASE_HOURS_EVERY: Duration = Duration::from_secs(300);
/// The maximum delay until a budget's next cycle is open.
const CYCLES_EVERY: Duration = Duration::from_secs(60);
/// The maximum delay until an end is announced.
const NOTICES_EVERY: Duration = Duration::from_secs(60);
const PURGE_EVERY: Duration = Duration::from_secs(3600);
/// How old the metrics from the database may become.
const METRICS_EVERY: Duration = Duration::from_secs(15);

/// The running jobs; dropping this value ends them.
pub struct Jobs(Vec<JoinHandle<()>>);

impl Drop for Jobs {
    fn drop(&mut self) {
        for job in &self.0 {
            job.abort();
        }
    }
}

pub fn start(app: &App) -> Jobs {
    // Before the first run, whose metrics would be lost.
    let _ = telemetry::metrics();
    let keys =
        every("keys", KEYS_EVERY, app.clone(), async |app| Keyring::of(app).refresh(app).await);
    let rotation = every("rotation", ROTATION_EVERY, app.clone(), rotation::tick);
    let status = every("status_lists", STATUS_EVERY, app.clone(), async |app| {
        StatusLists::of(app).refresh(app).await.map_err(Into::into)
    });
    let purge = every("cleanup", PURGE_EVERY, app.clone(), async |app| {
        idempotency::purge(app).await?;
        erase::expire(app).await?;
        sessions::forget(app).await?;
        console_links::forget(app).await?;
        tenures::forget(app).await?;
        deliveries::forget(app).await?;
        notices::forget(app).await?;
        issuance_days::close(app).await?;
        status_lists::retire(app).await
    });
    let leases = every("leases", LEASES_EVERY, app.clone(), async |app| {
        skew::measure(app).await?;
        hours::flush(app).await
    });
    let lease_hours = every("lease_hours", LEASE_HOURS_EVERY, app.clone(), hours::compute);
    let cycles = every("budget_cycles", CYCLES_EVERY, app.clone(), renewal::renew);
    let notices = every("notices", NOTICES_EVERY, app.clone(), notices::announce);
    let log = every("checkpoint", LOG_EVERY, app.clone(), integrator::sign);
    let metrics = every("metrics", METRICS_EVERY, app.clone(), async |app| {
        monitoring::refresh(app).await?;
        deliveries::measure(app).await
    });
    Jobs(vec![
        tokio::spawn(keys),
        tokio::spawn(rotation),
        tokio::spawn(status),
        tokio::spawn(purge),
        tokio::spawn(leases),
        tokio::spawn(lease_hours),
        tokio::spawn(cycles),
        tokio::spawn(notices),
        tokio::spawn(log),
        tokio::spawn(metrics),
        tokio::spawn(integrator::run(app.clone())),
        tokio::spawn(sending::run(app.clone())),
    ])
}

async fn every(
    name: &'static str,
    period: Duration,
    app: App,
    job: impl AsyncFn(&App) -> anyhow::Result<()>,
) {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // The database may be down for some time, and a failure may be transient: the next tick
        // tries again.
        let done = AssertUnwindSafe(job(&app)).catch_unwind().await;
        counts::ran(name, matches!(done, Ok(Ok(()))));
        match done {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(job = name, %error, "a job did not finish"),
            Err(_) => tracing::error!(job = name, "a job panicked"),
        }
    }
}
