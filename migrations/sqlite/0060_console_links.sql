-- Links that begin a session at the console, once. The link contains the code; here is its hash.
CREATE TABLE console_links (
    id BLOB NOT NULL PRIMARY KEY,
    code_hash BLOB NOT NULL,
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- The organization to which the session is restricted; NULL for the operator's links.
    organization_id BLOB REFERENCES organizations (id),
    created_at TEXT NOT NULL,
    expires_at TEXT NOT NULL,
    used_at TEXT
) STRICT;
CREATE UNIQUE INDEX console_links_code_hash ON console_links (code_hash);
CREATE INDEX console_links_user ON console_links (user_id);
CREATE INDEX console_links_organization ON console_links (organization_id);
CREATE INDEX console_links_expires_at ON console_links (expires_at);
