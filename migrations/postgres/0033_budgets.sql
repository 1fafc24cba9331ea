-- Usage by product, group and person, with its credits.
ALTER TABLE usage_events ADD COLUMN product TEXT NOT NULL DEFAULT '';
ALTER TABLE usage_events ADD COLUMN group_id UUID;
ALTER TABLE usage_events ADD COLUMN user_id UUID;
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
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID NOT NULL REFERENCES organizations (id),
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
    renewal_day BIGINT NOT NULL,
    -- The maximum credits that a cycle passes on; null is all.
    rollover_cap TEXT,
    -- Whether allocations together never exceed what they are part of.
    strict BOOLEAN NOT NULL,
    dimensions JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
);
CREATE UNIQUE INDEX budgets_id ON budgets (organization_id, id);
CREATE UNIQUE INDEX budgets_product ON budgets (organization_id, product);

-- The time for which a budget's credits are available.
CREATE TABLE budget_cycles (
    id UUID NOT NULL PRIMARY KEY,
    organization_id UUID NOT NULL REFERENCES organizations (id),
    budget_id UUID NOT NULL,
    name TEXT NOT NULL,
    status TEXT NOT NULL,
    starts_at TIMESTAMPTZ NOT NULL,
    -- Exclusive; none for an active cycle that a caller ends.
    ends_at TIMESTAMPTZ,
    -- Decimals as text. The total is the sum of both.
    credits TEXT NOT NULL,
    rollover TEXT NOT NULL,
    rollover_cap TEXT,
    -- The summary of a closed cycle, which never changes again.
    summary JSONB,
    created_at TIMESTAMPTZ NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL,
    FOREIGN KEY (organization_id, budget_id) REFERENCES budgets (organization_id, id) ON DELETE CASCADE
);
CREATE UNIQUE INDEX budget_cycles_id ON budget_cycles (organization_id, id);
CREATE UNIQUE INDEX budget_cycles_budget_id ON budget_cycles (organization_id, budget_id) WHERE status = 'active';
CREATE INDEX budget_cycles_budget ON budget_cycles (budget_id, id);
CREATE INDEX budget_cycles_end ON budget_cycles (ends_at) WHERE status = 'active';

-- A day's cost of a product, by group, person and dimensions. The zero UUID stands for none.
CREATE TABLE usage_costs (
    organization_id UUID NOT NULL REFERENCES organizations (id),
    product TEXT NOT NULL,
    -- Days since 1970, UTC.
    day BIGINT NOT NULL,
    group_id UUID NOT NULL,
    user_id UUID NOT NULL,
    -- Canonical JSON of the event's dimensions.
    dims TEXT NOT NULL,
    cost_units BIGINT NOT NULL,
    cost_micros BIGINT NOT NULL,
    credit_units BIGINT NOT NULL,
    credit_micros BIGINT NOT NULL,
    events BIGINT NOT NULL,
    PRIMARY KEY (organization_id, product, day, group_id, user_id, dims)
);

-- Limits of groups and people, and the allocations of budget cycles.
ALTER TABLE usage_limits ADD COLUMN scope_kind TEXT;
ALTER TABLE usage_limits ADD COLUMN scope_id UUID;
-- These columns exist for their keys: the deletion of what they name deletes the limit.
ALTER TABLE usage_limits ADD COLUMN group_id UUID;
ALTER TABLE usage_limits ADD COLUMN user_id UUID REFERENCES users (id) ON DELETE CASCADE;
ALTER TABLE usage_limits ADD COLUMN cycle_id UUID;
-- The group of whose allocation this one is a part; the organization's when there is none.
ALTER TABLE usage_limits ADD COLUMN within_id UUID;
-- A decimal as text; null is unlimited.
ALTER TABLE usage_limits ADD COLUMN overflow TEXT DEFAULT '0';
ALTER TABLE usage_limits ADD COLUMN override_quantity TEXT;
ALTER TABLE usage_limits ADD COLUMN override_reason TEXT;
ALTER TABLE usage_limits ADD COLUMN source TEXT NOT NULL DEFAULT 'manual';
UPDATE usage_limits SET scope_kind = CASE WHEN project_id IS NULL THEN 'organization' ELSE 'project' END,
                        scope_id = COALESCE(project_id, organization_id);
ALTER TABLE usage_limits ALTER COLUMN scope_kind SET NOT NULL;
ALTER TABLE usage_limits ALTER COLUMN scope_id SET NOT NULL;
ALTER TABLE usage_limits ADD FOREIGN KEY (organization_id, group_id)
    REFERENCES groups (organization_id, id) ON DELETE CASCADE;
ALTER TABLE usage_limits ADD FOREIGN KEY (organization_id, within_id)
    REFERENCES groups (organization_id, id) ON DELETE CASCADE;
ALTER TABLE usage_limits ADD FOREIGN KEY (organization_id, cycle_id)
    REFERENCES budget_cycles (organization_id, id) ON DELETE CASCADE;
DROP INDEX usage_limits_project_id_key;
DROP INDEX usage_limits_key;
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
