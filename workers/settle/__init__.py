"""The settler: what happened in the hot store becomes orders, postings and a position in SQL.

loop → batch (one transaction) → load · fold · write; reopen and rebuild when the hot store is
not the one that the position speaks of.
"""
