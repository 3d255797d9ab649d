"""The hot state of a shard as one value: an epoch opens with it, replay and audit read it."""

import asyncio
from typing import Any

import msgspec

from engine import keys
from engine.wire import Wire

_READ: dict[bytes, tuple[str, ...]] = {
    b"hash": ("HGETALL",),
    b"string": ("GET",),
    b"zset": ("ZRANGE", "0", "-1", "WITHSCORES"),
}


async def read_hot(wire: Wire, shard: int) -> dict[str, Any]:
    """key → value of every key of a shard but meta, token, broadcaster's position and streams."""
    found: dict[str, Any] = {}
    skipped = (keys.meta(shard), keys.token(shard), keys.broadcast(shard))
    cursor = b"0"
    while True:
        cursor, names = await wire.call("SCAN", cursor, "MATCH", keys.every(shard), "COUNT", 1_000)
        kinds = await asyncio.gather(*(wire.call("TYPE", name) for name in names))
        wanted = [
            (name, _READ[kind])
            for name, kind in zip(names, kinds, strict=True)
            if kind in _READ and name.decode() not in skipped
        ]
        values = await asyncio.gather(
            *(wire.call(read[0], name, *read[1:]) for name, read in wanted)
        )
        for (name, read), value in zip(wanted, values, strict=True):
            if value:  # nothing: it expired between the two looks
                found[name.decode()] = _plain(value, pairs=read[0] != "GET")
        if cursor == b"0":
            return found


def _plain(value: Any, *, pairs: bool) -> Any:
    if not pairs:
        return value.decode()
    texts = [part.decode() for part in value]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def pack_snapshot(state: dict[str, Any]) -> bytes:
    """As kept in `shard_epochs.snapshot`."""
    return msgspec.msgpack.encode(state)
