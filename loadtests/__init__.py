"""Load scenarios over HTTP alone, with a verdict that runs the audit."""
