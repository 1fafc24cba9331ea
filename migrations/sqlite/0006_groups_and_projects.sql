-- People inside an organization: a tree.
CREATE TABLE groups (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    parent_id BLOB,
    -- A label that narrows what the group is for; empty for all of it.
    product TEXT NOT NULL,
    name TEXT NOT NULL,
    slug TEXT NOT NULL,
    description TEXT,
    external_id TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    FOREIGN KEY (organization_id, parent_id) REFERENCES groups (organization_id, id)
) STRICT;
CREATE UNIQUE INDEX groups_id ON groups (organization_id, id);
CREATE UNIQUE INDEX groups_external_id ON groups (organization_id, external_id);
-- Two indexes, because no two NULLs are equal: one among siblings, one among roots.
CREATE UNIQUE INDEX groups_parent_id_product_slug ON groups (organization_id, parent_id, product, slug);
CREATE UNIQUE INDEX groups_product_slug ON groups (organization_id, product, slug) WHERE parent_id IS NULL;
CREATE INDEX groups_parent ON groups (parent_id);

-- Units of work. What belongs to a project follows it to another organization.
CREATE TABLE projects (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    name TEXT NOT NULL,
    slug TEXT NOT NULL,
    description TEXT,
    repo_url TEXT,
    default_branch TEXT,
    local_path TEXT,
    workspace_mode TEXT,
    git_mode TEXT,
    external_id TEXT,
    metadata TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX projects_id ON projects (organization_id, id);
CREATE UNIQUE INDEX projects_slug ON projects (organization_id, slug);
CREATE UNIQUE INDEX projects_external_id ON projects (organization_id, external_id);

-- What a run of a project left behind.
CREATE TABLE artifacts (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    project_id BLOB NOT NULL,
    run_id TEXT NOT NULL,
    step_id TEXT NOT NULL,
    type TEXT NOT NULL,
    path TEXT NOT NULL,
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
    mime_type TEXT,
    metadata TEXT NOT NULL,
    created_at TEXT NOT NULL,
    FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id) ON UPDATE CASCADE
) STRICT;
CREATE INDEX artifacts_organization ON artifacts (organization_id, id);
CREATE INDEX artifacts_project ON artifacts (project_id, id);
CREATE INDEX artifacts_run ON artifacts (organization_id, run_id);

-- SQLite adds no composite key to a table that is there: both tables are made anew. Nothing but
-- the memberships refers to workspaces, and nothing refers to memberships.
CREATE TABLE memberships_before AS SELECT * FROM memberships;
CREATE TABLE workspaces_before AS SELECT * FROM workspaces;
DROP TABLE memberships;
DROP TABLE workspaces;

CREATE TABLE workspaces (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    project_id BLOB,
    name TEXT NOT NULL,
    slug TEXT NOT NULL,
    type TEXT NOT NULL,
    -- Its own, or 'inherited' from the organization's settings.
    isolation TEXT NOT NULL,
    path TEXT,
    status TEXT NOT NULL,
    external_id TEXT,
    -- Grows with every change of who may do what in the workspace.
    rbac_revision INTEGER NOT NULL,
    rbac_updated_at TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id) ON UPDATE CASCADE
) STRICT;
INSERT INTO workspaces
    (id, organization_id, name, slug, type, isolation, path, status, external_id, rbac_revision,
     rbac_updated_at, created_at, updated_at)
    SELECT id, organization_id, name, slug, type, isolation, path, status, external_id, rbac_revision,
           rbac_updated_at, created_at, updated_at
    FROM workspaces_before;
CREATE UNIQUE INDEX workspaces_slug ON workspaces (organization_id, slug);
CREATE UNIQUE INDEX workspaces_external_id ON workspaces (organization_id, external_id);
-- What composite foreign keys refer to: a foreign organization's workspace cannot be named.
CREATE UNIQUE INDEX workspaces_id ON workspaces (organization_id, id);
CREATE INDEX workspaces_project ON workspaces (project_id);

CREATE TABLE memberships (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    user_id BLOB REFERENCES users (id) ON DELETE CASCADE,
    scope TEXT NOT NULL,
    workspace_id BLOB,
    group_id BLOB,
    role_id BLOB NOT NULL REFERENCES roles (id),
    status TEXT NOT NULL,
    -- What this member may do beyond the role.
    permissions TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    FOREIGN KEY (organization_id, workspace_id) REFERENCES workspaces (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, group_id) REFERENCES groups (organization_id, id) ON DELETE CASCADE
) STRICT;
INSERT INTO memberships
    (id, organization_id, user_id, scope, workspace_id, role_id, status, permissions, created_at, updated_at)
    SELECT id, organization_id, user_id, scope, workspace_id, role_id, status, permissions, created_at, updated_at
    FROM memberships_before;
CREATE UNIQUE INDEX memberships_user_id ON memberships (organization_id, user_id) WHERE scope = 'organization';
CREATE UNIQUE INDEX memberships_workspace_id_user_id ON memberships (workspace_id, user_id) WHERE scope = 'workspace';
CREATE UNIQUE INDEX memberships_group_id_user_id ON memberships (group_id, user_id) WHERE scope = 'group';
CREATE INDEX memberships_user ON memberships (user_id);
CREATE INDEX memberships_role ON memberships (role_id);
DROP TABLE memberships_before;
DROP TABLE workspaces_before;

-- What a team may do on a project.
CREATE TABLE project_grants (
    organization_id BLOB NOT NULL,
    project_id BLOB NOT NULL,
    group_id BLOB NOT NULL,
    role_id BLOB NOT NULL REFERENCES roles (id),
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (project_id, group_id),
    FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, group_id) REFERENCES groups (organization_id, id) ON DELETE CASCADE
) STRICT;
CREATE INDEX project_grants_group ON project_grants (group_id);
CREATE INDEX project_grants_role ON project_grants (role_id);

-- Seats that are offered to an e-mail address.
CREATE TABLE invitations (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    email TEXT NOT NULL,
    -- The address in lower case, folded by the server.
    email_key TEXT NOT NULL,
    role_id BLOB NOT NULL REFERENCES roles (id),
    workspace_id BLOB,
    message TEXT,
    status TEXT NOT NULL,
    -- SHA-256 of the token's text; the token itself is shown once.
    token_hash BLOB NOT NULL,
    expires_at TEXT NOT NULL,
    accepted_at TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    FOREIGN KEY (organization_id, workspace_id) REFERENCES workspaces (organization_id, id) ON DELETE CASCADE
) STRICT;
CREATE UNIQUE INDEX invitations_token_hash ON invitations (token_hash);
CREATE UNIQUE INDEX invitations_email_key ON invitations (organization_id, email_key) WHERE status = 'pending';
CREATE INDEX invitations_organization ON invitations (organization_id, id);
CREATE INDEX invitations_role ON invitations (role_id);
