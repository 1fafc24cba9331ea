-- What was used: facts that are added and never changed.
CREATE TABLE usage_events (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID NOT NULL REFERENCES organizations (id),
    project_id UUID,
    -- No foreign key: what a deployment used stays told when it is gone.
    deployment_id UUID,
    run_id TEXT COLLATE "C",
    metric TEXT COLLATE "C" NOT NULL,
    unit TEXT COLLATE "C" NOT NULL,
    -- A decimal as text, at most six places: exact on both databases. Nothing is summed from here.
    quantity TEXT COLLATE "C" NOT NULL,
    dims JSONB NOT NULL,
    metadata JSONB NOT NULL,
    idempotency_key TEXT COLLATE "C",
    observed_at TIMESTAMPTZ NOT NULL,
    recorded_at TIMESTAMPTZ NOT NULL,
    FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id)
);
CREATE INDEX usage_events_organization ON usage_events (organization_id, id);
CREATE INDEX usage_events_project ON usage_events (project_id, id) WHERE project_id IS NOT NULL;
CREATE UNIQUE INDEX usage_events_idempotency_key ON usage_events (organization_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- What is counted together, and its total over all time.
CREATE TABLE usage_series (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID NOT NULL REFERENCES organizations (id),
    -- A project, or the organization's own id for everything in it.
    scope UUID NOT NULL,
    metric TEXT COLLATE "C" NOT NULL,
    unit TEXT COLLATE "C" NOT NULL,
    events BIGINT NOT NULL,
    -- The sum: whole units, and millionths on top of them.
    units BIGINT NOT NULL,
    micros BIGINT NOT NULL
);
CREATE UNIQUE INDEX usage_series_scope_metric_unit ON usage_series (organization_id, scope, metric, unit);

-- The sums of a series by time, in buckets of several sizes: a window is a few of each size.
CREATE TABLE usage_counters (
    series_id UUID NOT NULL REFERENCES usage_series (id) ON DELETE CASCADE,
    -- In microseconds, as is the time since 1970 at which the bucket starts.
    size BIGINT NOT NULL,
    starts_at BIGINT NOT NULL,
    events BIGINT NOT NULL,
    units BIGINT NOT NULL,
    micros BIGINT NOT NULL,
    PRIMARY KEY (series_id, size, starts_at)
);

-- How much of a metric may be used in a window of time.
CREATE TABLE usage_limits (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID NOT NULL REFERENCES organizations (id),
    -- Of the whole organization when there is none.
    project_id UUID,
    metric TEXT COLLATE "C" NOT NULL,
    unit TEXT COLLATE "C" NOT NULL,
    window_kind TEXT COLLATE "C" NOT NULL,
    period TEXT COLLATE "C" NOT NULL,
    -- A decimal as text; unlimited when there is none.
    quantity TEXT COLLATE "C",
    enforcement TEXT COLLATE "C" NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id)
        ON DELETE CASCADE ON UPDATE CASCADE
);
-- Two indexes, because no two NULLs are equal.
CREATE UNIQUE INDEX usage_limits_project_id_key
    ON usage_limits (organization_id, project_id, metric, unit, window_kind, period);
CREATE UNIQUE INDEX usage_limits_key
    ON usage_limits (organization_id, metric, unit, window_kind, period) WHERE project_id IS NULL;
