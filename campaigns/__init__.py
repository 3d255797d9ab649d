"""What is sold, to whom, by whom: one folder per noun, and the HTTP API. Imports engine."""
