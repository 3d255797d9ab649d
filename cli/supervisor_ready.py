"""Readiness checks for services: small blocking functions that a supervisor calls in a thread."""

import http.client
from collections.abc import Callable
from urllib.parse import urlsplit


def answers_http(url: str, *, timeout_s: float = 2.0) -> Callable[[], bool]:
    """A check that is true once GET `url` answers 200."""
    parts = urlsplit(url)

    def check() -> bool:
        connection = http.client.HTTPConnection(
            parts.hostname or "127.0.0.1", parts.port, timeout=timeout_s
        )
        try:
            connection.request("GET", parts.path or "/")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return check
