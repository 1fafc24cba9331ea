//! What the benchmarks share.
#![expect(dead_code, reason = "each benchmark uses its part")]

pub(super) mod connection;
pub(super) mod governed;
pub(super) mod local;
pub(super) mod network;
pub(super) mod process;
pub(super) mod rounds;
pub(super) mod rows;
