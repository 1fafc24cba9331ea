//! `cp-server lease …`

use clap::Subcommand;
use clap_complete::engine::ArgValueCompleter;
use serde_json::json;

use super::completion::of_positional;
use super::license::{span, write_member};
use super::target::{Target, object_of};
use crate::config::Config;

#[derive(Subcommand)]
pub(super) enum Lease {
    /// Borrow a seat for a machine without a network, and write its lease token
    Borrow {
        /// The time of the borrowing, such as 30d
        #[arg(long, value_parser = span)]
        seconds: i64,
        /// The ID of the lease
        #[arg(add = ArgValueCompleter::new(of_positional("leases.read", "id")))]
        id: String,
        /// The output file, or -; standard output by default.
        #[arg(long, short)]
        output: Option<String>,
    },
}

pub(super) async fn run(config: &Config, target: &Target, lease: Lease) -> anyhow::Result<()> {
    let Lease::Borrow { seconds, id, output } = lease;
    let args = object_of(json!({"id": id, "seconds": seconds}));
    write_member(config, target, ("leases.borrow", args), "token", output, |answer| {
        let until = answer["borrowed_until"].as_str().unwrap_or_default();
        format!("is the lease token; the seat is borrowed until {until}")
    })
    .await
}
