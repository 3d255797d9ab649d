-- Group buys: teams and their commands, seats of orders, and what an order's split was posted on.
-- Statements end with a semicolon at the end of a line.

CREATE TABLE teams (
  id TEXT NOT NULL,
  shard SMALLINT NOT NULL,
  offer_id TEXT NOT NULL,
  campaign_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  kind TEXT NOT NULL,
  opener_id TEXT NOT NULL,
  captain_id TEXT NOT NULL,
  size INTEGER NOT NULL,
  state TEXT NOT NULL,
  why TEXT NOT NULL,
  paid INTEGER NOT NULL,
  subsidy INTEGER NOT NULL,
  step INTEGER NOT NULL,
  opened_at_ms BIGINT NOT NULL,
  deadline_ms BIGINT NOT NULL,
  decided_at_ms BIGINT,
  booked_at_ms BIGINT,
  PRIMARY KEY (id),
  CONSTRAINT teams_capacity CHECK (kind = 'crowd' OR paid + subsidy <= size)
);

CREATE INDEX teams_offer ON teams (offer_id, state, deadline_ms);

CREATE INDEX teams_undecided ON teams (shard, deadline_ms) WHERE decided_at_ms IS NULL;

CREATE INDEX teams_to_book ON teams (decided_at_ms) WHERE decided_at_ms IS NOT NULL AND booked_at_ms IS NULL;

CREATE TABLE team_commands (
  id TEXT NOT NULL,
  team_id TEXT NOT NULL,
  offer_id TEXT NOT NULL,
  shard SMALLINT NOT NULL,
  kind TEXT NOT NULL,
  seats INTEGER NOT NULL,
  amount_fen BIGINT NOT NULL,
  reason TEXT NOT NULL,
  actor TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  outcome TEXT,
  applied_epoch BIGINT,
  applied_seq BIGINT,
  PRIMARY KEY (id),
  CONSTRAINT team_commands_seats CHECK (seats > 0),
  FOREIGN KEY(team_id) REFERENCES teams (id)
);

CREATE INDEX team_commands_due ON team_commands (created_at_ms) WHERE applied_seq IS NULL AND outcome IS NULL;

ALTER TABLE orders ADD COLUMN team_id TEXT;

ALTER TABLE orders ADD COLUMN seat TEXT DEFAULT '' NOT NULL;

ALTER TABLE orders ADD COLUMN consent BOOLEAN DEFAULT false NOT NULL;

ALTER TABLE orders ADD COLUMN newcomer BOOLEAN DEFAULT false NOT NULL;

ALTER TABLE orders ADD COLUMN split_fen BIGINT;

ALTER TABLE orders ADD COLUMN final_price_fen BIGINT;

UPDATE orders SET split_fen = paid_fen WHERE payment_id IS NOT NULL;

CREATE INDEX orders_team ON orders (team_id) WHERE team_id IS NOT NULL;
