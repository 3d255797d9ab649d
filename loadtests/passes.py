"""Room tokens over HTTP, as a page gets them: `POST /v1/rooms/{room_id}/token`.

Anonymous viewers may share a token (it names nobody but the room), so that thousands of them can
join without as many requests; a signed-in viewer has its own.
"""

import asyncio
import time

import msgspec

from loadtests.hall import NoPass, PassSource, RoomPass
from loadtests.lean import LeanClient, Lost

CLIENTS_MAX = 16  # a slow answer on a busy machine must not hold up a whole room
FRESH_MS = 90_000  # a shared token with less time left is not given out any more


class _Given(msgspec.Struct):
    token: str
    expires_at_ms: int
    gateway_url: str
    topics: tuple[str, ...]


class PassDesk:
    """Asks for tokens of one room over a few connections; `close` at the end."""

    def __init__(self, base_url: str, room_id: str, *, shared_by: int = 1) -> None:
        self._path = f"/v1/rooms/{room_id}/token"
        self._shared_by = max(1, shared_by)
        self._free: asyncio.Queue[LeanClient] = asyncio.Queue()
        self._clients = [LeanClient(base_url) for _ in range(CLIENTS_MAX)]
        for client in self._clients:
            self._free.put_nowait(client)
        self._shared: RoomPass | None = None
        self._left = 0
        self._one = asyncio.Lock()

    def anonymous(self) -> PassSource:
        """A source for a viewer who is not signed in."""
        return self._anonymous

    def of(self, bearer: str) -> PassSource:
        """A source for a signed-in viewer."""

        async def own() -> RoomPass:
            return await self.ask(bearer)

        return own

    async def ask(self, bearer: str = "") -> RoomPass:
        """One token; NoPass when it was refused or nobody answered."""
        client = await self._free.get()
        try:
            answer = await client.request("POST", self._path, token=bearer)
        except Lost as error:
            raise NoPass("no answer") from error
        finally:
            self._free.put_nowait(client)
        if not 200 <= answer.status < 300:
            raise NoPass(f"{answer.status} {answer.body[:200]!r}")
        given = msgspec.json.decode(answer.body, type=_Given)
        return RoomPass(given.token, given.topics, given.expires_at_ms, given.gateway_url)

    async def _anonymous(self) -> RoomPass:
        async with self._one:
            now_ms = time.time() * 1000
            if (
                self._shared is None
                or not self._left
                or (self._shared.expires_at_ms - now_ms < FRESH_MS)
            ):
                self._shared, self._left = await self.ask(), self._shared_by
            self._left -= 1
            return self._shared

    async def close(self) -> None:
        """Hang up."""
        for client in self._clients:
            await client.close()
