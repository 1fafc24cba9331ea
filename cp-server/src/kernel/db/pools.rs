//! The state of the pools of connections.

use super::direct::Readers;

/// The connections of a pool, for the metrics.
pub struct PoolState {
    pub name: &'static str,
    pub most: u32,
    pub idle: u32,
    pub used: u32,
}

impl PoolState {
    pub(super) fn of_readers(read: &Readers) -> Self {
        Self { name: "read", most: read.most(), idle: read.unused(), used: read.used() }
    }

    pub(super) fn of<D: sqlx::Database>(name: &'static str, pool: &sqlx::Pool<D>) -> Self {
        let (open, idle) = (pool.size(), u32::try_from(pool.num_idle()).unwrap_or(u32::MAX));
        let most = pool.options().get_max_connections();
        // Both numbers are read one after the other.
        Self { name, most, idle, used: open.saturating_sub(idle) }
    }
}
