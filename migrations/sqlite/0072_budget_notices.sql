-- The percentages of a budget's total at which an event is sent.
ALTER TABLE budgets ADD COLUMN notify_at TEXT;
