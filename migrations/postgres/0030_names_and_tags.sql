-- The vendor's own names and values for licenses and deployments.
ALTER TABLE licenses ADD COLUMN name TEXT;
ALTER TABLE licenses ADD COLUMN metadata JSONB NOT NULL DEFAULT '{}';
ALTER TABLE licenses ADD COLUMN tags JSONB NOT NULL DEFAULT '[]';
ALTER TABLE deployments ADD COLUMN metadata JSONB NOT NULL DEFAULT '{}';
ALTER TABLE deployments ADD COLUMN tags JSONB NOT NULL DEFAULT '[]';
