"""Commands on the hot state: one method is one script of the same name, its reply a value.

A reply's first word says what happened (the `@returns` of the script); the rest are its
details as strings. `reopening` also wakes the process's epochs. Every method may be repeated:
scripts are idempotent by claim key, attempt, fact, refund or command id.
"""

from collections.abc import Awaitable

import hiredis
import msgspec

from engine import keys
from engine.errors import Unavailable
from engine.ids import new_nonce
from engine.prepared import Prepared
from engine.scripts import Script, load_all
from engine.shards import Epochs
from engine.wire import Wire

WAIT_SCAN_MAX = 50  # as the setting of that name


class Reply(msgspec.Struct, frozen=True):
    """`what` as the script's `@returns` names it, and its details."""

    what: str
    details: tuple[str, ...] = ()


class Commands:
    """What all commands share: one wire, the shards' epochs, the scripts."""

    def __init__(
        self,
        wire: Wire,
        epochs: Epochs,
        scripts: dict[str, Script] | None = None,
        *,
        settle_lag_max_ms: int = 10_000,
        did_keep_ms: int = 86_400_000,
        wait_scan_max: int = WAIT_SCAN_MAX,
        prepared_max: int = 4_096,
    ) -> None:
        self.wire = wire
        self.epochs = epochs
        self._scripts = scripts or load_all()
        self._prepared: dict[tuple[str, int, str, int, str, str], Prepared] = {}
        self._prepared_max = prepared_max
        self._lag_max_ms = settle_lag_max_ms
        self._did_keep_ms = did_keep_ms
        self._wait_scan_max = wait_scan_max

    async def _run(self, name: str, shard: int, epoch: int | None, **given: str | int) -> Reply:
        """Run a script; the keys and fence that it declares and are the shard's own are filled in.

        `epoch` None is the one this process knows.
        """
        script = self._scripts[name]
        own = self._own(shard, self.epochs.of(shard) if epoch is None else epoch)
        wanted = {key: value for key, value in own.items() if key in script.names}
        return await self._reply(self.wire.call(*script.command(**{**wanted, **given})))

    def _own(self, shard: int, epoch: int) -> dict[str, str | int]:
        return {
            "meta": keys.meta(shard),
            "events": keys.events(shard, epoch),
            "offers": keys.offers(shard),
            "limits": keys.limits(shard),
            "holds": keys.holds(shard),
            "deadlines": keys.deadlines(shard),
            "claims": keys.claims(shard),
            "groups": keys.groups(shard),
            "waits": keys.waits(shard),
            "answers": keys.answers(shard),
            "epoch": epoch,
            "run_id": self.wire.run_id,
            "shard": shard,
            "did_keep_ms": self._did_keep_ms,
            "wait_scan_max": self._wait_scan_max,
            "nonce": new_nonce(),
        }

    def _ready(self, name: str, about: tuple[int, str, str], free: tuple[str, ...]) -> Prepared:
        """A hot script's command, all of it but what each request says itself.

        `about` is (shard, offer_id, campaign_id).
        """
        shard, offer_id, campaign_id = about
        epoch = self.epochs.of(shard)
        known = (name, epoch, self.wire.run_id, *about)
        made = self._prepared.get(known)
        if made is None:
            own, script = self._own(shard, epoch), self._scripts[name]
            own |= {
                "offer": keys.offers(shard) + offer_id,
                "offer_holds": keys.holds(shard) + offer_id,
                "offer_limits": keys.limits(shard) + offer_id,
                "campaign_limits": keys.limits(shard) + campaign_id,
                "offer_id": offer_id,
                "lag_max_ms": self._lag_max_ms,
            }
            fixed = {key: value for key, value in own.items() if key in script.names}
            if len(self._prepared) >= self._prepared_max:
                self._prepared.clear()  # also forgets what belongs to older epochs
            made = self._prepared[known] = Prepared(script, fixed, free)
        return made

    async def _reply(self, answer: Awaitable[list[bytes]]) -> Reply:
        try:
            raw = await answer
        except hiredis.ReplyError as error:
            raise self._mend(error) from error
        what = raw[0].decode()
        if what == "reopening":
            self.epochs.doubt()
        return Reply(what, tuple([part.decode() for part in raw[1:]]))

    def _mend(self, error: hiredis.ReplyError) -> Exception:
        text = str(error)
        if text.startswith("NOSCRIPT"):  # somebody flushed the scripts: a new connection loads them
            self.wire.hang_up()
            return Unavailable("busy", "Try again in a moment with the same key")
        if text.startswith(("OOM", "MISCONF", "READONLY", "LOADING", "BUSY", "NOREPLICAS")):
            return Unavailable("busy", "The hot store takes nothing new right now; try again")
        return AssertionError(text)  # a script of ours failed: a bug, and it must be seen

    async def hash_of(self, key: str) -> dict[str, str]:
        """A hash of the hot state as strings; empty when there is none."""
        flat: list[bytes] = await self.wire.call("HGETALL", key)
        texts = [part.decode() for part in flat]
        return dict(zip(texts[::2], texts[1::2], strict=True))
