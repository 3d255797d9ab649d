"""The logs of topics in the hot store: `room:<id>`, `team:<id>`, `me:<member>`.

Each topic has its own log with its own epoch and offset: reliable events are numbered 1..n without
a gap, each with one origin, and an epoch begins with a snapshot (its parts at offset 0). A log
that is lost begins a new epoch; a position of another epoch is worth nothing.
Every method may be repeated: scripts know marks, command ids and client ids. Unavailable says
that the hot store cannot be reached, or takes nothing new right now.
"""

import secrets
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, NamedTuple

import hiredis
import msgspec

from engine import keys
from engine.errors import Unavailable
from engine.ids import now_ms
from engine.inventory import Reply
from engine.room_events import TopicEvent, without_personal
from engine.scripts import Script, load_all
from engine.settings import Settings
from engine.wire import Wire

PRESENCE_MS = 5_000  # a gateway that has said nothing for so long does not count
PRESENCE_KEEP_MS = 60_000
DID_KEEP_MS = 86_400_000
SAID_KEEP_MS = 3_600_000
BACKLOG_TIMES = 10  # comments wait while so many times room_log_max are not archived
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Log(msgspec.Struct, frozen=True):
    """Where a topic's log stands."""

    epoch: str
    offset: int


class Snapshot(msgspec.Struct, frozen=True):
    """A topic's whole state at `offset`; `comments` are JSON texts, oldest first."""

    epoch: str
    offset: int
    parts: dict[str, str]
    comments: tuple[str, ...]


class Entry(NamedTuple):
    """One event of a log; `part` is what it replaces ("" = nothing), `event` its JSON text."""

    offset: int
    part: str
    event: str


class Tail(NamedTuple):
    """What came after a position, and where the log stands.

    `entries` is empty when `epoch` is not the one asked for; entries that begin later than the
    next offset say that the log was trimmed: both mean that a snapshot is needed.
    """

    epoch: str
    offset: int
    entries: list[Entry]


class RoomLogs:
    """All logs of one hot store, over one wire."""

    def __init__(
        self, wire: Wire, scripts: Mapping[str, Script] | None = None, *, settings: Settings
    ) -> None:
        self.wire = wire
        self._scripts = scripts or load_all()
        self._settings = settings

    async def open(self, topic: str, parts: Mapping[str, str], *, floor: str = "") -> Log:
        """The topic's log, made with these parts (part → JSON text) if it is missing.

        `floor`: the newest command id whose effect the parts contain; older ones are ignored.
        """
        raw = await self._ask(
            "room_open",
            **_log_keys(topic),
            epoch=new_epoch(),
            parts=_json(dict(parts)),
            floor=floor,
        )
        self._hint(topic)
        return Log(raw[1].decode(), int(raw[2]))

    async def publish(
        self,
        topic: str,
        events: Sequence[TopicEvent],
        *,
        shard: int | None = None,
        mark: tuple[int, int] | None = None,
        command_id: str = "",
    ) -> Reply:
        """published (epoch, first, last) | ignored (epoch, offset) | no_log.

        With `shard` and `mark` (epoch, seq of the batch's end): each shard event once. With
        `command_id`: once, and never behind a newer command of the same part. Rooms answer
        no_log where there is none (see `open`); logs of teams and members are made at once.
        """
        if (shard is None) != (mark is None):
            raise ValueError("a shard's batch needs its mark, and a mark its shard")
        at_epoch, at_seq = mark or (0, 0)
        settings = self._settings
        mine = topic.startswith(("me:", "team:"))  # short, and nobody archives them
        keep_ms = settings.me_keep_ms if topic.startswith("me:") else settings.team_keep_ms
        asked = self._ask(
            "room_publish",
            **_log_keys(topic),
            did=keys.log_did(topic, command_id),
            shard="" if shard is None else shard,
            mark_epoch=at_epoch,
            mark_seq=at_seq,
            command_id=command_id,
            fresh_epoch=new_epoch() if mine else "",
            log_max=settings.me_log_max if mine else 0,
            parts_max=settings.me_log_max if mine else 0,
            keep_ms=keep_ms if mine else 0,
            did_keep_ms=DID_KEEP_MS,
            events=_json([_listed(one) for one in events]),
        )
        raw = await asked
        self._hint(topic)
        return Reply(raw[0].decode(), tuple(part.decode() for part in raw[1:]))

    async def say(
        self, topic: str, member_id: str, nickname: str, client_id: str, text: str
    ) -> Reply:
        """said (offset) | stored (offset) | too_fast (retry_ms) | no_log | not_live.

        Mobile numbers in it are written as `138****1234`, open ids as `o****`.
        """
        origin = f"say-{member_id}-{client_id}"
        settings = self._settings
        raw = await self._ask(
            "room_say",
            **_log_keys(topic),
            did=keys.log_did(topic, origin),
            rate=keys.comment_rate(topic, member_id),
            origin=origin,
            opening='{"kind":"comment","at_ms":',
            words=_json({"nickname": without_personal(nickname), "text": without_personal(text)})[
                1:
            ],
            every_ms=settings.comment_every_ms,
            burst_max=settings.comment_burst_max,
            comments_max=settings.room_comments_max,
            backlog_max=BACKLOG_TIMES * settings.room_log_max,
            did_keep_ms=SAID_KEEP_MS,
        )
        if raw[0] == b"said":
            self._hint(topic)
        return Reply(raw[0].decode(), tuple(part.decode() for part in raw[1:]))

    async def snapshot(self, topic: str) -> Snapshot | None:
        """The topic's state at one offset; None when it has no log."""
        named = _log_keys(topic)
        del named["log"]
        raw = await self._ask("room_snapshot", **named)
        if raw[0] != b"snapshot":
            return None
        texts = [part.decode() for part in raw[3]]
        return Snapshot(
            raw[1].decode(),
            int(raw[2]),
            dict(zip(texts[::2], texts[1::2], strict=True)),
            tuple(part.decode() for part in reversed(raw[4])),
        )

    async def read(self, topic: str, epoch: str, after_offset: int, count: int) -> Tail:
        """At most `count` entries behind a position of `epoch`; ("", 0, []) without a log."""
        raw = await self._ask(
            "room_read",
            log=keys.log(topic),
            log_meta=keys.log_meta(topic),
            epoch=epoch,
            after=str(after_offset),
            count=count,
        )
        if raw[0] != b"log":
            return Tail("", 0, [])
        return Tail(raw[1].decode(), int(raw[2]), [_entry(one) for one in raw[3]])

    async def parts(self, topic: str, names: Sequence[str]) -> dict[str, str]:
        """part → its text now, for those of `names` that the log has."""
        if not names:
            return {}
        texts = await self._call("HMGET", keys.log_parts(topic), *names)
        return {
            name: text.decode() for name, text in zip(names, texts, strict=True) if text is not None
        }

    async def stand(self, topic: str) -> tuple[Log, int] | None:
        """Where the log stands, and up to which offset it is archived; None without one."""
        found = await self._call("HMGET", keys.log_meta(topic), "epoch", "offset", "archived")
        if found[0] is None:
            return None
        return Log(found[0].decode(), int(found[1])), int(found[2] or 0)

    async def entries(
        self, topic: str, after_offset: int, count: int
    ) -> list[tuple[int, str, str, str]]:
        """(offset, origin, part, event) behind an offset, as the archive keeps them."""
        raw = await self._call("XRANGE", keys.log(topic), f"({after_offset}-0", "+", "COUNT", count)
        return [_archived(one) for one in raw]

    async def archived(self, topic: str, epoch: str, offset: int, *, forget: bool = False) -> None:
        """PostgreSQL has the log up to `offset`: trim it to the last `room_log_max` entries.

        `forget`: the room is over, its log goes after `room_keep_ms`.
        """
        await self._ask(
            "room_archived",
            **_log_keys(topic),
            epoch=epoch,
            offset=offset,
            log_max=self._settings.room_log_max,
            keep_ms=self._settings.room_keep_ms if forget else 0,
        )
        if forget:
            self._call_later("PEXPIRE", keys.likes(topic), self._settings.room_keep_ms, "NX")

    async def broadcast_position(self, shard: int) -> tuple[int, int] | None:
        """(epoch, seq) up to which a shard's events are in the logs; None: nobody broadcasts."""
        return await broadcast_position(self.wire, shard)

    async def moved(self, shard: int, epoch: int, seq: int) -> None:
        """A shard's events up to here are in the logs."""
        await self._ask("room_moved", position=keys.broadcast(shard), epoch=epoch, seq=seq)

    async def like(self, topic: str, count: int) -> int:
        """Add likes; how many there are now."""
        return int(await self._call("INCRBY", keys.likes(topic), count))

    async def present(self, topic: str, gateway_id: str, count: int) -> int:
        """Say how many viewers a gateway has; how many all gateways have."""
        key, now = keys.presence(topic), now_ms()
        self._call_later("HSET", key, gateway_id, f"{count}:{now}")
        self._call_later("PEXPIRE", key, PRESENCE_KEEP_MS)
        flat: list[bytes] = await self._call("HGETALL", key)
        total = 0
        for gateway, said in zip(flat[::2], flat[1::2], strict=True):
            viewers, _, at_ms = said.decode().partition(":")
            if now - int(at_ms) <= PRESENCE_MS:
                total += int(viewers)
            elif now - int(at_ms) > PRESENCE_KEEP_MS:
                self._call_later("HDEL", key, gateway.decode())
        return total

    def _hint(self, topic: str) -> None:
        """Ring the doorbell, without waiting for it: a lost hint is harmless."""
        most = self._settings.hints_max
        self._call_later("XADD", keys.hints(), "MAXLEN", "~", most, "*", "t", topic)

    def _call_later(self, *command: str | int) -> None:
        try:
            ringing = self.wire.call(*command)
        except Unavailable:
            return
        ringing.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _ask(self, script: str, **values: str | int) -> Any:
        return await self._reply(self.wire.call(*self._scripts[script].command(**values)))

    async def _call(self, *command: str | int) -> Any:
        return await self._reply(self.wire.call(*command))

    async def _reply(self, answer: Awaitable[Any]) -> Any:
        try:
            return await answer
        except hiredis.ReplyError as error:
            text = str(error)
            if text.startswith("NOSCRIPT"):  # flushed: a new connection loads them
                self.wire.hang_up()
                raise Unavailable("busy", "Try again in a moment") from error
            if text.startswith(("OOM", "MISCONF", "READONLY", "LOADING", "BUSY", "NOREPLICAS")):
                raise Unavailable("busy", "The hot store takes nothing new right now") from error
            raise AssertionError(text) from error  # a script of ours failed: a bug


async def broadcast_position(wire: Wire, shard: int) -> tuple[int, int] | None:
    """(epoch, seq) up to which a shard's events are in the logs; None: nobody broadcasts."""
    epoch, seq = await wire.call("HMGET", keys.broadcast(shard), "epoch", "seq")
    return None if epoch is None or seq is None else (int(epoch), int(seq))


def new_epoch() -> str:
    """The name of a log's life: its birth in ms, base 36, and 32 random bits."""
    digits, rest = "", now_ms()
    while rest:
        rest, digit = divmod(rest, 36)
        digits = _DIGITS[digit] + digits
    return f"{digits}-{secrets.token_hex(4)}"


def _log_keys(topic: str) -> dict[str, Any]:
    return {
        "log": keys.log(topic),
        "log_meta": keys.log_meta(topic),
        "log_parts": keys.log_parts(topic),
        "log_comments": keys.log_comments(topic),
    }


def _listed(event: TopicEvent) -> list[str | int]:
    told: list[str | int] = [event.origin, event.part, event.event, event.seq]
    return told if event.was is None else [*told, event.was]


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _archived(raw: Sequence[Any]) -> tuple[int, str, str, str]:
    entry_id, flat = raw
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    return (
        int(entry_id[: entry_id.index(b"-")]),
        fields[b"origin"].decode(),
        fields[b"part"].decode(),
        fields[b"event"].decode(),
    )


def _entry(raw: Sequence[Any]) -> Entry:
    entry_id, flat = raw
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    offset = int(entry_id[: entry_id.index(b"-")])
    return Entry(offset, fields[b"part"].decode(), fields[b"event"].decode())
