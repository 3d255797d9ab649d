"""An evening over the product's own HTTP interface, played from separate client processes.

command → evening (HQ's part, the story) → crowd processes (customers) ; screen and summary show.
"""
