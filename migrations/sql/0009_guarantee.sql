-- The upgrade guarantee: a formed crowd whose difference is still due to its SKU's other orders;
-- and since when a crowd may not be left.
-- Statements end with a semicolon at the end of a line.

ALTER TABLE teams ADD COLUMN guarantee_due BOOLEAN DEFAULT false NOT NULL;

ALTER TABLE teams ADD COLUMN reached_at_ms BIGINT;

CREATE INDEX teams_guarantee ON teams (decided_at_ms) WHERE guarantee_due;
