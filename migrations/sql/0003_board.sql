-- The board looks at one day of orders and refunds: block ranges, which cost writers next to nothing.
-- Statements end with a semicolon at the end of a line.

CREATE INDEX orders_times ON orders USING brin (claimed_at_ms, paid_at_ms) WITH (autosummarize = on);

CREATE INDEX refunds_times ON refunds USING brin (done_at_ms) WITH (autosummarize = on);
