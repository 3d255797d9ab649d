-- The spine: campaigns to orders, payments, refunds, ledger, stream positions.
-- Statements end with a semicolon at the end of a line.

CREATE TABLE audit_log (
  id BIGINT GENERATED ALWAYS AS IDENTITY,
  at_ms BIGINT NOT NULL,
  actor TEXT NOT NULL,
  action TEXT NOT NULL,
  subject TEXT NOT NULL,
  detail JSONB NOT NULL,
  PRIMARY KEY (id)
);

CREATE TABLE campaigns (
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  state TEXT NOT NULL,
  draft JSONB NOT NULL,
  version INTEGER NOT NULL,
  shard SMALLINT,
  created_by TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  review_note TEXT NOT NULL,
  PRIMARY KEY (id)
);

CREATE TABLE dead_letters (
  id BIGINT GENERATED ALWAYS AS IDENTITY,
  shard SMALLINT NOT NULL,
  epoch BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  claim_id TEXT,
  payload BYTEA NOT NULL,
  error TEXT NOT NULL,
  state TEXT NOT NULL,
  note TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  resolved_at_ms BIGINT,
  PRIMARY KEY (id)
);

CREATE INDEX dead_letters_claim ON dead_letters (claim_id);

CREATE TABLE event_batches (
  shard SMALLINT NOT NULL,
  epoch BIGINT NOT NULL,
  first_seq BIGINT NOT NULL,
  last_seq BIGINT NOT NULL,
  payload BYTEA NOT NULL,
  orphaned BOOLEAN DEFAULT false NOT NULL,
  PRIMARY KEY (shard, epoch, first_seq)
);

CREATE TABLE guides (
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  PRIMARY KEY (id)
);

CREATE TABLE incidents (
  cause TEXT NOT NULL,
  kind TEXT NOT NULL,
  shard SMALLINT,
  detail JSONB NOT NULL,
  created_at_ms BIGINT NOT NULL,
  resolved_at_ms BIGINT,
  PRIMARY KEY (cause)
);

CREATE TABLE ledger_accounts (
  name TEXT NOT NULL,
  balance_fen BIGINT NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (name)
);

CREATE TABLE ledger_transactions (
  id BIGINT GENERATED ALWAYS AS IDENTITY,
  reference TEXT NOT NULL,
  kind TEXT NOT NULL,
  order_id TEXT,
  at_ms BIGINT NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (reference)
);

CREATE INDEX ledger_transactions_order ON ledger_transactions (order_id);

CREATE TABLE members (
  id TEXT NOT NULL,
  nickname TEXT NOT NULL,
  phone_hash TEXT NOT NULL,
  phone_cipher BYTEA NOT NULL,
  phone_shown TEXT NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (phone_hash)
);

CREATE TABLE orders (
  id TEXT NOT NULL,
  claim_id TEXT NOT NULL,
  shard SMALLINT NOT NULL,
  offer_id TEXT NOT NULL,
  campaign_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  buyer_id TEXT NOT NULL,
  qty INTEGER NOT NULL,
  units INTEGER NOT NULL,
  price_id TEXT NOT NULL,
  unit_price_fen BIGINT NOT NULL,
  amount_fen BIGINT NOT NULL,
  state TEXT NOT NULL,
  claim_state TEXT NOT NULL,
  reason TEXT NOT NULL,
  claimed_at_ms BIGINT NOT NULL,
  expires_at_ms BIGINT NOT NULL,
  pay_expires_at_ms BIGINT,
  idem_key TEXT NOT NULL,
  body_hash TEXT NOT NULL,
  attempt_id TEXT,
  payment_id TEXT,
  paid_at_ms BIGINT,
  paid_fen BIGINT NOT NULL,
  refunded_fen BIGINT NOT NULL,
  credit JSONB NOT NULL,
  touch TEXT NOT NULL,
  release_due BOOLEAN NOT NULL,
  PRIMARY KEY (id),
  CONSTRAINT orders_units CHECK (units >= 0 AND units <= qty),
  CONSTRAINT orders_refunds CHECK (refunded_fen >= 0 AND refunded_fen <= paid_fen),
  UNIQUE (claim_id)
);

CREATE INDEX orders_buyer ON orders (buyer_id, claimed_at_ms);

CREATE INDEX orders_offer ON orders (offer_id, claim_state);

CREATE INDEX orders_release_due ON orders (id) WHERE release_due;

CREATE INDEX orders_waiting ON orders (shard, claim_state, expires_at_ms);

CREATE TABLE payment_attempts (
  id TEXT NOT NULL,
  claim_id TEXT NOT NULL,
  order_id TEXT NOT NULL,
  shard SMALLINT NOT NULL,
  amount_fen BIGINT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  pay_url TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  pay_expires_at_ms BIGINT,
  send_until_ms BIGINT NOT NULL,
  lease_until_ms BIGINT NOT NULL,
  next_at_ms BIGINT NOT NULL,
  tries INTEGER NOT NULL,
  last_error TEXT NOT NULL,
  applied_epoch BIGINT,
  applied_seq BIGINT,
  released_seq BIGINT,
  PRIMARY KEY (id)
);

CREATE INDEX payment_attempts_claim ON payment_attempts (claim_id);

CREATE INDEX payment_attempts_due ON payment_attempts (next_at_ms) WHERE state IN ('begun', 'open');

CREATE INDEX payment_attempts_receipts ON payment_attempts (next_at_ms) WHERE state IN ('closed', 'void') AND released_seq IS NULL AND reason <> 'refused';

CREATE TABLE payment_facts (
  id TEXT NOT NULL,
  attempt_id TEXT NOT NULL,
  claim_id TEXT,
  order_id TEXT,
  shard SMALLINT,
  amount_fen BIGINT NOT NULL,
  currency TEXT NOT NULL,
  verdict TEXT NOT NULL,
  source TEXT NOT NULL,
  paid_at_ms BIGINT NOT NULL,
  received_at_ms BIGINT NOT NULL,
  outcome TEXT,
  applied_epoch BIGINT,
  applied_seq BIGINT,
  PRIMARY KEY (id)
);

CREATE INDEX payment_facts_claim ON payment_facts (claim_id);

CREATE INDEX payment_facts_due ON payment_facts (received_at_ms) WHERE outcome IS NULL;

CREATE TABLE refunds (
  id TEXT NOT NULL,
  payment_id TEXT NOT NULL,
  order_id TEXT,
  claim_id TEXT,
  shard SMALLINT,
  cause TEXT NOT NULL,
  amount_fen BIGINT NOT NULL,
  units INTEGER NOT NULL,
  state TEXT NOT NULL,
  requested_by TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  lease_until_ms BIGINT NOT NULL,
  next_at_ms BIGINT NOT NULL,
  tries INTEGER NOT NULL,
  last_error TEXT NOT NULL,
  done_at_ms BIGINT,
  applied_epoch BIGINT,
  applied_seq BIGINT,
  PRIMARY KEY (id),
  CONSTRAINT refunds_once_per_cause UNIQUE (payment_id, cause),
  CONSTRAINT refunds_amount_positive CHECK (amount_fen > 0),
  CONSTRAINT refunds_units_not_negative CHECK (units >= 0)
);

CREATE INDEX refunds_due ON refunds (next_at_ms) WHERE state = 'due';

CREATE INDEX refunds_order ON refunds (order_id);

CREATE INDEX refunds_units_due ON refunds (done_at_ms) WHERE state = 'done' AND units > 0 AND applied_seq IS NULL;

CREATE TABLE shard_epochs (
  shard SMALLINT NOT NULL,
  epoch BIGINT NOT NULL,
  opened_at_ms BIGINT,
  closed_at_ms BIGINT,
  last_seq BIGINT,
  reason TEXT NOT NULL,
  snapshot BYTEA,
  PRIMARY KEY (shard, epoch)
);

CREATE TABLE shard_position (
  shard SMALLSERIAL NOT NULL,
  epoch BIGINT NOT NULL,
  seq BIGINT NOT NULL,
  run_id TEXT NOT NULL,
  state TEXT NOT NULL,
  updated_at_ms BIGINT NOT NULL,
  PRIMARY KEY (shard)
);

CREATE TABLE skus (
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  shelf_price_fen BIGINT NOT NULL,
  mall_price_fen BIGINT NOT NULL,
  PRIMARY KEY (id),
  CONSTRAINT skus_prices_positive CHECK (shelf_price_fen > 0 AND mall_price_fen > 0)
);

CREATE TABLE staff (
  id TEXT NOT NULL,
  login TEXT NOT NULL,
  name TEXT NOT NULL,
  role TEXT NOT NULL,
  password_hash TEXT NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (login)
);

CREATE TABLE stores (
  id TEXT NOT NULL,
  name TEXT NOT NULL,
  city TEXT NOT NULL,
  address TEXT NOT NULL,
  latitude FLOAT NOT NULL,
  longitude FLOAT NOT NULL,
  PRIMARY KEY (id)
);

CREATE TABLE bindings (
  member_id TEXT NOT NULL,
  from_ms BIGINT NOT NULL,
  guide_id TEXT,
  PRIMARY KEY (member_id, from_ms),
  FOREIGN KEY(member_id) REFERENCES members (id),
  FOREIGN KEY(guide_id) REFERENCES guides (id)
);

CREATE TABLE campaign_versions (
  campaign_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  body JSONB NOT NULL,
  published_by TEXT NOT NULL,
  published_at_ms BIGINT NOT NULL,
  PRIMARY KEY (campaign_id, version),
  FOREIGN KEY(campaign_id) REFERENCES campaigns (id)
);

CREATE TABLE guide_terms (
  guide_id TEXT NOT NULL,
  from_ms BIGINT NOT NULL,
  store_id TEXT NOT NULL,
  recruiter_id TEXT,
  PRIMARY KEY (guide_id, from_ms),
  FOREIGN KEY(guide_id) REFERENCES guides (id),
  FOREIGN KEY(store_id) REFERENCES stores (id),
  FOREIGN KEY(recruiter_id) REFERENCES guides (id)
);

CREATE TABLE offers (
  id TEXT NOT NULL,
  campaign_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  shard SMALLINT NOT NULL,
  kind TEXT NOT NULL,
  sku_id TEXT NOT NULL,
  state TEXT NOT NULL,
  config JSONB NOT NULL,
  total BIGINT NOT NULL,
  held BIGINT NOT NULL,
  sold BIGINT NOT NULL,
  PRIMARY KEY (id),
  CONSTRAINT offers_not_negative CHECK (held >= 0 AND sold >= 0 AND total >= 0),
  CONSTRAINT offers_guard CHECK (held + sold <= total),
  FOREIGN KEY(campaign_id) REFERENCES campaigns (id),
  FOREIGN KEY(sku_id) REFERENCES skus (id)
);

CREATE INDEX offers_campaign ON offers (campaign_id);

CREATE TABLE postings (
  transaction_id BIGINT NOT NULL,
  line SMALLINT NOT NULL,
  source TEXT NOT NULL,
  destination TEXT NOT NULL,
  amount_fen BIGINT NOT NULL,
  source_version BIGINT,
  source_balance_fen BIGINT,
  destination_version BIGINT,
  destination_balance_fen BIGINT,
  PRIMARY KEY (transaction_id, line),
  CONSTRAINT postings_amount_positive CHECK (amount_fen > 0),
  CONSTRAINT postings_two_accounts CHECK (source <> destination),
  FOREIGN KEY(transaction_id) REFERENCES ledger_transactions (id)
);

CREATE INDEX postings_destination ON postings (destination);

CREATE INDEX postings_source ON postings (source);

CREATE TABLE sku_stock (
  sku_id TEXT NOT NULL,
  store_id TEXT NOT NULL,
  units BIGINT NOT NULL,
  PRIMARY KEY (sku_id, store_id),
  CONSTRAINT sku_stock_not_negative CHECK (units >= 0),
  FOREIGN KEY(sku_id) REFERENCES skus (id),
  FOREIGN KEY(store_id) REFERENCES stores (id)
);

CREATE TABLE offer_commands (
  id TEXT NOT NULL,
  offer_id TEXT NOT NULL,
  shard SMALLINT NOT NULL,
  kind TEXT NOT NULL,
  units BIGINT NOT NULL,
  reason TEXT NOT NULL,
  actor TEXT NOT NULL,
  created_at_ms BIGINT NOT NULL,
  applied_epoch BIGINT,
  applied_seq BIGINT,
  PRIMARY KEY (id),
  FOREIGN KEY(offer_id) REFERENCES offers (id)
);

CREATE INDEX offer_commands_due ON offer_commands (created_at_ms) WHERE applied_seq IS NULL;
