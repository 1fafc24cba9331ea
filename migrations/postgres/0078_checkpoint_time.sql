-- When the last checkpoint was signed.
ALTER TABLE log_checkpoints ADD COLUMN signed_at TIMESTAMPTZ;
