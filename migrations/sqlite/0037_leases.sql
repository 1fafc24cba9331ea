-- The pools of seats that each level sets: settings by pool.
ALTER TABLE plan_versions ADD COLUMN leasing TEXT NOT NULL DEFAULT '{}';
ALTER TABLE subscriptions ADD COLUMN leasing TEXT NOT NULL DEFAULT '{}';
ALTER TABLE licenses ADD COLUMN leasing TEXT NOT NULL DEFAULT '{}';

-- A named number of seats of a license, from its first claim on.
CREATE TABLE lease_pools (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    license_id BLOB NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    -- The number of seats that exist.
    allocated INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    -- A closed pool has no live lease.
    closed_at TEXT,
    closed_by TEXT,
    FOREIGN KEY (organization_id, license_id) REFERENCES licenses (organization_id, id)
) STRICT;
CREATE UNIQUE INDEX lease_pools_id ON lease_pools (organization_id, id);
CREATE UNIQUE INDEX lease_pools_license_id_name ON lease_pools (license_id, name) WHERE closed_at IS NULL;
CREATE INDEX lease_pools_license ON lease_pools (license_id);

-- One numbered place of a pool, with its newest lease.
CREATE TABLE lease_seats (
    pool_id BLOB NOT NULL,
    n INTEGER NOT NULL,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    license_id BLOB NOT NULL,
    lease_id BLOB NOT NULL,
    -- The hash of the holder. Null once the holder has another seat.
    holder TEXT,
    holder_kind TEXT NOT NULL,
    user_id BLOB,
    label TEXT,
    meta TEXT NOT NULL,
    acquired_at TEXT NOT NULL,
    heartbeat_at TEXT NOT NULL,
    ttl_seconds INTEGER,
    expires_at TEXT,
    borrowed_until TEXT,
    overage INTEGER NOT NULL,
    -- The instant from which another holder may have the seat; null is never.
    free_at TEXT,
    ended_at TEXT,
    ended_by TEXT,
    -- The entry of a borrowed lease's token in a status list.
    status_list_id BLOB,
    status_idx INTEGER,
    -- The key of the newest lease token, and the token's end.
    key_id TEXT,
    token_until TEXT,
    PRIMARY KEY (pool_id, n),
    FOREIGN KEY (organization_id, pool_id) REFERENCES lease_pools (organization_id, id)
) STRICT;
CREATE UNIQUE INDEX lease_seats_lease_id ON lease_seats (lease_id);
CREATE UNIQUE INDEX lease_seats_pool_id_holder ON lease_seats (pool_id, holder);
CREATE INDEX lease_seats_free ON lease_seats (pool_id, free_at, n);
CREATE INDEX lease_seats_license ON lease_seats (license_id, lease_id);
CREATE INDEX lease_seats_user ON lease_seats (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX lease_seats_status ON lease_seats (status_list_id, borrowed_until) WHERE status_list_id IS NOT NULL;
CREATE INDEX lease_seats_key ON lease_seats (key_id, token_until) WHERE key_id IS NOT NULL;

-- The hashes of a machine's components, of node leases.
CREATE TABLE lease_components (
    lease_id BLOB NOT NULL,
    hash TEXT NOT NULL,
    pool_id BLOB NOT NULL,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    PRIMARY KEY (lease_id, hash),
    FOREIGN KEY (organization_id, pool_id) REFERENCES lease_pools (organization_id, id)
) STRICT;
CREATE INDEX lease_components_hash ON lease_components (pool_id, hash);

-- Ended leases whose seats have other leases.
CREATE TABLE lease_tenures (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    license_id BLOB NOT NULL,
    pool_id BLOB NOT NULL,
    n INTEGER NOT NULL,
    -- Null once it was erased.
    holder TEXT,
    holder_kind TEXT NOT NULL,
    user_id BLOB,
    label TEXT,
    meta TEXT NOT NULL,
    acquired_at TEXT NOT NULL,
    heartbeat_at TEXT NOT NULL,
    expires_at TEXT,
    borrowed_until TEXT,
    overage INTEGER NOT NULL,
    ended_at TEXT NOT NULL,
    ended_by TEXT NOT NULL,
    FOREIGN KEY (organization_id, pool_id) REFERENCES lease_pools (organization_id, id)
) STRICT;
CREATE INDEX lease_tenures_pool ON lease_tenures (pool_id, ended_at);
CREATE INDEX lease_tenures_license ON lease_tenures (license_id, id);
CREATE INDEX lease_tenures_end ON lease_tenures (ended_at);
CREATE INDEX lease_tenures_user ON lease_tenures (user_id) WHERE user_id IS NOT NULL;

-- The use of a pool in one hour, once the hour has ended.
CREATE TABLE lease_hours (
    pool_id BLOB NOT NULL,
    starts_at TEXT NOT NULL,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    -- Null until the hour is computed.
    peak INTEGER,
    overage_peak INTEGER,
    tenures INTEGER,
    seat_seconds INTEGER,
    refused INTEGER NOT NULL,
    PRIMARY KEY (pool_id, starts_at),
    FOREIGN KEY (organization_id, pool_id) REFERENCES lease_pools (organization_id, id)
) STRICT;
