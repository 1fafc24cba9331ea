-- The agreements of strangers to get mail: one for each owner and address, whatever the endpoints.
CREATE TABLE webhook_agreements (
    id BLOB NOT NULL PRIMARY KEY,
    -- Null for the endpoints of the platform.
    organization_id BLOB REFERENCES organizations (id),
    -- In lower case.
    address TEXT NOT NULL,
    -- The instant from which a link may be sent; null once it was.
    next_at TEXT,
    attempts INTEGER NOT NULL,
    agreed_at TEXT,
    -- The instant at which the last endpoint lost the address; null while one has it.
    unwanted_at TEXT,
    created_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX webhook_agreements_organization_id_address ON webhook_agreements (organization_id, address);
CREATE UNIQUE INDEX webhook_agreements_platform_address ON webhook_agreements (address) WHERE organization_id IS NULL;
CREATE INDEX webhook_agreements_address ON webhook_agreements (address);
CREATE INDEX webhook_agreements_next_at ON webhook_agreements (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX webhook_agreements_unwanted_at ON webhook_agreements (unwanted_at) WHERE unwanted_at IS NOT NULL;

-- The links that were sent: each is good until its end, or until one of the address is used.
CREATE TABLE webhook_links (
    token_hash BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB REFERENCES organizations (id),
    agreement_id BLOB NOT NULL REFERENCES webhook_agreements (id) ON DELETE CASCADE,
    expires_at TEXT NOT NULL
) STRICT;
CREATE INDEX webhook_links_agreement ON webhook_links (agreement_id);
CREATE INDEX webhook_links_organization ON webhook_links (organization_id);
CREATE INDEX webhook_links_expires_at ON webhook_links (expires_at);

-- Of several rows of one owner and address: one that agreed, else the oldest.
INSERT INTO webhook_agreements (id, organization_id, address, next_at, attempts, agreed_at, created_at)
SELECT a.id, a.organization_id, a.address, a.next_at, a.attempts, a.confirmed_at, a.created_at
FROM webhook_addresses a
WHERE NOT EXISTS (
    SELECT 1 FROM webhook_addresses b
    WHERE b.address = a.address AND b.organization_id IS NOT DISTINCT FROM a.organization_id
      AND (b.confirmed_at IS NOT NULL AND a.confirmed_at IS NULL
           OR (b.confirmed_at IS NULL) = (a.confirmed_at IS NULL) AND b.id < a.id));
INSERT INTO webhook_links (token_hash, organization_id, agreement_id, expires_at)
SELECT a.token_hash, a.organization_id, g.id, a.expires_at
FROM webhook_addresses a
JOIN webhook_agreements g
  ON g.address = a.address AND g.organization_id IS NOT DISTINCT FROM a.organization_id
WHERE a.token_hash IS NOT NULL AND a.expires_at IS NOT NULL AND g.agreed_at IS NULL;
DROP TABLE webhook_addresses;

-- An agreement counts for all endpoints of its owner.
UPDATE webhooks
SET unconfirmed = (
    SELECT json_group_array(u.value) FROM json_each(webhooks.unconfirmed) u
    WHERE NOT EXISTS (
        SELECT 1 FROM webhook_agreements g
        WHERE g.address = LOWER(u.value) AND g.agreed_at IS NOT NULL
          AND g.organization_id IS NOT DISTINCT FROM webhooks.organization_id))
WHERE unconfirmed IS NOT NULL;
