-- What the identity provider of an organization says about a person (SCIM). It is the organization's
-- own view: the person's record belongs to the platform.
CREATE TABLE scim_users (
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    user_id BLOB NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    user_name TEXT NOT NULL,
    -- The same in lower case.
    user_name_key TEXT NOT NULL,
    external_id TEXT,
    -- The primary e-mail address in lower case; null for that of the person's record.
    email_key TEXT,
    -- The attributes `name`, `displayName` and `emails`.
    profile TEXT NOT NULL,
    -- How the person took the seat that `active: false` ended; null unless it ended one that was taken.
    accepted_as TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (organization_id, user_id)
) STRICT;
CREATE UNIQUE INDEX scim_users_user_name_key ON scim_users (organization_id, user_name_key);
CREATE UNIQUE INDEX scim_users_external_id ON scim_users (organization_id, external_id);
CREATE INDEX scim_users_email ON scim_users (organization_id, email_key);
CREATE INDEX scim_users_user ON scim_users (user_id);

-- The groups of a person whom the identity provider has deactivated: `active: true` brings them back.
CREATE TABLE scim_inactive_members (
    organization_id BLOB NOT NULL,
    group_id BLOB NOT NULL,
    user_id BLOB NOT NULL,
    PRIMARY KEY (group_id, user_id),
    FOREIGN KEY (organization_id, group_id) REFERENCES groups (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, user_id) REFERENCES scim_users (organization_id, user_id) ON DELETE CASCADE
) STRICT;
CREATE INDEX scim_inactive_members_user ON scim_inactive_members (organization_id, user_id);
