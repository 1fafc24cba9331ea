-- The addresses of an endpoint that sends mail; null for a URL, which is then empty.
ALTER TABLE webhooks ADD COLUMN emails JSONB;
-- Those of the addresses that have to agree.
ALTER TABLE webhooks ADD COLUMN unconfirmed JSONB;

-- The addresses of strangers, which agree by a link.
CREATE TABLE webhook_addresses (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID REFERENCES organizations (id),
    webhook_id UUID NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    address TEXT NOT NULL,
    -- The hash of the newest link's token, until it is used.
    token_hash BYTEA,
    expires_at TIMESTAMPTZ,
    -- The instant from which the link may be sent; null once it was.
    next_at TIMESTAMPTZ,
    attempts INTEGER NOT NULL,
    confirmed_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX webhook_addresses_webhook_id_address ON webhook_addresses (webhook_id, address);
CREATE UNIQUE INDEX webhook_addresses_token_hash ON webhook_addresses (token_hash) WHERE token_hash IS NOT NULL;
CREATE INDEX webhook_addresses_next_at ON webhook_addresses (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX webhook_addresses_organization ON webhook_addresses (organization_id);

-- The letters of a day: one for each address, type and object.
CREATE TABLE webhook_mails (
    -- The hash of the address.
    address BYTEA NOT NULL,
    type TEXT NOT NULL,
    subject TEXT NOT NULL,
    -- The day, counted from 1970.
    day BIGINT NOT NULL,
    organization_id UUID REFERENCES organizations (id),
    -- The delivery that sends the letter.
    delivery_id UUID NOT NULL,
    is_sent BOOLEAN NOT NULL,
    PRIMARY KEY (address, type, subject, day)
);
CREATE INDEX webhook_mails_day ON webhook_mails (day);
CREATE INDEX webhook_mails_organization ON webhook_mails (organization_id);
