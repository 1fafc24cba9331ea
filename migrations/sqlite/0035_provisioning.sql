-- Access to the management API of an identity provider: its settings, and its secret under the key-encryption key.
ALTER TABLE identity_providers ADD COLUMN management TEXT;
ALTER TABLE identity_providers ADD COLUMN management_secret BLOB;
