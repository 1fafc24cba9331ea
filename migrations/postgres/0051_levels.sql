-- The percentages of a pool's cap or of a limit that were announced: one row for each pool or limit.
CREATE TABLE notice_levels (
    subject UUID NOT NULL,
    kind TEXT NOT NULL,
    organization_id UUID NOT NULL REFERENCES organizations (id),
    -- The cap or the limit, and its window. Another one is announced again.
    basis TEXT NOT NULL,
    -- The highest percentage that was announced and is still reached; 0 is none.
    level BIGINT NOT NULL,
    -- Each change adds 1, so that of two replicas one announces.
    revision BIGINT NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (subject, kind)
);
CREATE INDEX notice_levels_organization ON notice_levels (organization_id);
CREATE INDEX notice_levels_updated_at ON notice_levels (updated_at);

-- The runs of the jobs that look for notices.
CREATE TABLE notice_runs (
    name TEXT NOT NULL PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL,
    -- The instant from which the job has run without a pause.
    since TIMESTAMPTZ NOT NULL
);

-- The percentages of a limit at which it is announced; null is none.
ALTER TABLE usage_limits ADD COLUMN notify_at JSONB;
CREATE INDEX usage_limits_notify_at ON usage_limits (id) WHERE notify_at IS NOT NULL;

-- First refusals and seats beyond the cap: the notices look for them.
CREATE INDEX lease_hours_refused ON lease_hours (starts_at) WHERE refused > 0;
CREATE INDEX lease_seats_overage ON lease_seats (acquired_at) WHERE overage;
CREATE INDEX lease_tenures_overage ON lease_tenures (acquired_at) WHERE overage;

-- The instant from which the newest bundle has a tenth of its life left.
ALTER TABLE licenses ADD COLUMN bundle_expiring_at TIMESTAMPTZ;
CREATE INDEX licenses_bundle_expiring_at ON licenses (bundle_expiring_at) WHERE bundle_expiring_at IS NOT NULL;
UPDATE licenses SET bundle_expiring_at = b.issued_at + (b.expires_at - b.issued_at) * 9 / 10
FROM bundles b WHERE b.id = licenses.bundle_id;

-- The instant from which a deployment without another contact is silent; null before the first one.
ALTER TABLE deployments ADD COLUMN silent_at TIMESTAMPTZ;
CREATE INDEX deployments_silent_at ON deployments (silent_at) WHERE silent_at IS NOT NULL;
UPDATE deployments SET silent_at = last_seen_at + INTERVAL '100 days'
WHERE last_seen_at IS NOT NULL
  AND EXISTS (SELECT 1 FROM usage_reports r WHERE r.deployment_id = deployments.id);
