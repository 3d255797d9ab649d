"""The audit: every law of the design as code that only reads.

run.py runs them and report.py says what they found; history.py is what clients write down while
they buy. One file per group of laws; this file imports nothing, so that load clients stay small.
"""
