//! Notices: events that announce ends, levels and silence, which no request causes.
//!
//! # Design
//! A job of every replica looks for what is due. A notice and its event are one transaction, and a unique
//! index or a revision lets one replica write it. So each is announced once for each basis, also after the
//! job stood still: then only the nearest threshold is announced. Another end, or another limit, is
//! announced again.
//!
//! `subjects.rs` lists what has ends, and `ends.rs` looks for them. `levels.rs` decides about percentages
//! of pools and limits, which `leases.rs` and `limits.rs` read. `keys.rs` announces the rotation of the
//! signing key. `rows.rs` writes notices with their events, and `runs.rs` has the runs of this job.

mod ends;
mod keys;
pub mod leases;
mod levels;
mod limits;
mod rows;
mod runs;
pub mod settings;
pub mod subjects;

use chrono::TimeDelta;

use crate::kernel::app::App;
use crate::kernel::declaration::{Declaration, Export, Happening};

pub static DECLARATION: Declaration = Declaration::of_organization(
    "notices",
    "notice",
    Export::LeftOut("the audit events are exported, which have every notice"),
)
.notices(&[
    Happening { action: "licenses.expiring", doc: "A license ends in some days." },
    Happening {
        action: "licenses.expire",
        doc: "A license has reached its end; its grace begins.",
    },
    Happening { action: "licenses.grace_end", doc: "The grace of a license has ended." },
    Happening { action: "subscriptions.ending", doc: "A subscription ends in some days." },
    Happening { action: "subscriptions.end", doc: "A subscription has ended." },
    Happening { action: "subscriptions.trial_ending", doc: "A trial ends in some days." },
    Happening { action: "subscriptions.trial_end", doc: "A trial has ended." },
    Happening { action: "service_tokens.expiring", doc: "A service token ends in some days." },
    Happening { action: "license_keys.expiring", doc: "A license key ends in some days." },
    Happening {
        action: "bundles.expiring",
        doc: "The newest token of a license has a tenth of its life left.",
    },
    Happening {
        action: "deployments.silent",
        doc: "A deployment has missed three check-ins, or has sent no usage report for 100 days.",
    },
    Happening {
        action: "signing_keys.rotation_due",
        doc: "The active signing key is replaced in 7 days.",
    },
]);

pub static LEVELS: Declaration = Declaration::of_organization(
    "notice_levels",
    "notice level",
    Export::LeftOut("the audit events are exported, which have every notice"),
)
.notices(&[
    Happening {
        action: "leases.near_cap",
        doc: "The leases of a pool have reached a percentage of its cap.",
    },
    Happening {
        action: "leases.exhausted",
        doc: "A pool has refused a seat, for the first time in an hour.",
    },
    Happening {
        action: "leases.overage",
        doc: "A seat beyond the cap of a pool was taken, for the first time on a day.",
    },
    Happening { action: "limits.near", doc: "The usage has reached a percentage of a limit." },
    Happening { action: "limits.reach", doc: "The usage has reached a limit." },
]);

/// How often pools and limits are read.
const POOLS_EVERY: TimeDelta = TimeDelta::seconds(60);
const LIMITS_EVERY: TimeDelta = TimeDelta::minutes(5);

/// Announces what is due. Every replica may call it.
pub async fn announce(app: &App) -> anyhow::Result<()> {
    let begun = runs::begun(app).await?;
    let running_since = runs::beat(app).await?;
    ends::announce(app, begun, running_since).await?;
    keys::announce(app).await?;
    leases::announce_refusals(app, begun).await?;
    leases::announce_overages(app, begun).await?;
    if runs::take(app, "pools", POOLS_EVERY).await? {
        leases::announce_levels(app).await?;
    }
    if runs::take(app, "limits", LIMITS_EVERY).await? {
        limits::announce(app).await?;
    }
    Ok(())
}

/// Deletes notices of what is long past.
pub async fn forget(app: &App) -> anyhow::Result<()> {
    let now = app.clock.now();
    rows::forget(app, now).await?;
    levels::forget(app, now).await?;
    Ok(())
}
