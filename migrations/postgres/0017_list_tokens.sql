-- The iat of the newest token of the list, in seconds since 1970. It strictly increases.
ALTER TABLE status_lists ADD COLUMN last_iat BIGINT NOT NULL DEFAULT 0;

-- The newest signed tokens of the lists: all replicas publish the same bytes.
CREATE TABLE status_list_tokens (
    status_list_id UUID NOT NULL REFERENCES status_lists (id),
    -- published, or file.
    purpose TEXT COLLATE "C" NOT NULL,
    -- That of the list whose content it has.
    version BIGINT NOT NULL,
    kid TEXT COLLATE "C" NOT NULL,
    iat BIGINT NOT NULL,
    -- By the clock of the server that signed it.
    signed_at TIMESTAMPTZ NOT NULL,
    token TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (status_list_id, purpose)
);
