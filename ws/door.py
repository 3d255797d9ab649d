"""What the gateway's port answers before there is a WebSocket: `/v1/live`, `/healthz`, `/metrics`.

Foreign Origins get 403 here, in the handshake. Tokens are never in an address.
"""

import hmac
from http import HTTPStatus
from typing import Final

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request, Response

from engine.settings import Settings
from engine.tokens import bearer
from ws.hub import Hub
from ws.origins import Origins

PATH: Final = "/v1/live"


class Door:
    """`answer` is the server's `process_request`."""

    def __init__(self, hub: Hub, settings: Settings) -> None:
        self._hub = hub
        self._origins = Origins(settings)
        self._metrics_token = settings.metrics_token.encode()
        self._is_open = settings.mode == "development"

    def answer(self, line: ServerConnection, request: Request) -> Response | None:
        """None lets a handshake go on."""
        path = request.path.partition("?")[0]
        if path == "/healthz":
            if self._hub.draining:
                return line.respond(HTTPStatus.SERVICE_UNAVAILABLE, "draining\n")
            return line.respond(HTTPStatus.OK, "alive\n")
        if path == "/metrics":
            return self._metrics(line, request)
        if path != PATH:
            return line.respond(HTTPStatus.NOT_FOUND, f"The gateway is at {PATH}.\n")
        said = request.headers.get_all("Origin")
        if len(said) > 1 or not self._origins.allow(said[0] if said else None):
            return line.respond(HTTPStatus.FORBIDDEN, "This page may not connect here.\n")
        return None

    def _metrics(self, line: ServerConnection, request: Request) -> Response:
        given = request.headers.get_all("Authorization")
        shown = bearer(given[0].encode("utf-8", "replace") if given else b"")
        if self._metrics_token:
            allowed = hmac.compare_digest(shown, self._metrics_token)
        else:
            allowed = self._is_open
        if not allowed:  # as if it were not there
            return line.respond(HTTPStatus.NOT_FOUND, f"The gateway is at {PATH}.\n")
        return line.respond(HTTPStatus.OK, self._hub.metrics.text(self._hub).decode())
