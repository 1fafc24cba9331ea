-- People inside an organization: a tree.
CREATE TABLE groups (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID NOT NULL REFERENCES organizations (id),
    parent_id UUID,
    -- A label that narrows what the group is for; empty for all of it.
    product TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    slug TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    external_id TEXT COLLATE "C",
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX groups_id ON groups (organization_id, id);
ALTER TABLE groups ADD FOREIGN KEY (organization_id, parent_id) REFERENCES groups (organization_id, id);
CREATE UNIQUE INDEX groups_external_id ON groups (organization_id, external_id);
-- Two indexes, because no two NULLs are equal: one among siblings, one among roots.
CREATE UNIQUE INDEX groups_parent_id_product_slug ON groups (organization_id, parent_id, product, slug);
CREATE UNIQUE INDEX groups_product_slug ON groups (organization_id, product, slug) WHERE parent_id IS NULL;
CREATE INDEX groups_parent ON groups (parent_id);

-- Units of work. What belongs to a project follows it to another organization.
CREATE TABLE projects (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID NOT NULL REFERENCES organizations (id),
    name TEXT COLLATE "C" NOT NULL,
    slug TEXT COLLATE "C" NOT NULL,
    description TEXT COLLATE "C",
    repo_url TEXT COLLATE "C",
    default_branch TEXT COLLATE "C",
    local_path TEXT COLLATE "C",
    workspace_mode TEXT COLLATE "C",
    git_mode TEXT COLLATE "C",
    external_id TEXT COLLATE "C",
    metadata JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX projects_id ON projects (organization_id, id);
CREATE UNIQUE INDEX projects_slug ON projects (organization_id, slug);
CREATE UNIQUE INDEX projects_external_id ON projects (organization_id, external_id);

-- What a run of a project left behind.
CREATE TABLE artifacts (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID NOT NULL REFERENCES organizations (id),
    project_id UUID NOT NULL,
    run_id TEXT COLLATE "C" NOT NULL,
    step_id TEXT COLLATE "C" NOT NULL,
    type TEXT COLLATE "C" NOT NULL,
    path TEXT COLLATE "C" NOT NULL,
    size_bytes BIGINT NOT NULL CHECK (size_bytes >= 0),
    mime_type TEXT COLLATE "C",
    metadata JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id) ON UPDATE CASCADE
);
CREATE INDEX artifacts_organization ON artifacts (organization_id, id);
CREATE INDEX artifacts_project ON artifacts (project_id, id);
CREATE INDEX artifacts_run ON artifacts (organization_id, run_id);

ALTER TABLE workspaces ADD COLUMN project_id UUID;
ALTER TABLE workspaces ADD FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id) ON UPDATE CASCADE;
CREATE INDEX workspaces_project ON workspaces (project_id);

ALTER TABLE memberships ADD COLUMN group_id UUID;
ALTER TABLE memberships ADD FOREIGN KEY (organization_id, group_id) REFERENCES groups (organization_id, id) ON DELETE CASCADE;
CREATE UNIQUE INDEX memberships_group_id_user_id ON memberships (group_id, user_id) WHERE scope = 'group';

-- What a team may do on a project.
CREATE TABLE project_grants (
    organization_id UUID NOT NULL,
    project_id UUID NOT NULL,
    group_id UUID NOT NULL,
    role_id UUID NOT NULL REFERENCES roles (id),
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (project_id, group_id),
    FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, group_id) REFERENCES groups (organization_id, id) ON DELETE CASCADE
);
CREATE INDEX project_grants_group ON project_grants (group_id);
CREATE INDEX project_grants_role ON project_grants (role_id);

-- Seats that are offered to an e-mail address.
CREATE TABLE invitations (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID NOT NULL REFERENCES organizations (id),
    email TEXT COLLATE "C" NOT NULL,
    -- The address in lower case, folded by the server.
    email_key TEXT COLLATE "C" NOT NULL,
    role_id UUID NOT NULL REFERENCES roles (id),
    workspace_id UUID,
    message TEXT COLLATE "C",
    status TEXT COLLATE "C" NOT NULL,
    -- SHA-256 of the token's text; the token itself is shown once.
    token_hash BYTEA NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL,
    accepted_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    FOREIGN KEY (organization_id, workspace_id) REFERENCES workspaces (organization_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX invitations_token_hash ON invitations (token_hash);
CREATE UNIQUE INDEX invitations_email_key ON invitations (organization_id, email_key) WHERE status = 'pending';
CREATE INDEX invitations_organization ON invitations (organization_id, id);
CREATE INDEX invitations_role ON invitations (role_id);
