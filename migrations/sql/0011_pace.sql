-- How fast the provider may be asked, shared by all workers: one row per operation.
-- Statements end with a semicolon at the end of a line.

CREATE TABLE provider_pace (
  operation TEXT NOT NULL,
  calls_until_us BIGINT NOT NULL,
  errors_until_us BIGINT NOT NULL,
  PRIMARY KEY (operation)
);

INSERT INTO provider_pace VALUES ('refund', 0, 0);
