-- License keys: the credentials that people type. Only their hashes are stored.
CREATE TABLE license_keys (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID NOT NULL REFERENCES organizations (id),
    license_id UUID NOT NULL,
    -- SHA-256 of "license-key:v1:" and the symbols.
    hash BYTEA NOT NULL,
    -- The first symbols, which name the key in lists and logs.
    hint TEXT NOT NULL,
    -- The key before the last rotation, valid until then.
    previous_hash BYTEA,
    previous_until TIMESTAMPTZ,
    name TEXT,
    expires_at TIMESTAMPTZ,
    -- The pools that the key opens; null is all.
    pools JSONB,
    revoked_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    FOREIGN KEY (organization_id, license_id) REFERENCES licenses (organization_id, id)
);
CREATE UNIQUE INDEX license_keys_hash ON license_keys (hash);
CREATE INDEX license_keys_previous_hash ON license_keys (previous_hash) WHERE previous_hash IS NOT NULL;
CREATE INDEX license_keys_license ON license_keys (license_id, id);
CREATE INDEX license_keys_organization ON license_keys (organization_id);
