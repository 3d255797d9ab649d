"""The guide's part of the evening, over HTTP: one room from scheduled to ended."""

from collections.abc import Sequence
from typing import Any

from cli.demo.headquarters import Headquarters
from cli.demo.staff import StaffClient
from cli.shop import Host


class LiveRoom:
    """A room and the guide who hosts it, signed in."""

    def __init__(self, base_url: str, host: Host) -> None:
        self.host = host
        self.room_id = ""
        self._guide = StaffClient(base_url)

    async def open(
        self,
        hq: Headquarters,
        password: str,
        title: str,
        offers: Sequence[str],
        starts_at_ms: int,
    ) -> None:
        """The guide signs in, and HQ schedules the room with these offers on its shelf."""
        await self._guide.sign_in(self.host.login, password)
        self.room_id = await hq.schedule_room(title, self.host, offers, starts_at_ms)

    async def go_live(self) -> None:
        await self._ask("POST", "live")

    async def pin(self, offer_id: str | None) -> None:
        await self._ask("PUT", "pin", {"offer_id": offer_id})

    async def end(self) -> None:
        await self._ask("POST", "end")

    async def close(self) -> None:
        """Hang up; the room stays as it is."""
        await self._guide.close()

    async def _ask(self, method: str, action: str, body: dict[str, Any] | None = None) -> None:
        await self._guide.ask(method, f"/v1/rooms/{self.room_id}/{action}", body)
