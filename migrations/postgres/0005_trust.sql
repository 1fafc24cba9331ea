-- Why the key is in its state, in the operator's words.
ALTER TABLE signing_keys ADD COLUMN reason TEXT COLLATE "C";
-- When it becomes the active key by itself; never, unless it was imported for that.
ALTER TABLE signing_keys ADD COLUMN activate_at TIMESTAMPTZ;
-- The earlier key's signature over this one: a data plane that knows that key learns this one.
ALTER TABLE signing_keys ADD COLUMN endorsement TEXT COLLATE "C";
-- The key that gave it.
ALTER TABLE signing_keys ADD COLUMN endorsed_by TEXT COLLATE "C";

-- Lists of the status of bundles (draft-ietf-oauth-status-list). What they say is computed from
-- the bundles and their organizations.
CREATE TABLE status_lists (
    id UUID NOT NULL PRIMARY KEY,
    -- The order in which entries are given out depends on it, so that nobody can count customers.
    shuffle BYTEA NOT NULL,
    -- Entries that were given out.
    allocated BIGINT NOT NULL CHECK (allocated >= 0 AND allocated <= 65536),
    allocated_at TIMESTAMPTZ NOT NULL,
    -- Grows with every change of what the list says.
    version BIGINT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    retired_at TIMESTAMPTZ
);

ALTER TABLE bundles ADD COLUMN status_list_id UUID REFERENCES status_lists (id);
ALTER TABLE bundles ADD COLUMN status_idx BIGINT;
-- The token's end, with the grace that it grants: until then somebody may accept it.
ALTER TABLE bundles ADD COLUMN over_at TIMESTAMPTZ;
UPDATE bundles SET over_at = expires_at;
CREATE UNIQUE INDEX bundles_status_list_id_status_idx ON bundles (status_list_id, status_idx);
-- What a list has to say of bundles by themselves.
CREATE INDEX bundles_marked ON bundles (status_list_id) WHERE status <> 'valid';
CREATE INDEX bundles_key ON bundles (key_id, over_at);
CREATE INDEX licenses_key ON licenses (key_id);

-- The entries of bundles whose organization was purged: they stay revoked.
CREATE TABLE status_revocations (
    status_list_id UUID NOT NULL REFERENCES status_lists (id),
    status_idx BIGINT NOT NULL,
    -- The end of the token.
    over_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (status_list_id, status_idx)
);

-- The number of the last file that was made of the license.
ALTER TABLE licenses ADD COLUMN file_seq BIGINT NOT NULL DEFAULT 0;

-- What data planes without a connection report, as it was carried in.
CREATE TABLE usage_reports (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID NOT NULL,
    deployment_id UUID NOT NULL,
    sequence BIGINT NOT NULL CHECK (sequence >= 1),
    -- SHA-256 of the file, hexadecimal.
    report_hash TEXT COLLATE "C" NOT NULL,
    report JSONB NOT NULL,
    received_at TIMESTAMPTZ NOT NULL,
    FOREIGN KEY (organization_id, deployment_id) REFERENCES deployments (organization_id, id)
);
CREATE UNIQUE INDEX usage_reports_deployment_id_sequence ON usage_reports (deployment_id, sequence);
CREATE INDEX usage_reports_organization ON usage_reports (organization_id, id);

-- Of these the lists say that their bundles are suspended.
CREATE INDEX organizations_suspended ON organizations (id) WHERE status <> 'active';
