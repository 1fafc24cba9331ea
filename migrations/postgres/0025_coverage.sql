-- What coverage leaves on the tokens: their status list says that they are suspended before
-- covered_from, and from covered_until on.
ALTER TABLE bundles ADD COLUMN covered_from TIMESTAMPTZ;
ALTER TABLE bundles ADD COLUMN covered_until TIMESTAMPTZ;
CREATE INDEX bundles_covered_until ON bundles (status_list_id, covered_until) WHERE covered_until IS NOT NULL;
CREATE INDEX bundles_covered_from ON bundles (status_list_id, covered_from) WHERE covered_from IS NOT NULL;
CREATE INDEX licenses_deployment ON licenses (deployment_id);

-- The end of coverage: the earliest end of license, subscription and trial, with the days of grace.
-- A day has 24 hours, whatever the session's time zone is.
UPDATE licenses SET over_at = LEAST(
    LEAST(licenses.valid_until, s.ends_at, CASE WHEN s.status = 'trialing' THEN s.trial_ends_at END)
        + make_interval(hours => 24 * licenses.grace_days::INTEGER),
    '9999-12-31T23:59:59.999999+00:00'::TIMESTAMPTZ)
FROM subscriptions s
WHERE s.id = licenses.subscription_id
  AND LEAST(licenses.valid_until, s.ends_at, CASE WHEN s.status = 'trialing' THEN s.trial_ends_at END) IS NOT NULL;

UPDATE bundles SET covered_until = l.over_at
FROM licenses l WHERE l.id = bundles.license_id AND l.over_at < bundles.over_at;
UPDATE bundles SET covered_from = GREATEST(l.valid_from, s.starts_at)
FROM licenses l JOIN subscriptions s ON s.id = l.subscription_id
WHERE l.id = bundles.license_id AND GREATEST(l.valid_from, s.starts_at) > bundles.issued_at;
UPDATE bundles SET covered_until = '1970-01-01T00:00:00+00:00' WHERE license_id IN (
    SELECT l.id FROM licenses l
    JOIN organizations o ON o.id = l.organization_id
    JOIN deployments d ON d.id = l.deployment_id
    JOIN subscriptions s ON s.id = l.subscription_id
    WHERE o.status <> 'active' OR d.status <> 'active' OR l.status <> 'active'
       OR s.status IN ('paused', 'canceled', 'expired'));
UPDATE status_lists SET version = version + 1;
