-- Where an organization's people log in.
CREATE TABLE identity_providers (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID NOT NULL REFERENCES organizations (id),
    key TEXT COLLATE "C" NOT NULL,
    type TEXT COLLATE "C" NOT NULL,
    issuer TEXT COLLATE "C" NOT NULL,
    audience TEXT COLLATE "C",
    jwks_uri TEXT COLLATE "C",
    sso_url TEXT COLLATE "C",
    client_id TEXT COLLATE "C",
    -- Under the key-encryption key.
    client_secret BYTEA,
    certificate_ref TEXT COLLATE "C",
    email_domains JSONB NOT NULL,
    claim_map JSONB NOT NULL,
    role_map JSONB NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    metadata JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX identity_providers_key ON identity_providers (organization_id, key);

-- Where secrets are kept; never a secret itself.
CREATE TABLE secret_refs (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID NOT NULL REFERENCES organizations (id),
    -- NULL is the whole organization.
    project_id UUID,
    name TEXT COLLATE "C" NOT NULL,
    provider TEXT COLLATE "C" NOT NULL,
    ref TEXT COLLATE "C" NOT NULL,
    created_by TEXT COLLATE "C",
    rotated_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id) ON DELETE CASCADE ON UPDATE CASCADE
);
-- Two indexes, because no two NULLs are equal.
CREATE UNIQUE INDEX secret_refs_project_id_name ON secret_refs (organization_id, project_id, name);
CREATE UNIQUE INDEX secret_refs_name ON secret_refs (organization_id, name) WHERE project_id IS NULL;
CREATE INDEX secret_refs_project ON secret_refs (project_id);

-- What the billing system calls the plan.
ALTER TABLE subscriptions ADD COLUMN billing_plan TEXT COLLATE "C";

-- Who says so: the server that saw the change, or a caller that tells of one elsewhere.
ALTER TABLE audit_events ADD COLUMN source TEXT COLLATE "C" NOT NULL DEFAULT 'server';
-- When it happened; `at` is when it was recorded.
ALTER TABLE audit_events ADD COLUMN occurred_at TIMESTAMPTZ;
-- Who did it, in the words of the caller that tells of it.
ALTER TABLE audit_events ADD COLUMN actor TEXT COLLATE "C";
ALTER TABLE audit_events ADD COLUMN project_id UUID;
ALTER TABLE audit_events ADD COLUMN metadata JSONB;
UPDATE audit_events SET occurred_at = at;
CREATE INDEX audit_events_occurred_at ON audit_events (organization_id, occurred_at, id);
