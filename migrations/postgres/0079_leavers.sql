-- The seats and logins that have ended: no role of an identity provider counts for them.
CREATE TABLE leavers (
    -- The hash of the organization and the user of a seat, or of the authority, the provider's key and
    -- the subject of a login.
    hash BYTEA NOT NULL PRIMARY KEY,
    -- Null for a login that the platform had linked.
    organization_id UUID REFERENCES organizations (id) ON DELETE CASCADE,
    -- Null after the person's record was deleted.
    user_id UUID REFERENCES users (id) ON DELETE SET NULL,
    is_login BOOLEAN NOT NULL,
    ended_at TIMESTAMPTZ NOT NULL
);
CREATE INDEX leavers_organization ON leavers (organization_id, user_id);
CREATE INDEX leavers_user ON leavers (user_id);

-- A member has no open invitation: it would bring the person back after the seat has ended.
UPDATE invitations SET status = 'revoked'
WHERE status = 'pending'
    AND EXISTS (
        SELECT 1 FROM memberships m JOIN users u ON u.id = m.user_id
        WHERE m.organization_id = invitations.organization_id AND m.scope = 'organization'
            AND u.email_key = invitations.email_key);
