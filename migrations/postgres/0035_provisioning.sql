-- Access to the management API of an identity provider: its settings, and its secret under the key-encryption key.
ALTER TABLE identity_providers ADD COLUMN management JSONB;
ALTER TABLE identity_providers ADD COLUMN management_secret BYTEA;
