//! Every line of the table of operations, so that none is forgotten: who gets in, and what a
//! change leaves behind.

mod authorization;
mod bola;
mod documented;
mod escalation;
pub mod examples;
mod foreign;
mod plans;
mod scale;
mod trail;

use cp_server::kernel::http::line::Line;

use crate::world::Answer;

/// Whether a refusal has this member. The form of another protocol has no codes, and its text names
/// the rest.
pub fn has(line: &Line, refusal: &Answer, member: &str, value: &str) -> bool {
    let refusal = refusal.json();
    match line.protocol {
        None => refusal[member] == value,
        Some(_) => member == "code" || refusal["detail"].as_str().unwrap().contains(value),
    }
}
