-- The caller that created the link, whose rights its use checks again.
ALTER TABLE console_links ADD COLUMN inviter TEXT;

-- The tokens that were signed on each day that has ended. The day counts from 1 January 1970, UTC.
CREATE TABLE issuance_days (
    day INTEGER NOT NULL PRIMARY KEY,
    issued INTEGER NOT NULL
) STRICT;
