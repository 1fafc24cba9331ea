-- The vendor's own names and values for licenses and deployments.
ALTER TABLE licenses ADD COLUMN name TEXT;
ALTER TABLE licenses ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}';
ALTER TABLE licenses ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
ALTER TABLE deployments ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}';
ALTER TABLE deployments ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
