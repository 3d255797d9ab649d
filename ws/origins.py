"""Which pages may open a connection: those of the Origins that the settings name, exactly.

Browsers always say the Origin of a page; programs that are no browser say none and are let in,
since the token in the first frame is what allows anything.
"""

import re
from typing import Final
from urllib.parse import urlsplit

from engine.settings import Settings

_LOOPBACK: Final = re.compile(r"https?://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")


class Origins:
    """The allowed ones; development adds every port of this machine."""

    def __init__(self, settings: Settings) -> None:
        named = [one.strip() for one in settings.origins.split(",") if one.strip()]
        if not named and settings.public_url:
            parts = urlsplit(settings.public_url)
            named = [f"{parts.scheme}://{parts.netloc}"]
        self._named = frozenset(one.lower() for one in named)
        self._loopback = settings.mode == "development"

    def allow(self, origin: str | None) -> bool:
        """Whether a handshake with this Origin header (None: without one) is answered."""
        if origin is None:
            return True
        said = origin.lower()
        return said in self._named or (self._loopback and _LOOPBACK.fullmatch(said) is not None)
