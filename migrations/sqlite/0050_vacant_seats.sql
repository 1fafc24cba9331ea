-- Leases without an end, the longest idle first: refusals of a full pool name some of them. Heartbeats
-- of other leases do not touch the index.
CREATE INDEX lease_seats_idle ON lease_seats (pool_id, heartbeat_at, n)
    WHERE expires_at IS NULL AND ended_at IS NULL;

-- Whether the lease has moved to another seat: the row is no lease then.
ALTER TABLE lease_seats ADD COLUMN is_vacant INTEGER NOT NULL DEFAULT FALSE;
UPDATE lease_seats SET is_vacant = TRUE
WHERE holder IS NULL AND ended_at = acquired_at AND ended_by = 'released';
