"""Reading a shard's stream and fence as they are in the hot store, over the wire.

One look is two commands, the fence first: whatever seq it shows must then be in
the stream, so a missing tail is seen as well as a hole.
"""

import msgspec

from engine import keys
from engine.wire import Wire

Entries = list[tuple[int, dict[str, str]]]


class Look(msgspec.Struct, frozen=True):
    """Meta as it is (epoch None: missing) and the entries behind a position."""

    epoch: int | None
    run_id: str
    sealed: str
    seq: int
    settled_seq: int
    entries: Entries


async def look(wire: Wire, shard: int, epoch: int, after_seq: int, count: int) -> Look:
    """The fence of a shard, and at most `count` entries of `epoch`'s stream after `after_seq`."""
    # One after the other on purpose: entries read before the fence could lack what it promises.
    fence = await wire.call(
        "HMGET", keys.meta(shard), "epoch", "run_id", "sealed", "seq", "settled_seq"
    )
    entries = await wire.call(
        "XRANGE", keys.events(shard, epoch), f"({after_seq}-0", "+", "COUNT", count
    )
    known, run_id, sealed, seq, settled = (_text(part) for part in fence)
    return Look(
        epoch=int(known) if known else None,
        run_id=run_id,
        sealed=sealed,
        seq=int(seq or 0),
        settled_seq=int(settled or 0),
        entries=[_entry(entry_id, flat) for entry_id, flat in entries],
    )


async def trim(wire: Wire, shard: int, epoch: int, before_seq: int) -> None:
    """Drop entries below `before_seq`; only what is settled and archived may be."""
    await wire.call("XTRIM", keys.events(shard, epoch), "MINID", "~", f"{before_seq}-0")


def _text(part: bytes | None) -> str:
    return "" if part is None else part.decode(errors="backslashreplace")


def _entry(entry_id: bytes, flat: list[bytes]) -> tuple[int, dict[str, str]]:
    try:
        parts = [part.decode() for part in flat]
    except (UnicodeDecodeError, AttributeError):  # no script of ours writes that: poison, kept
        parts = [_text(part) for part in flat]
    return int(entry_id[: entry_id.index(b"-")]), dict(zip(parts[::2], parts[1::2], strict=True))
