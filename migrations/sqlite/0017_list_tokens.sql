-- The iat of the newest token of the list, in seconds since 1970. It strictly increases.
ALTER TABLE status_lists ADD COLUMN last_iat INTEGER NOT NULL DEFAULT 0;

-- The newest signed tokens of the lists: all replicas publish the same bytes.
CREATE TABLE status_list_tokens (
    status_list_id BLOB NOT NULL REFERENCES status_lists (id),
    -- published, or file.
    purpose TEXT NOT NULL,
    -- That of the list whose content it has.
    version INTEGER NOT NULL,
    kid TEXT NOT NULL,
    iat INTEGER NOT NULL,
    -- By the clock of the server that signed it.
    signed_at TEXT NOT NULL,
    token TEXT NOT NULL,
    PRIMARY KEY (status_list_id, purpose)
) STRICT;
