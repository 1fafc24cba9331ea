//! What changes of licenses and tokens do outside, in words for people.

/// What a change of a license does outside, and when data planes know it.
const EFFECTS: [(&str, &str); 7] = [
    (
        "licenses.suspend",
        "Its data plane refuses the license until it is reinstated. With a network, the data plane \
         knows it within minutes; without one, with its next file.",
    ),
    (
        "licenses.reinstate",
        "Its tokens work again. With a network, the data plane knows it within minutes; without one, \
         with its next file.",
    ),
    (
        "licenses.revoke",
        "The license and all its tokens never work again. With a network, the data plane knows it \
         within minutes; without one, with its next file.",
    ),
    (
        "licenses.renew",
        "The license ends later. Its tokens keep their ends: issue a new one, or let the data plane \
         check in.",
    ),
    (
        "licenses.transfer",
        "The license belongs to another deployment. The tokens of the old one are revoked.",
    ),
    (
        "bundles.revoke",
        "This token never works again; the license stays as it is. Issue another token for its data \
         plane.",
    ),
    (
        "bundles.issue",
        "The token is signed with what the license grants now. A file is for a data plane without a \
         network: it also has the keys, the status list and the proof that the token is in the log.",
    ),
];

/// Returns what a form says about its change.
pub(super) fn of(operation: &str) -> Option<&'static str> {
    EFFECTS.iter().find(|(name, _)| *name == operation).map(|(_, effect)| *effect)
}
