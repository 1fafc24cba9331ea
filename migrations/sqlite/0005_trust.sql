-- Why the key is in its state, in the operator's words.
ALTER TABLE signing_keys ADD COLUMN reason TEXT;
-- When it becomes the active key by itself; never, unless it was imported for that.
ALTER TABLE signing_keys ADD COLUMN activate_at TEXT;
-- The earlier key's signature over this one: a data plane that knows that key learns this one.
ALTER TABLE signing_keys ADD COLUMN endorsement TEXT;
-- The key that gave it.
ALTER TABLE signing_keys ADD COLUMN endorsed_by TEXT;

-- Lists of the status of bundles (draft-ietf-oauth-status-list). What they say is computed from
-- the bundles and their organizations.
CREATE TABLE status_lists (
    id BLOB NOT NULL PRIMARY KEY,
    -- The order in which entries are given out depends on it, so that nobody can count customers.
    shuffle BLOB NOT NULL,
    -- Entries that were given out.
    allocated INTEGER NOT NULL CHECK (allocated >= 0 AND allocated <= 65536),
    allocated_at TEXT NOT NULL,
    -- Grows with every change of what the list says.
    version INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    retired_at TEXT
) STRICT;

ALTER TABLE bundles ADD COLUMN status_list_id BLOB REFERENCES status_lists (id);
ALTER TABLE bundles ADD COLUMN status_idx INTEGER;
-- The token's end, with the grace that it grants: until then somebody may accept it.
ALTER TABLE bundles ADD COLUMN over_at TEXT;
UPDATE bundles SET over_at = expires_at;
CREATE UNIQUE INDEX bundles_status_list_id_status_idx ON bundles (status_list_id, status_idx);
-- What a list has to say of bundles by themselves.
CREATE INDEX bundles_marked ON bundles (status_list_id) WHERE status <> 'valid';
CREATE INDEX bundles_key ON bundles (key_id, over_at);
CREATE INDEX licenses_key ON licenses (key_id);

-- The entries of bundles whose organization was purged: they stay revoked.
CREATE TABLE status_revocations (
    status_list_id BLOB NOT NULL REFERENCES status_lists (id),
    status_idx INTEGER NOT NULL,
    -- The end of the token.
    over_at TEXT NOT NULL,
    PRIMARY KEY (status_list_id, status_idx)
) STRICT;

-- The number of the last file that was made of the license.
ALTER TABLE licenses ADD COLUMN file_seq INTEGER NOT NULL DEFAULT 0;

-- What data planes without a connection report, as it was carried in.
CREATE TABLE usage_reports (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL,
    deployment_id BLOB NOT NULL,
    sequence INTEGER NOT NULL CHECK (sequence >= 1),
    -- SHA-256 of the file, hexadecimal.
    report_hash TEXT NOT NULL,
    report TEXT NOT NULL,
    received_at TEXT NOT NULL,
    FOREIGN KEY (organization_id, deployment_id) REFERENCES deployments (organization_id, id)
) STRICT;
CREATE UNIQUE INDEX usage_reports_deployment_id_sequence ON usage_reports (deployment_id, sequence);
CREATE INDEX usage_reports_organization ON usage_reports (organization_id, id);

-- Of these the lists say that their bundles are suspended.
CREATE INDEX organizations_suspended ON organizations (id) WHERE status <> 'active';
