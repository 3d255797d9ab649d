-- After forming: where an order is picked up, when its goods were there, and who handed them over.
-- Statements end with a semicolon at the end of a line.

CREATE TABLE pick_ups (
  order_id TEXT NOT NULL,
  serial BIGINT GENERATED ALWAYS AS IDENTITY,
  store_id TEXT NOT NULL,
  chosen_by TEXT NOT NULL,
  ready_at_ms BIGINT,
  ready_by TEXT,
  units INTEGER,
  fulfilled_at_ms BIGINT,
  fulfilled_by TEXT,
  PRIMARY KEY (order_id),
  CONSTRAINT pick_ups_serial UNIQUE (serial),
  CONSTRAINT pick_ups_units CHECK ((fulfilled_at_ms IS NULL) = (units IS NULL) AND units > 0),
  CONSTRAINT pick_ups_ready_first CHECK (fulfilled_at_ms IS NULL OR ready_at_ms IS NOT NULL),
  FOREIGN KEY(order_id) REFERENCES orders (id),
  FOREIGN KEY(store_id) REFERENCES stores (id)
);
