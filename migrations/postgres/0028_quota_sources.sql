-- Where the limit of a quota comes from, and what the plan grants below an override.
ALTER TABLE quotas ADD COLUMN source TEXT COLLATE "C" NOT NULL DEFAULT 'plan'
    CHECK (source IN ('plan', 'seat_cap', 'default', 'override', 'none'));
ALTER TABLE quotas ADD COLUMN granted BIGINT CHECK (granted >= 0);
ALTER TABLE quotas ADD COLUMN granted_from TEXT COLLATE "C" NOT NULL DEFAULT 'plan'
    CHECK (granted_from IN ('plan', 'seat_cap', 'default', 'none'));

-- A metric that the plan leaves out had the free plan's number. It is not limited, and members
-- follow the seats.
UPDATE quotas SET source = 'none', quantity = NULL
WHERE EXISTS (SELECT 1 FROM subscriptions s
              JOIN plan_versions v ON v.plan_id = s.plan_id AND v.version = s.plan_version
              WHERE s.organization_id = quotas.organization_id AND s.status NOT IN ('canceled', 'expired')
                AND NOT jsonb_exists(v.limits, quotas.metric));
UPDATE quotas SET source = 'seat_cap',
    quantity = (SELECT s.seat_cap FROM subscriptions s
                WHERE s.organization_id = quotas.organization_id AND s.status NOT IN ('canceled', 'expired'))
WHERE metric = 'members' AND source = 'none';
-- Metrics that came later than the organization's plan.
WITH metrics (metric) AS (VALUES
    ('projects'), ('concurrent_runs'), ('runs_per_month'), ('api_calls_per_month'), ('storage_bytes'),
    ('members'), ('artifacts_per_run'), ('compute_minutes_per_month'), ('artifact_retention_days'),
    ('requests_per_minute'))
INSERT INTO quotas (organization_id, metric, quantity, source, held, held_since)
    SELECT s.organization_id, m.metric, CASE WHEN m.metric = 'members' THEN s.seat_cap END,
           CASE WHEN m.metric = 'members' THEN 'seat_cap' ELSE 'none' END, 0, '1970-01-01T00:00:00Z'::TIMESTAMPTZ
    FROM subscriptions s CROSS JOIN metrics m
    WHERE s.status NOT IN ('canceled', 'expired')
      AND NOT EXISTS (SELECT 1 FROM quotas q WHERE q.organization_id = s.organization_id AND q.metric = m.metric);
UPDATE quotas SET granted = quantity, granted_from = source;
