"""The room gateway: who is watching, and what they have seen. Knows the engine, nothing else."""
