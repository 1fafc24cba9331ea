-- Until when an organization that its own people deleted is kept, with its usage and subscriptions.
ALTER TABLE organizations ADD COLUMN retained_until TIMESTAMPTZ;
