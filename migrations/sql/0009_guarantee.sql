-- The upgrade guarantee: a formed crowd whose difference is still due to its SKU's other orders.
-- Statements end with a semicolon at the end of a line.

ALTER TABLE teams ADD COLUMN guarantee_due BOOLEAN DEFAULT false NOT NULL;

CREATE INDEX teams_guarantee ON teams (decided_at_ms) WHERE guarantee_due;
