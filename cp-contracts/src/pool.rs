//! Pools: the named numbers of seats of a license.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::open_enum::open_enum;

/// A pool of seats inside the claims of a license token. Since 2.10.0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PoolClaims {
    /// The kind of the pool.
    pub kind: PoolKind,
    /// The number of seats; null is unlimited.
    pub cap: Option<i64>,
    /// Members that this version does not name.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

open_enum! {
    /// The kind of a pool. Since 2.10.0.
    PoolKind {
        /// For people.
        Seat = "seat",
        /// For machines.
        Node = "node",
        /// For any holder, for a short time.
        Floating = "floating",
    }
}
