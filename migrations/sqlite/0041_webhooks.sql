-- Webhooks: the endpoints that receive events.
CREATE TABLE webhooks (
    id BLOB NOT NULL PRIMARY KEY,
    -- Null for endpoints of the platform.
    organization_id BLOB REFERENCES organizations (id),
    name TEXT,
    url TEXT NOT NULL,
    types TEXT NOT NULL,
    -- The organizations to which an endpoint of the platform is narrowed; null is all.
    organizations TEXT,
    signature TEXT NOT NULL,
    public_key TEXT,
    include TEXT NOT NULL,
    ordering TEXT NOT NULL,
    -- The names of the additional headers, and their sealed values.
    header_names TEXT NOT NULL,
    headers BLOB,
    status TEXT NOT NULL,
    disabled_reason TEXT,
    -- The first failure since the last success, and the number of failures since then.
    failing_since TEXT,
    failures INTEGER NOT NULL DEFAULT 0,
    -- Events up to this position are from before the endpoint.
    from_seq INTEGER NOT NULL,
    -- The instant from which a delivery is due; null is none.
    due_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE INDEX webhooks_organization ON webhooks (organization_id, id);
CREATE INDEX webhooks_due ON webhooks (due_at) WHERE due_at IS NOT NULL;

-- The sealed secrets that sign: the newest one, and the one before until its end.
CREATE TABLE webhook_secrets (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB REFERENCES organizations (id),
    webhook_id BLOB NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    secret BLOB NOT NULL,
    created_at TEXT NOT NULL,
    expires_at TEXT
) STRICT;
CREATE INDEX webhook_secrets_webhook ON webhook_secrets (webhook_id, id);
CREATE INDEX webhook_secrets_organization ON webhook_secrets (organization_id);

-- The position up to which events became deliveries. One row.
CREATE TABLE webhook_feed (
    id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL
) STRICT;
INSERT INTO webhook_feed (id, seq) VALUES (1, -1);

-- An event for an endpoint.
CREATE TABLE webhook_deliveries (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB REFERENCES organizations (id),
    webhook_id BLOB NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event_id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    type TEXT NOT NULL,
    -- The object of the event: its deliveries keep their order.
    subject TEXT NOT NULL,
    -- The order of deliveries: the position of the event, or behind all of them for a replay.
    place INTEGER NOT NULL,
    status TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    -- The instant from which an attempt may begin; null while an earlier delivery of the subject waits.
    next_at TEXT,
    created_at TEXT NOT NULL,
    finished_at TEXT
) STRICT;
CREATE UNIQUE INDEX webhook_deliveries_webhook_id_event_id ON webhook_deliveries (webhook_id, event_id);
CREATE INDEX webhook_deliveries_webhook ON webhook_deliveries (webhook_id, id);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_at) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_subject ON webhook_deliveries (webhook_id, subject, place) WHERE status = 'pending';
CREATE INDEX webhook_deliveries_organization ON webhook_deliveries (organization_id);
CREATE INDEX webhook_deliveries_finished ON webhook_deliveries (finished_at) WHERE finished_at IS NOT NULL;

-- One request to an endpoint, and its answer.
CREATE TABLE webhook_attempts (
    delivery_id BLOB NOT NULL REFERENCES webhook_deliveries (id) ON DELETE CASCADE,
    n INTEGER NOT NULL,
    organization_id BLOB REFERENCES organizations (id),
    at TEXT NOT NULL,
    duration_ms INTEGER NOT NULL,
    -- The status of the answer; null without one.
    status INTEGER,
    error TEXT,
    -- The beginning of the answer.
    answer TEXT,
    PRIMARY KEY (delivery_id, n)
) STRICT;
CREATE INDEX webhook_attempts_organization ON webhook_attempts (organization_id);
