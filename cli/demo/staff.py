"""Somebody who signs in with a password and asks over HTTP: HQ's people, and guides."""

import asyncio
import json
from typing import Any

from loadtests.lean import LeanClient, Lost

TRIES_MAX = 5
PAUSE_S = 0.3


class Refused(Exception):
    """A request got another answer than the story needs."""


class StaffClient:
    """One signed-in person on one connection; who asks meanwhile waits their turn."""

    def __init__(self, base_url: str) -> None:
        self._app = LeanClient(base_url)
        self._turn = asyncio.Lock()  # the connection carries one request at a time
        self._token = ""

    async def close(self) -> None:
        await self._app.close()

    async def ask(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, key: str = ""
    ) -> dict[str, Any]:
        """A JSON answer, or Refused with what the server said.

        What may be repeated (a look, a PUT, what has a key) is, when the answer was lost.
        """
        for left in reversed(range(TRIES_MAX if method in ("GET", "PUT") or key else 1)):
            try:
                async with self._turn:
                    answer = await self._app.request(
                        method,
                        path,
                        body=json.dumps(body).encode() if body is not None else b"",
                        token=self._token,
                        headers={"idempotency-key": key} if key else None,
                    )
                break
            except Lost as error:
                if not left:
                    raise Refused(f"{method} {path}: no answer") from error
                await asyncio.sleep(PAUSE_S)
        document: dict[str, Any] = json.loads(answer.body or b"{}")
        if answer.status >= 300:
            raise Refused(f"{method} {path}: {answer.status} {document}")
        return document

    async def sign_in(self, login: str, password: str) -> None:
        session = await self.ask(
            "POST", "/v1/sign-in/staff", {"login": login, "password": password}
        )
        self._token = session["access_token"]
