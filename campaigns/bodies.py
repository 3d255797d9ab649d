"""Request bodies, decoded strictly: Litestar's own way would take `"1"` and `1.0` for 1.

It converts bodies with `strict=False`, which is right for query strings and wrong for money. So
our Request decodes a JSON body once, straight into the Struct that the handler's `data` names.
"""

from functools import lru_cache
from typing import Any

import msgspec
from litestar.connection import Request

from campaigns.problems import bad_body


@lru_cache(maxsize=256)
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind, strict=True)


class StrictRequest(Request[Any, Any, Any]):
    """A request whose `json()` is already what the handler's `data` asks for."""

    async def body(self) -> bytes:
        # An empty body would reach the handler as "missing"; `null` gives a message of its own.
        return await super().body() or b"null"

    async def json(self) -> Any:
        """The body as the Struct; BadInput `malformed_json` or `invalid_body`."""
        wanted = self.route_handler.parsed_data_field
        assert wanted is not None
        raw = await self.body()
        if b"\\u0000" in raw:  # PostgreSQL keeps no NUL, in text or in JSON
            raise bad_body(msgspec.ValidationError("U+0000 is not taken in any text"))
        try:
            return _decoder(wanted.annotation).decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise bad_body(error) from None
