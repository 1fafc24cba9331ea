-- The name of a key whose private half is at a signing service. Its sealed text is empty.
ALTER TABLE signing_keys ADD COLUMN service_key TEXT;
