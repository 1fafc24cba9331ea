//! The native module of the npm package `dp-verifier`.
//!
//! `index.js` wraps these classes, and `index.d.ts` has the public types. An error's message is the JSON
//! of its failure, which `index.js` turns into a class of errors.

mod leases;
mod license;
pub mod state;
mod task;
mod verifier;
