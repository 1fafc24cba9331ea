//! Every line of the table of operations, so that none is forgotten: who gets in, and what a
//! change leaves behind.

mod authorization;
mod bola;
mod documented;
mod escalation;
pub mod examples;
mod foreign;
mod trail;
