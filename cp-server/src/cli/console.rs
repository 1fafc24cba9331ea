//! `cp-server console …`

use clap::Subcommand;

use super::target::say;
use crate::config::Config;
use crate::config::installation::Purpose;
use crate::identity::console_links;
use crate::kernel::text::Email;

#[derive(Subcommand)]
pub(super) enum Console {
    /// Print a link that signs a person in at the web console. It works once, for 15 minutes
    Link {
        /// The e-mail address of the person. By default, the operator's own user, a superadmin,
        /// which the first link creates
        #[arg(long, value_name = "EMAIL", value_parser = email)]
        user: Option<Email>,
    },
}

pub(super) async fn run(config: &Config, console: Console) -> anyhow::Result<()> {
    let Console::Link { user } = console;
    let app = config.open(Purpose::Calling).await?;
    let created = console_links::create(&app, user.as_ref()).await;
    app.db.close().await;
    say(created?.url.expose())
}

fn email(text: &str) -> Result<Email, String> {
    text.parse()
}
