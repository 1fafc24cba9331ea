-- What every change leaves behind. No foreign keys: events outlive what they tell of.
CREATE TABLE audit_events (
    id BLOB NOT NULL PRIMARY KEY,
    at TEXT NOT NULL,
    organization_id BLOB,
    actor_kind TEXT NOT NULL,
    actor_id BLOB NOT NULL,
    actor_name TEXT NOT NULL,
    action TEXT NOT NULL,
    target_type TEXT NOT NULL,
    target_id TEXT NOT NULL,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    reason TEXT,
    request_id TEXT,
    ip TEXT
) STRICT;
CREATE INDEX audit_events_organization ON audit_events (organization_id, id);
CREATE INDEX audit_events_target ON audit_events (target_id, id);

-- Requests that are done once. The answer is sealed: it may hold a token.
CREATE TABLE idempotency_keys (
    caller_key BLOB NOT NULL PRIMARY KEY,
    request BLOB NOT NULL,
    answer BLOB NOT NULL,
    created_at TEXT NOT NULL
) STRICT;
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);

-- Single values of the installation, such as the check value of the key-encryption key.
CREATE TABLE installation (
    name TEXT NOT NULL PRIMARY KEY,
    value BLOB NOT NULL
) STRICT;
