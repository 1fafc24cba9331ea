-- License keys: the credentials that people type. Only their hashes are stored.
CREATE TABLE license_keys (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    license_id BLOB NOT NULL,
    -- SHA-256 of "license-key:v1:" and the symbols.
    hash BLOB NOT NULL,
    -- The first symbols, which name the key in lists and logs.
    hint TEXT NOT NULL,
    -- The key before the last rotation, valid until then.
    previous_hash BLOB,
    previous_until TEXT,
    name TEXT,
    expires_at TEXT,
    -- The pools that the key opens; null is all.
    pools TEXT,
    revoked_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    FOREIGN KEY (organization_id, license_id) REFERENCES licenses (organization_id, id)
) STRICT;
CREATE UNIQUE INDEX license_keys_hash ON license_keys (hash);
CREATE INDEX license_keys_previous_hash ON license_keys (previous_hash) WHERE previous_hash IS NOT NULL;
CREATE INDEX license_keys_license ON license_keys (license_id, id);
CREATE INDEX license_keys_organization ON license_keys (organization_id);
