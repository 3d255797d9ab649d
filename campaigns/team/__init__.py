"""Group buys: teams of two or three, and crowds."""
