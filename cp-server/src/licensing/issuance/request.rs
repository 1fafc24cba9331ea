//! The request for a bundle.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::kernel::http::json::Between;
use crate::kernel::text::Name;

/// A token's lifetime in seconds, from one hour to ten years.
pub type Ttl = Between<3600, 315_360_000>;

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBundle {
    /// The token's lifetime in seconds, at most until the end of license, subscription and trial
    /// with the license's days of grace. When absent, the license's effective `token_ttl_seconds`
    /// (30 days by default).
    pub ttl_seconds: Option<Ttl>,
    /// The token's audience. The server's setting when absent.
    pub audience: Option<Name>,
    /// The maximum age of a status list in seconds; the data plane applies `on_stale` after it. The
    /// server's setting when absent; 100 days in a file.
    pub status_max_age_seconds: Option<Between<60, 315_360_000>>,
    /// The data plane's behavior when its status list is too old. The server's setting when absent.
    pub on_stale: Option<OnStale>,
    /// The time in seconds for which the token still works after its end, but never longer than the
    /// license is covered. The server's setting when absent.
    pub grace_seconds: Option<Between<0, 7_776_000>>,
    /// The form of the answer. `token` when absent.
    pub form: Option<Form>,
    /// Whether the answer contains `proof`, the proof that the token's issuance is in the log: a
    /// string (C2SP tlog-proof). A file always contains it.
    pub proof: Option<Proof>,
}

crate::text_enum! {
    /// Whether an answer contains a proof of its event.
    Proof {
        /// The answer waits until the log contains the event.
        Wait = "wait",
    }
}

crate::text_enum! {
    /// The purpose of a bundle.
    Form {
        /// The token alone, for a data plane that can fetch keys and status lists.
        Token = "token",
        /// Also a file, for a data plane without a network.
        File = "file",
    }
}

crate::text_enum! {
    /// A data plane's behavior for a license whose status it could not refresh in time.
    OnStale as "StalePolicy" {
        /// Treat the license as valid.
        Allow = "allow",
        /// Treat the license as valid, and report the old status in the license's state.
        Degrade = "degrade",
        /// Refuse the license.
        Block = "block",
    }
}
