"""What is true: hot state, scripts, events, streams, money, ledger, laws.

Knows no HTTP, no arq and no websockets, and imports nothing else of ours.
"""
