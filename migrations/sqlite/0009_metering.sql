-- What was used: facts that are added and never changed.
CREATE TABLE usage_events (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    project_id BLOB,
    -- No foreign key: what a deployment used stays told when it is gone.
    deployment_id BLOB,
    run_id TEXT,
    metric TEXT NOT NULL,
    unit TEXT NOT NULL,
    -- A decimal as text, at most six places: exact on both databases. Nothing is summed from here.
    quantity TEXT NOT NULL,
    dims TEXT NOT NULL,
    metadata TEXT NOT NULL,
    idempotency_key TEXT,
    observed_at TEXT NOT NULL,
    recorded_at TEXT NOT NULL,
    FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id)
) STRICT;
CREATE INDEX usage_events_organization ON usage_events (organization_id, id);
CREATE INDEX usage_events_project ON usage_events (project_id, id) WHERE project_id IS NOT NULL;
CREATE UNIQUE INDEX usage_events_idempotency_key ON usage_events (organization_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

-- What is counted together, and its total over all time.
CREATE TABLE usage_series (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    -- A project, or the organization's own id for everything in it.
    scope BLOB NOT NULL,
    metric TEXT NOT NULL,
    unit TEXT NOT NULL,
    events INTEGER NOT NULL,
    -- The sum: whole units, and millionths on top of them.
    units INTEGER NOT NULL,
    micros INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX usage_series_scope_metric_unit ON usage_series (organization_id, scope, metric, unit);

-- The sums of a series by time, in buckets of several sizes: a window is a few of each size.
CREATE TABLE usage_counters (
    series_id BLOB NOT NULL REFERENCES usage_series (id) ON DELETE CASCADE,
    -- In microseconds, as is the time since 1970 at which the bucket starts.
    size INTEGER NOT NULL,
    starts_at INTEGER NOT NULL,
    events INTEGER NOT NULL,
    units INTEGER NOT NULL,
    micros INTEGER NOT NULL,
    PRIMARY KEY (series_id, size, starts_at)
) STRICT, WITHOUT ROWID;

-- How much of a metric may be used in a window of time.
CREATE TABLE usage_limits (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    -- Of the whole organization when there is none.
    project_id BLOB,
    metric TEXT NOT NULL,
    unit TEXT NOT NULL,
    window_kind TEXT NOT NULL,
    period TEXT NOT NULL,
    -- A decimal as text; unlimited when there is none.
    quantity TEXT,
    enforcement TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id)
        ON DELETE CASCADE ON UPDATE CASCADE
) STRICT;
-- Two indexes, because no two NULLs are equal.
CREATE UNIQUE INDEX usage_limits_project_id_key
    ON usage_limits (organization_id, project_id, metric, unit, window_kind, period);
CREATE UNIQUE INDEX usage_limits_key
    ON usage_limits (organization_id, metric, unit, window_kind, period) WHERE project_id IS NULL;
