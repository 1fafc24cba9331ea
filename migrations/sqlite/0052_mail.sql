-- The addresses of an endpoint that sends mail; null for a URL, which is then empty.
ALTER TABLE webhooks ADD COLUMN emails TEXT;
-- Those of the addresses that have to agree.
ALTER TABLE webhooks ADD COLUMN unconfirmed TEXT;

-- The addresses of strangers, which agree by a link.
CREATE TABLE webhook_addresses (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB REFERENCES organizations (id),
    webhook_id BLOB NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    address TEXT NOT NULL,
    -- The hash of the newest link's token, until it is used.
    token_hash BLOB,
    expires_at TEXT,
    -- The instant from which the link may be sent; null once it was.
    next_at TEXT,
    attempts INTEGER NOT NULL,
    confirmed_at TEXT,
    created_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX webhook_addresses_webhook_id_address ON webhook_addresses (webhook_id, address);
CREATE UNIQUE INDEX webhook_addresses_token_hash ON webhook_addresses (token_hash) WHERE token_hash IS NOT NULL;
CREATE INDEX webhook_addresses_next_at ON webhook_addresses (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX webhook_addresses_organization ON webhook_addresses (organization_id);

-- The letters of a day: one for each address, type and object.
CREATE TABLE webhook_mails (
    -- The hash of the address.
    address BLOB NOT NULL,
    type TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- The day, counted from 1970.
    day INTEGER NOT NULL,
    organization_id BLOB REFERENCES organizations (id),
    -- The delivery that sends the letter.
    delivery_id BLOB NOT NULL,
    is_sent INTEGER NOT NULL,
    PRIMARY KEY (address, type, subject, day)
) STRICT;
CREATE INDEX webhook_mails_day ON webhook_mails (day);
CREATE INDEX webhook_mails_organization ON webhook_mails (organization_id);
