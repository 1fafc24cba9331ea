//! Issuance: what a request for a bundle says.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::kernel::http::json::Between;
use crate::kernel::text::Name;

/// From an hour to ten years.
pub type Ttl = Between<3600, 315_360_000>;

#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBundle {
    /// At most until the end of license, subscription and trial, with the license's days of grace. 30
    /// days, or the server's setting, when absent.
    pub ttl_seconds: Option<Ttl>,
    /// The server's setting when absent.
    pub audience: Option<Name>,
    /// How old a status list may be before the data plane does what `on_stale` says, in seconds;
    /// the server's setting when absent, and 100 days in a file.
    pub status_max_age_seconds: Option<Between<60, 315_360_000>>,
    /// What a data plane does without a status list that is young enough; the server's setting when
    /// absent.
    pub on_stale: Option<OnStale>,
    /// For how long after its end the token still works, in seconds, but never longer than the
    /// license is covered; the server's setting when absent.
    pub grace_seconds: Option<Between<0, 7_776_000>>,
    /// `token` when absent.
    pub form: Option<Form>,
    /// Whether the answer has the proof that the token's issuance is in the log, as `proof`: a text
    /// (C2SP tlog-proof). A file always has it.
    pub proof: Option<Proof>,
}

crate::text_enum! {
    /// Whether an answer proves what it tells of.
    Proof {
        /// It waits until the log has it.
        Wait = "wait",
    }
}

crate::text_enum! {
    /// What a bundle is for.
    Form {
        /// The token alone, for a data plane that can fetch keys and status lists.
        Token = "token",
        /// Also a file for a data plane that cannot.
        File = "file",
    }
}

crate::text_enum! {
    /// What a data plane does with a license whose status it could not refresh in time.
    OnStale {
        /// Go on as if it were valid.
        Allow = "allow",
        /// Go on, and say so in the license's state.
        Degrade = "degrade",
        /// Refuse.
        Block = "block",
    }
}
