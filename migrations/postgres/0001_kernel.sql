-- What every change leaves behind. No foreign keys: events outlive what they tell of.
CREATE TABLE audit_events (
    id UUID NOT NULL PRIMARY KEY,
    at TIMESTAMPTZ NOT NULL,
    organization_id UUID,
    actor_kind TEXT COLLATE "C" NOT NULL,
    actor_id UUID NOT NULL,
    actor_name TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    target_type TEXT COLLATE "C" NOT NULL,
    target_id TEXT COLLATE "C" NOT NULL,
    before JSONB NOT NULL,
    after JSONB NOT NULL,
    reason TEXT COLLATE "C",
    request_id TEXT COLLATE "C",
    ip TEXT COLLATE "C"
);
CREATE INDEX audit_events_organization ON audit_events (organization_id, id);
CREATE INDEX audit_events_target ON audit_events (target_id, id);

-- Requests that are done once. The answer is sealed: it may hold a token.
CREATE TABLE idempotency_keys (
    caller_key BYTEA NOT NULL PRIMARY KEY,
    request BYTEA NOT NULL,
    answer BYTEA NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);

-- Single values of the installation, such as the check value of the key-encryption key.
CREATE TABLE installation (
    name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);
