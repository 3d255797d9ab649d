"""The sandbox payment provider: a real HTTP server of its own, with switches for bad evenings.

It never loses a payment it acknowledged (its bill is the witness of the audit), and it does to
callers what providers do: late, lost, doubled and forged callbacks, wrong amounts, no answers.
"""

from cli.sandbox.app import create_app
from cli.sandbox.limits import Limits

__all__ = ["Limits", "create_app"]
