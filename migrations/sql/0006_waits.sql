-- Who waits for units of an offer; a row goes when they were served, skipped, or left.
-- Statements end with a semicolon at the end of a line.

CREATE TABLE waits (
  offer_id TEXT NOT NULL,
  buyer_id TEXT NOT NULL,
  shard SMALLINT NOT NULL,
  qty INTEGER NOT NULL,
  price_id TEXT NOT NULL,
  idem_key TEXT NOT NULL,
  body_hash TEXT NOT NULL,
  touch TEXT NOT NULL,
  place BIGINT NOT NULL,
  joined_at_ms BIGINT NOT NULL,
  PRIMARY KEY (offer_id, buyer_id),
  CONSTRAINT waits_place UNIQUE (offer_id, place),
  CONSTRAINT waits_qty CHECK (qty > 0),
  FOREIGN KEY(offer_id) REFERENCES offers (id)
);

CREATE INDEX waits_shard ON waits (shard, offer_id);
