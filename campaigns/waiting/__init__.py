"""Waiting lists: who waits for units of a flash or regular offer."""
