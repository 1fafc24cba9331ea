//! What can be done with several things of a list at once.

use super::view::View;

/// The path of the page that asks and acts.
pub(super) const PATH: &str = "/licenses/selected";
/// What can be done with several licenses.
pub(super) struct Act {
    pub(super) name: &'static str,
    pub(super) operation: &'static str,
    /// What the page says before.
    pub(super) about: &'static str,
    pub(super) takes_reason: bool,
    /// Whether it cannot be undone.
    pub(super) is_final: bool,
}

pub(super) const ACTS: [Act; 4] = [
    Act {
        name: "issue",
        operation: "bundles.issue",
        about: "Each license gets a new token. The tokens are shown once, on the next page.",
        takes_reason: false,
        is_final: false,
    },
    Act {
        name: "suspend",
        operation: "licenses.suspend",
        about: "Data planes refuse these licenses until they are reinstated.",
        takes_reason: true,
        is_final: false,
    },
    Act {
        name: "reinstate",
        operation: "licenses.reinstate",
        about: "Data planes accept these licenses again.",
        takes_reason: false,
        is_final: false,
    },
    Act {
        name: "revoke",
        operation: "licenses.revoke",
        about: "Revocation is permanent: these licenses and their tokens never work again.",
        takes_reason: true,
        is_final: true,
    },
];

/// Returns what the caller may do with several things of a list.
pub(super) fn acts(view: &View, thing: Option<&str>) -> Vec<&'static Act> {
    match thing {
        Some("/licenses/{id}") => ACTS.iter().filter(|act| view.may(act.operation)).collect(),
        _ => Vec::new(),
    }
}
