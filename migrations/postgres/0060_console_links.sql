-- Links that begin a session at the console, once. The link contains the code; here is its hash.
CREATE TABLE console_links (
    id UUID NOT NULL PRIMARY KEY,
    code_hash BYTEA NOT NULL,
    user_id UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    -- The organization to which the session is restricted; NULL for the operator's links.
    organization_id UUID REFERENCES organizations (id),
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    used_at TIMESTAMPTZ
);
CREATE UNIQUE INDEX console_links_code_hash ON console_links (code_hash);
CREATE INDEX console_links_user ON console_links (user_id);
CREATE INDEX console_links_organization ON console_links (organization_id);
CREATE INDEX console_links_expires_at ON console_links (expires_at);
