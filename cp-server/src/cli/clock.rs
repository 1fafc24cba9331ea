//! `cp-server clock`

use clap::Subcommand;

use super::target::say;
use crate::config::Config;
use crate::config::installation::Purpose;
use crate::kernel::text::Explanation;
use crate::licensing::clock;

#[derive(Subcommand)]
pub(super) enum Clock {
    /// Continue status lists and license files from this machine's clock, which was ahead before.
    /// Otherwise the server signs no list while the newest one is more than a day ahead.
    Accept {
        /// The reason; the audit log records it.
        #[arg(long)]
        reason: Explanation,
    },
}

pub(super) async fn run(config: &Config, clock: Clock) -> anyhow::Result<()> {
    let Clock::Accept { reason } = clock;
    let app = config.open(Purpose::Calling).await?;
    let done = clock::accept(&app, reason.as_str()).await;
    let now = app.clock.now();
    app.db.close().await;
    say(&format!(
        "{} status lists continue from {}. A data plane that received one from the time ahead keeps \
         it until then.",
        done?,
        now.to_rfc3339()
    ))
}
