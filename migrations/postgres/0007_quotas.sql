-- How much an organization may have of each metric: copied from its plan.
CREATE TABLE quotas (
    organization_id UUID NOT NULL REFERENCES organizations (id),
    metric TEXT COLLATE "C" NOT NULL,
    -- NULL is unlimited.
    quantity BIGINT CHECK (quantity >= 0),
    -- What is held of a gauge; metrics that are counted from rows hold nothing here.
    held BIGINT NOT NULL CHECK (held >= 0),
    -- The beginning of the month that a monthly metric is held of.
    held_since TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (organization_id, metric)
);
INSERT INTO quotas (organization_id, metric, quantity, held, held_since)
    SELECT s.organization_id, l.key, (l.value #>> '{}')::bigint, 0, '1970-01-01T00:00:00Z'
    FROM subscriptions s
    JOIN plan_versions v ON v.plan_id = s.plan_id AND v.version = s.plan_version,
         jsonb_each(v.limits) l
    WHERE s.status IN ('trialing', 'active', 'past_due', 'paused')
      AND l.key IN ('projects', 'concurrent_runs', 'runs_per_month', 'api_calls_per_month', 'storage_bytes',
                    'members', 'artifacts_per_run', 'compute_minutes_per_month', 'artifact_retention_days',
                    'requests_per_minute');

-- Whether nobody chose the plan: such a subscription gives way to the first that somebody does.
ALTER TABLE subscriptions ADD COLUMN by_default BOOLEAN NOT NULL DEFAULT FALSE;
