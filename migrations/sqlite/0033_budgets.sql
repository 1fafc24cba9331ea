-- Usage by product, group and person, with its credits.
ALTER TABLE usage_events ADD COLUMN product TEXT NOT NULL DEFAULT '';
ALTER TABLE usage_events ADD COLUMN group_id BLOB;
ALTER TABLE usage_events ADD COLUMN user_id BLOB;
-- Decimals as text; without a value where the product has no budget.
ALTER TABLE usage_events ADD COLUMN credits TEXT;
ALTER TABLE usage_events ADD COLUMN credit_factor TEXT;
CREATE INDEX usage_events_group ON usage_events (group_id, id) WHERE group_id IS NOT NULL;
CREATE INDEX usage_events_user ON usage_events (user_id, id) WHERE user_id IS NOT NULL;

-- The kind of the scope: organization, project, group or user.
ALTER TABLE usage_series ADD COLUMN scope_kind TEXT NOT NULL DEFAULT 'project';
UPDATE usage_series SET scope_kind = 'organization' WHERE scope = organization_id;

-- The cost of a product in credits, and the credits that there are.
CREATE TABLE budgets (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    product TEXT NOT NULL,
    -- Decimals as text; null is unlimited.
    credits TEXT NOT NULL,
    overflow TEXT,
    -- Credits per unit of cost.
    factor TEXT NOT NULL,
    cost_metric TEXT NOT NULL,
    cost_unit TEXT NOT NULL,
    enforcement TEXT NOT NULL,
    cadence TEXT NOT NULL,
    renewal_day INTEGER NOT NULL,
    -- The maximum credits that a cycle passes on; null is all.
    rollover_cap TEXT,
    -- Whether allocations together never exceed what they are part of.
    strict INTEGER NOT NULL,
    dimensions TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX budgets_id ON budgets (organization_id, id);
CREATE UNIQUE INDEX budgets_product ON budgets (organization_id, product);

-- The time for which a budget's credits are available.
CREATE TABLE budget_cycles (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    budget_id BLOB NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    starts_at TEXT NOT NULL,
    -- Exclusive; none for an active cycle that a caller ends.
    ends_at TEXT,
    -- Decimals as text. The total is the sum of both.
    credits TEXT NOT NULL,
    rollover TEXT NOT NULL,
    rollover_cap TEXT,
    -- The summary of a closed cycle, which never changes again.
    summary TEXT,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    FOREIGN KEY (organization_id, budget_id) REFERENCES budgets (organization_id, id) ON DELETE CASCADE
) STRICT;
CREATE UNIQUE INDEX budget_cycles_id ON budget_cycles (organization_id, id);
CREATE UNIQUE INDEX budget_cycles_budget_id ON budget_cycles (organization_id, budget_id) WHERE status = 'active';
CREATE INDEX budget_cycles_budget ON budget_cycles (budget_id, id);
CREATE INDEX budget_cycles_end ON budget_cycles (ends_at) WHERE status = 'active';

-- A day's cost of a product, by group, person and dimensions. The zero UUID stands for none.
CREATE TABLE usage_costs (
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    product TEXT NOT NULL,
    -- Days since 1970, UTC.
    day INTEGER NOT NULL,
    group_id BLOB NOT NULL,
    user_id BLOB NOT NULL,
    -- Canonical JSON of the event's dimensions.
    dims TEXT NOT NULL,
    cost_units INTEGER NOT NULL,
    cost_micros INTEGER NOT NULL,
    credit_units INTEGER NOT NULL,
    credit_micros INTEGER NOT NULL,
    events INTEGER NOT NULL,
    PRIMARY KEY (organization_id, product, day, group_id, user_id, dims)
) STRICT, WITHOUT ROWID;

-- Limits of groups and people, and the allocations of budget cycles. SQLite adds no foreign keys, so
-- the table is copied.
CREATE TABLE new_usage_limits (
    id BLOB NOT NULL PRIMARY KEY,
    organization_id BLOB NOT NULL REFERENCES organizations (id),
    -- Of the whole organization when there is none.
    project_id BLOB,
    metric TEXT NOT NULL,
    unit TEXT NOT NULL,
    window_kind TEXT NOT NULL,
    period TEXT NOT NULL,
    -- A decimal as text; unlimited when there is none.
    quantity TEXT,
    enforcement TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    scope_kind TEXT NOT NULL,
    scope_id BLOB NOT NULL,
    -- These columns exist for their keys: the deletion of what they name deletes the limit.
    group_id BLOB,
    user_id BLOB REFERENCES users (id) ON DELETE CASCADE,
    cycle_id BLOB,
    -- The group of whose allocation this one is a part; the organization's when there is none.
    within_id BLOB,
    -- A decimal as text; null is unlimited.
    overflow TEXT DEFAULT '0',
    override_quantity TEXT,
    override_reason TEXT,
    source TEXT NOT NULL DEFAULT 'manual',
    FOREIGN KEY (organization_id, project_id) REFERENCES projects (organization_id, id)
        ON DELETE CASCADE ON UPDATE CASCADE,
    FOREIGN KEY (organization_id, group_id) REFERENCES groups (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, within_id) REFERENCES groups (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, cycle_id) REFERENCES budget_cycles (organization_id, id) ON DELETE CASCADE
) STRICT;
INSERT INTO new_usage_limits
    (id, organization_id, project_id, metric, unit, window_kind, period, quantity, enforcement, created_at,
     updated_at, scope_kind, scope_id)
SELECT id, organization_id, project_id, metric, unit, window_kind, period, quantity, enforcement, created_at,
       updated_at, CASE WHEN project_id IS NULL THEN 'organization' ELSE 'project' END,
       COALESCE(project_id, organization_id)
FROM usage_limits;
DROP TABLE usage_limits;
ALTER TABLE new_usage_limits RENAME TO usage_limits;
CREATE UNIQUE INDEX usage_limits_key
    ON usage_limits (organization_id, scope_kind, scope_id, metric, unit, window_kind, period)
    WHERE cycle_id IS NULL;
CREATE UNIQUE INDEX usage_limits_cycle_id
    ON usage_limits (organization_id, cycle_id, scope_kind, scope_id) WHERE cycle_id IS NOT NULL;
CREATE INDEX usage_limits_cycle ON usage_limits (cycle_id);
CREATE INDEX usage_limits_group ON usage_limits (group_id);
CREATE INDEX usage_limits_within ON usage_limits (within_id);
CREATE INDEX usage_limits_user ON usage_limits (user_id);
CREATE INDEX usage_limits_project ON usage_limits (project_id);
