//! What has an end that is announced.

/// A kind of ends.
pub struct Subject {
    /// The kind of the notices: one subject may have several ends.
    pub kind: &'static str,
    pub(super) noun: &'static str,
    /// The event some days before the end.
    pub(super) before: Option<&'static str>,
    /// The event at the end.
    pub(super) at_end: Option<&'static str>,
    /// The days before the end; those of the settings when `None`.
    pub(super) days: Option<&'static [i64]>,
    /// Whether the end is that of a wait for a contact, which is not possible while the server is down.
    pub(super) waits: bool,
    /// The subjects that follow the end `$1` and the ID `$2`, with an end until `$3`, that have no notice
    /// of the kind `$4` which is still good at `$5`.
    pub sql: &'static str,
}

/// Builds the statement: the table, the column of the end, and a condition of the rows.
macro_rules! ends {
    ($table:literal, $end:literal, $condition:literal) => {
        ends!($table, $end, $condition, "NULL AS target, NULL AS shown_at, NULL AS seen_at", "")
    };
    ($table:literal, $end:literal, $condition:literal, $more:literal, $join:literal) => {
        concat!(
            "SELECT s.id, s.organization_id, s.created_at, s.",
            $end,
            " AS ends_at, o.settings, ",
            $more,
            " FROM ",
            $table,
            " s LEFT JOIN organizations o ON o.id = s.organization_id ",
            $join,
            " WHERE (s.",
            $end,
            ", s.id) > ($1, $2) AND s.",
            $end,
            " <= $3 AND ",
            $condition,
            "
               AND NOT EXISTS (SELECT 1 FROM notices n
                               WHERE n.subject = s.id AND n.kind = $4 AND n.basis = s.",
            $end,
            "
                                 AND (n.next_at IS NULL OR n.next_at > $5))
             ORDER BY s.",
            $end,
            ", s.id LIMIT $6"
        )
    };
}

pub const SUBJECTS: &[Subject] = &[
    Subject {
        kind: "licenses",
        noun: "license",
        before: Some("licenses.expiring"),
        at_end: Some("licenses.expire"),
        days: None,
        waits: false,
        sql: ends!("licenses", "valid_until", "s.status <> 'revoked'"),
    },
    Subject {
        kind: "licenses.grace",
        noun: "license",
        before: None,
        at_end: Some("licenses.grace_end"),
        days: Some(&[]),
        waits: false,
        sql: ends!("licenses", "over_at", "s.status <> 'revoked' AND s.grace_days > 0"),
    },
    Subject {
        kind: "subscriptions",
        noun: "subscription",
        before: Some("subscriptions.ending"),
        at_end: Some("subscriptions.end"),
        days: None,
        waits: false,
        sql: ends!("subscriptions", "ends_at", "TRUE"),
    },
    Subject {
        kind: "subscriptions.trial",
        noun: "subscription",
        before: Some("subscriptions.trial_ending"),
        at_end: Some("subscriptions.trial_end"),
        days: Some(&[7, 3, 1]),
        waits: false,
        sql: ends!("subscriptions", "trial_ends_at", "s.status = 'trialing'"),
    },
    Subject {
        kind: "service_tokens",
        noun: "service token",
        before: Some("service_tokens.expiring"),
        at_end: None,
        days: Some(&[30, 7, 1]),
        waits: false,
        sql: ends!("service_tokens", "expires_at", "s.revoked_at IS NULL"),
    },
    Subject {
        kind: "license_keys",
        noun: "license key",
        before: Some("license_keys.expiring"),
        at_end: None,
        days: Some(&[30, 7]),
        waits: false,
        sql: ends!("license_keys", "expires_at", "s.revoked_at IS NULL"),
    },
    Subject {
        kind: "bundles",
        noun: "bundle",
        before: None,
        at_end: Some("bundles.expiring"),
        days: Some(&[]),
        waits: false,
        sql: ends!(
            "licenses",
            "bundle_expiring_at",
            "s.status <> 'revoked' AND b.status <> 'revoked' AND b.expires_at > $5",
            "b.id AS target, b.expires_at AS shown_at, NULL AS seen_at",
            "JOIN bundles b ON b.id = s.bundle_id"
        ),
    },
    Subject {
        kind: "deployments",
        noun: "deployment",
        before: None,
        at_end: Some("deployments.silent"),
        days: Some(&[]),
        waits: true,
        sql: ends!(
            "deployments",
            "silent_at",
            "s.status = 'active'",
            "NULL AS target, NULL AS shown_at, s.last_seen_at AS seen_at",
            ""
        ),
    },
];
