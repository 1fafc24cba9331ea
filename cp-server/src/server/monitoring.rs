//! The metrics that are read from the application's state, for `/metrics`.
//!
//! # Design
//! A scrape reads memory only, so it works and stays cheap while the database is down. A job reads
//! the database for the metrics that need it, within a time limit. When the database does not
//! answer, these metrics keep their last values and `cp_database_up` becomes 0.

use std::time::Duration;

use anyhow::Context;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use metrics::gauge;

use crate::audit;
use crate::backup;
use crate::kernel::app::{App, Part};
use crate::kernel::error::Result;
use crate::kernel::http::raw::Raw;
use crate::licensing::keys::keyring::Keyring;
use crate::telemetry;

/// How long the job waits for the database.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn metrics(raw: Raw) -> Result<Response> {
    observe(&raw.app);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], telemetry::render()).into_response())
}

/// Sets the metrics of the state in memory.
fn observe(app: &App) {
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("database", app.db.name())];
    gauge!("cp_build_info", &labels).set(1.0);
    for pool in app.db.pools() {
        let states = [("idle", pool.idle), ("used", pool.used)];
        for (state, count) in states {
            gauge!("cp_database_connections", "pool" => pool.name, "state" => state).set(count);
        }
        gauge!("cp_database_connections_max", "pool" => pool.name).set(pool.most);
    }
    let keyring = Keyring::of(app);
    if let Some(at) = keyring.activated_at() {
        gauge!("cp_signing_key_age_seconds").set(seconds(app.clock.now() - at));
    }
    if let Some(at) = keyring.next_rotation_at() {
        gauge!("cp_signing_key_next_rotation_timestamp_seconds").set(timestamp(at));
    }
}

/// Reads the metrics of the state in the database.
pub async fn refresh(app: &App) -> anyhow::Result<()> {
    let read = tokio::time::timeout(PATIENCE, read(app)).await;
    let read = read.context("the database did not answer in time").flatten();
    gauge!("cp_database_up").set(if read.is_ok() { 1.0 } else { 0.0 });
    read
}

async fn read(app: &App) -> anyhow::Result<()> {
    let mut tx = app.db.read();
    let log = audit::progress(&mut tx).await?;
    let backup = backup::last(&mut tx).await?;
    drop(tx);
    gauge!("cp_log_entries").set(log.size as f64);
    gauge!("cp_log_checkpoint_entries").set(log.signed as f64);
    let waiting = log.waiting_since.map_or(TimeDelta::zero(), |since| app.clock.now() - since);
    gauge!("cp_log_waiting_seconds").set(seconds(waiting));
    if let Some(at) = backup {
        gauge!("cp_last_backup_timestamp_seconds").set(timestamp(at));
    }
    Ok(())
}

fn timestamp(at: DateTime<Utc>) -> f64 {
    at.timestamp() as f64
}

/// Returns a span of time in seconds; 0 if a clock was set back.
fn seconds(span: TimeDelta) -> f64 {
    span.num_milliseconds().max(0) as f64 / 1000.0
}
