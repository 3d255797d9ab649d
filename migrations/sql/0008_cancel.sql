-- The kill switch: who cancelled a campaign, when and why; offers whose teams end with it.
-- Statements end with a semicolon at the end of a line.

ALTER TABLE campaigns ADD COLUMN cancel_note TEXT DEFAULT '' NOT NULL;

ALTER TABLE campaigns ADD COLUMN cancelled_by TEXT;

ALTER TABLE campaigns ADD COLUMN cancelled_at_ms BIGINT;

CREATE INDEX offers_cancelled ON offers (shard, id) WHERE state = 'cancelled';
