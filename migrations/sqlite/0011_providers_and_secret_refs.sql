-- Where an organization's people log in.
CREATE TABLE identity_providers (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    key TEXT NOT NULL,
    type TEXT NOT NULL,
    issuer TEXT NOT NULL,
    audience TEXT,
    jwks_uri TEXT,
    sso_url TEXT,
    client_id TEXT,
    -- Under the key-encryption key.
    client_secret BLOB,
    certificate_ref TEXT,
    email_domains TEXT NOT NULL,
    claim_map TEXT NOT NULL,
    role_map TEXT NOT NULL,
    status TEXT NOT NULL,
    metadata TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX identity_providers_key ON identity_providers (organization_id, key);

-- Where secrets are kept; never a secret itself.
CREATE TABLE secret_refs (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    -- NULL is the whole organization.
    project_id BLOB,
    name TEXT NOT NULL,
    provider TEXT NOT NULL,
    ref TEXT NOT NULL,
    created_by TEXT,
    rotated_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id) ON DELETE CASCADE ON UPDATE CASCADE
) STRICT;
-- Two indexes, because no two NULLs are equal.
CREATE UNIQUE INDEX secret_refs_project_id_name ON secret_refs (organization_id, project_id, name);
CREATE UNIQUE INDEX secret_refs_name ON secret_refs (organization_id, name) WHERE project_id IS NULL;
CREATE INDEX secret_refs_project ON secret_refs (project_id);

-- What the billing system calls the plan.
ALTER TABLE subscriptions ADD COLUMN billing_plan TEXT;

-- Who says so: the server that saw the change, or a caller that tells of one elsewhere.
ALTER TABLE audit_events ADD COLUMN source TEXT NOT NULL DEFAULT 'server';
-- When it happened; `at` is when it was recorded.
ALTER TABLE audit_events ADD COLUMN occurred_at TEXT;
-- Who did it, in the words of the caller that tells of it.
ALTER TABLE audit_events ADD COLUMN actor TEXT;
ALTER TABLE audit_events ADD COLUMN project_id BLOB;
ALTER TABLE audit_events ADD COLUMN metadata TEXT;
UPDATE audit_events SET occurred_at = at;
CREATE INDEX audit_events_occurred_at ON audit_events (organization_id, occurred_at, id);
