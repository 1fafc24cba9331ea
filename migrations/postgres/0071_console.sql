-- The caller that created the link, whose rights its use checks again.
ALTER TABLE console_links ADD COLUMN inviter JSONB;

-- The tokens that were signed on each day that has ended. The day counts from 1 January 1970, UTC.
CREATE TABLE issuance_days (
    day BIGINT NOT NULL PRIMARY KEY,
    issued BIGINT NOT NULL
);
