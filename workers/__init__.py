"""What happens next: settle, sweep, query and close payments, refund. Imports campaigns, engine."""
