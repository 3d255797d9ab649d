-- Rooms: live sessions, what was changed in them, their archived logs, and the checked laws.
-- Statements end with a semicolon at the end of a line.

ALTER TABLE staff ADD COLUMN guide_id TEXT REFERENCES guides (id);

CREATE TABLE law_checks (
  law TEXT NOT NULL,
  ok BOOLEAN NOT NULL,
  checked BIGINT NOT NULL,
  detail TEXT NOT NULL,
  at_ms BIGINT NOT NULL,
  PRIMARY KEY (law)
);

CREATE TABLE room_log_batches (
  topic TEXT NOT NULL,
  epoch TEXT NOT NULL,
  first_offset BIGINT NOT NULL,
  last_offset BIGINT NOT NULL,
  payload BYTEA NOT NULL,
  PRIMARY KEY (topic, epoch, first_offset)
);

CREATE TABLE rooms (
  id TEXT NOT NULL,
  title TEXT NOT NULL,
  store_id TEXT NOT NULL,
  host_guide_id TEXT NOT NULL,
  state TEXT NOT NULL,
  starts_at_ms BIGINT NOT NULL,
  went_live_at_ms BIGINT,
  ended_at_ms BIGINT,
  shelf JSONB NOT NULL,
  pin TEXT,
  created_by TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  PRIMARY KEY (id),
  FOREIGN KEY(store_id) REFERENCES stores (id),
  FOREIGN KEY(host_guide_id) REFERENCES guides (id)
);

CREATE INDEX rooms_by_start ON rooms (starts_at_ms);

CREATE TABLE room_commands (
  id TEXT NOT NULL,
  room_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  part TEXT NOT NULL,
  event JSONB NOT NULL,
  actor TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  published_at_ms BIGINT,
  PRIMARY KEY (id),
  FOREIGN KEY(room_id) REFERENCES rooms (id)
);

CREATE INDEX room_commands_by_room ON room_commands (room_id, id);

CREATE INDEX room_commands_due ON room_commands (id) WHERE published_at_ms IS NULL;
