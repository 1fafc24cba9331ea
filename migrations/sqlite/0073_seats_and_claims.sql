-- The live seats of persons: a full pool looks for one whose person has left.
CREATE INDEX lease_seats_persons ON lease_seats (pool_id, user_id)
    WHERE user_id IS NOT NULL AND ended_at IS NULL;

-- Seats whose person was erased without an end of the lease: no holder could release them.
UPDATE lease_seats
SET ended_at = heartbeat_at, ended_by = 'license_over', free_at = heartbeat_at
WHERE holder IS NULL AND ended_at IS NULL AND expires_at IS NULL AND NOT is_vacant;

-- The end of a replica's claim of a delivery; null while none sends it.
ALTER TABLE webhook_deliveries ADD COLUMN claimed_until TEXT;
