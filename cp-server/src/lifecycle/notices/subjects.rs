//! What has an end that is announced.

/// A kind of ends.
pub(super) struct Subject {
    /// The kind of the notices: one subject may have several ends.
    pub(super) kind: &'static str,
    pub(super) noun: &'static str,
    /// The event some days before the end.
    pub(super) before: Option<&'static str>,
    /// The event at the end.
    pub(super) at_end: Option<&'static str>,
    /// The days before the end; those of the settings when `None`.
    pub(super) days: Option<&'static [i64]>,
    /// The subjects that follow the end `$1` and the ID `$2`, with an end until `$3`, that have no notice
    /// of the kind `$4` which is still good at `$5`.
    pub(super) sql: &'static str,
}

/// Builds the statement: the table, the column of the end, and a condition of the rows.
macro_rules! ends {
    ($table:literal, $end:literal, $condition:literal) => {
        concat!(
            "SELECT s.id, s.organization_id, s.created_at, s.",
            $end,
            " AS ends_at, o.settings
             FROM ",
            $table,
            " s LEFT JOIN organizations o ON o.id = s.organization_id
             WHERE (s.",
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

pub(super) const SUBJECTS: &[Subject] = &[
    Subject {
        kind: "licenses",
        noun: "license",
        before: Some("licenses.expiring"),
        at_end: Some("licenses.expire"),
        days: None,
        sql: ends!("licenses", "valid_until", "s.status <> 'revoked'"),
    },
    Subject {
        kind: "licenses.grace",
        noun: "license",
        before: None,
        at_end: Some("licenses.grace_end"),
        days: Some(&[]),
        sql: ends!("licenses", "over_at", "s.status <> 'revoked' AND s.grace_days > 0"),
    },
    Subject {
        kind: "subscriptions",
        noun: "subscription",
        before: Some("subscriptions.ending"),
        at_end: Some("subscriptions.end"),
        days: None,
        sql: ends!("subscriptions", "ends_at", "TRUE"),
    },
    Subject {
        kind: "subscriptions.trial",
        noun: "subscription",
        before: Some("subscriptions.trial_ending"),
        at_end: Some("subscriptions.trial_end"),
        days: Some(&[7, 3, 1]),
        sql: ends!("subscriptions", "trial_ends_at", "s.status = 'trialing'"),
    },
    Subject {
        kind: "service_tokens",
        noun: "service token",
        before: Some("service_tokens.expiring"),
        at_end: None,
        days: Some(&[30, 7, 1]),
        sql: ends!("service_tokens", "expires_at", "s.revoked_at IS NULL"),
    },
    Subject {
        kind: "license_keys",
        noun: "license key",
        before: Some("license_keys.expiring"),
        at_end: None,
        days: Some(&[30, 7]),
        sql: ends!("license_keys", "expires_at", "s.revoked_at IS NULL"),
    },
];
