"""Double-entry ledger: chart, pure splits, and the only code that posts."""
