//! Leases: who holds a seat of a license.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::PoolKind;
use crate::open_enum::open_enum;

/// A lease: one tenure of one holder on one seat of a pool. Since 2.10.0.
///
/// An ended lease stays ended; the next tenure of the same holder has another ID.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Lease {
    /// The lease's id.
    pub id: Uuid,
    /// The license whose seat it is.
    pub license_id: Uuid,
    /// The license's deployment.
    pub deployment_id: Uuid,
    /// The pool, such as `seats`.
    pub pool: String,
    /// The kind of the pool.
    pub kind: PoolKind,
    /// The number of the seat, from 1.
    pub seat: i64,
    /// The holder.
    pub holder: LeaseHolder,
    /// The caller's own description of the holder.
    pub label: Option<String>,
    /// The caller's own values.
    pub meta: BTreeMap<String, String>,
    /// Whether the holder has the seat.
    pub state: LeaseState,
    /// The start of the tenure.
    pub acquired_at: DateTime<Utc>,
    /// The last claim or heartbeat.
    pub heartbeat_at: DateTime<Utc>,
    /// The end without another heartbeat; null for a lease that lasts until its release.
    pub expires_at: Option<DateTime<Utc>>,
    /// The instant of the next heartbeat.
    pub next_at: DateTime<Utc>,
    /// Before this instant a heartbeat changes nothing.
    pub not_before: DateTime<Utc>,
    /// The end of the borrowing; null when the lease is not borrowed.
    pub borrowed_until: Option<DateTime<Utc>>,
    /// Whether the seat is beyond the pool's cap.
    pub overage: bool,
    /// The instant at which the lease ended; null while it is live.
    pub ended_at: Option<DateTime<Utc>>,
    /// The reason for the end; null while the lease is live.
    pub end: Option<LeaseEnd>,
    /// The lease token, in the answers to requests with `token: true`. It is a credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The holder of a lease. Since 2.10.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LeaseHolder {
    /// The kind of the holder.
    pub kind: HolderKind,
    /// The person, when the holder is a known one.
    pub user_id: Option<Uuid>,
    /// The hash of the holder: base64url of the first 16 bytes of SHA-256 over
    /// `<license_id>:<kind>:<text>`. It reveals neither a name nor a fingerprint.
    pub hash: String,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

open_enum! {
    /// The kind of a lease's holder. Since 2.10.0.
    HolderKind {
        /// A person of the organization, by the ID.
        User = "user",
        /// A person that only an e-mail address identifies.
        Email = "email",
        /// A person that only a subject at a provider identifies.
        Subject = "subject",
        /// A machine, by its fingerprint.
        Fingerprint = "fingerprint",
        /// Any string of the caller.
        Id = "id",
    }
}

open_enum! {
    /// The state of a lease. Since 2.10.0.
    LeaseState {
        /// The holder has the seat.
        Live = "live",
        /// The tenure has ended.
        Over = "over",
    }
}

open_enum! {
    /// The reason for the end of a lease. Since 2.10.0.
    LeaseEnd {
        /// The holder, or an administrator, released the seat.
        Released = "released",
        /// No heartbeat came in time.
        Expired = "expired",
        /// A borrowed lease was returned.
        Returned = "returned",
        /// Another holder took the seat over.
        TakenOver = "taken_over",
        /// All leases of the pool were ended.
        Reset = "reset",
        /// The license is not in force, or the person is not an active member.
        LicenseOver = "license_over",
    }
}
