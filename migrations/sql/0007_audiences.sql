-- Audiences: who counts as a member, whose newcomer's order stands; and the floor price of a SKU.
-- Statements end with a semicolon at the end of a line.

ALTER TABLE members ADD COLUMN imported BOOLEAN DEFAULT false NOT NULL;

-- Whoever joined by phone got an id of ours.
UPDATE members SET imported = true WHERE id !~ '^mbr_[0-9a-z]{23}$';

CREATE INDEX orders_newcomers ON orders (buyer_id) WHERE newcomer;

CREATE INDEX offers_sku ON offers (sku_id);

ALTER TABLE skus ADD COLUMN floor_price_fen BIGINT;

ALTER TABLE skus ADD CONSTRAINT skus_floor_positive CHECK (floor_price_fen > 0);
