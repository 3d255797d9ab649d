"""The fence: no script acts for a caller of another epoch, of another life of the server, or
while the shard is sealed or its meta missing; and of two rebuilders the older one is refused.
"""

from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from engine import keys
from engine.errors import Unavailable
from engine.inventory import Inventory, Reply
from engine.shards import Epochs
from tests.engine.hotshard import SCRIPTS, Bench, config
from tests.engine.seats import Hall

FENCED = sorted(
    name
    for name, script in SCRIPTS.items()
    if "epoch" in script.args and "-- Refuse callers of another epoch" in script.source
)

READS = {"look", "team_look"}
Break = Callable[[Bench, dict[str, str | int]], Awaitable[None]]


def test_every_script_that_acts_on_a_shard_is_fenced() -> None:
    unfenced = {name for name, script in SCRIPTS.items() if name not in FENCED}
    on_topics = {name for name in unfenced if name.startswith("room_")}
    opening = {"code_check", "epoch_open", "rebuild_begin", "rebuild_write", "seal", "tries"}
    assert unfenced == opening | on_topics
    assert "room_moved" in on_topics  # of a shard, but only how far its broadcaster is
    assert not any("meta" in SCRIPTS[name].keys for name in on_topics)


async def values_of(shard: Bench, script: str) -> dict[str, str | int]:
    """Keys and arguments with which `script` would do its work."""
    await shard.offer("ofr_1", 3, hold_ms=0)
    claim_id = (await shard.claim("ofr_1", "mbr_1")).details[0]
    if script in ("give_back", "release", "pay_confirm"):
        await shard.inventory.pay_begin(0, claim_id, "att_1")
    if script == "give_back":
        await shard.confirm(claim_id, "att_1", "fct_0")
    await shard.inventory.settled(0, 2, epoch=1)
    every: dict[str, str | int] = {
        "meta": keys.meta(0),
        "events": keys.events(0, 1),
        "offers": keys.offers(0),
        "offer": keys.offers(0) + "ofr_1",
        "limits": keys.limits(0),
        "offer_limits": keys.limits(0) + "ofr_1",
        "campaign_limits": keys.limits(0) + "cmp_a",
        "holds": keys.holds(0),
        "offer_holds": keys.holds(0) + "ofr_1",
        "deadlines": keys.deadlines(0),
        "claims": keys.claims(0),
        "idem": keys.idem(0, "mbr_2", "ofr_1", "k"),
        "did": keys.did(0, "row_1"),
        "waits": keys.waits(0),
        "answers": keys.answers(0),
        "epoch": 1,
        "run_id": shard.wire.run_id,
        "shard": 0,
        "nonce": "0123456789abcdef",
        "offer_id": "ofr_2" if script == "offer_open" else "ofr_1",
        "buyer_id": "mbr_2",
        "qty": 3 if script == "wait_join" else 1,  # more than is free: somebody waits
        "wait_max": 10,
        "wait_scan_max": 10,
        "after": "0",
        "price_id": "prc_1",
        "key": "k",
        "body_hash": "h",
        "touch": "",
        "traits": "",
        "lag_max_ms": 60_000,
        "claim_id": claim_id,
        "attempt_id": "att_1",
        "fact_id": "row_1",
        "refund_id": "row_1",
        "command_id": "row_1",
        "verdict": "ok",
        "why": "closed",
        "state": "closed",
        "units": 1,
        "batch": 10,
        "seq": 4,
        "total": 3,
        "config": config().json(),
        "did_keep_ms": 60_000,
    }
    made = SCRIPTS[script]
    if script in ("wait_leave", "wait_look"):
        await values_of_lists(shard, every, closed=script == "wait_look")
    if "groups" in made.keys:
        every |= await values_of_teams(shard, script)
    return {name: every[name] for name in made.keys + made.args}


async def values_of_lists(shard: Bench, every: dict[str, str | int], *, closed: bool) -> None:
    """Somebody waits; with `closed` for an offer that is over, so that a look has work to do."""
    join = SCRIPTS["wait_join"]
    wanted = {**every, "qty": 3, "groups": keys.groups(0)}
    values = {name: wanted[name] for name in join.keys + join.args}
    assert await shard.ask("wait_join", **values) == ["waiting", "1"]
    if closed:
        await shard.wire.call("HSET", keys.offers(0) + "ofr_1", "state", "closed")


async def values_of_teams(shard: Bench, script: str) -> dict[str, str | int]:
    """What scripts with teams take beside; two teams to choose from, one at its deadline."""
    own: dict[str, str | int] = {
        "groups": keys.groups(0),
        "again_ms": 500,
        "early": "[]",
        "honour": "",
        "seats": 1,
        "unpaid": "[]",
        "team_id": "",
        "consent": "",
    }
    if script == "seat":
        hall = Hall(shard)
        await hall.team_offer()
        own |= {
            "offer": keys.offers(0) + "ofr_t",
            "offer_limits": keys.limits(0) + "ofr_t",
            "offer_holds": keys.holds(0) + "ofr_t",
            "idem": keys.idem(0, "mbr_2", "ofr_t", "k"),
            "offer_id": "ofr_t",
        }
    elif script.startswith("team_"):
        hall = Hall(shard)
        await hall.team_offer(subsidy_max=1)
        failing, claim_id = await hall.opened("mbr_8", consent=True)
        forming, _ = await hall.opened("mbr_9")
        if script != "team_subsidise":
            await hall.deadline_passes(failing)
        if script in ("team_decide", "team_move"):
            await hall.teams.close(0, 10, again_ms=0)
        own |= {"team_id": forming if script == "team_move" else failing, "claim_id": claim_id}
    return own


async def older_caller(shard: Bench, values: dict[str, str | int]) -> None:
    """PostgreSQL and meta are one epoch further than the caller."""
    await shard.wire.call("HSET", keys.meta(0), "epoch", "2")


async def newer_caller(shard: Bench, values: dict[str, str | int]) -> None:
    values["epoch"] = 2
    if "events" in values:
        values["events"] = keys.events(0, 2)


async def other_life(shard: Bench, values: dict[str, str | int]) -> None:
    values["run_id"] = "f" * 40


async def no_life(shard: Bench, values: dict[str, str | int]) -> None:
    values["run_id"] = ""


async def sealed(shard: Bench, values: dict[str, str | int]) -> None:
    reply = await shard.ask("seal", meta=keys.meta(0), token=keys.token(0), epoch=1, why="a gap")
    assert reply[0] == "sealed"


async def meta_missing(shard: Bench, values: dict[str, str | int]) -> None:
    await shard.wire.call("DEL", keys.meta(0))


async def all_missing(shard: Bench, values: dict[str, str | int]) -> None:
    await shard.wire.call("FLUSHALL")


@pytest.mark.parametrize("script", FENCED)
async def test_script_acts_when_the_fence_lets_it(shard: Bench, script: str) -> None:
    """Without this the refusals below would prove nothing."""
    values = await values_of(shard, script)
    before = await shard.dump()
    reply = await shard.ask(script, **values)
    assert reply[0] != "reopening"
    assert (await shard.dump() == before) == (script in READS)


@pytest.mark.parametrize(
    "broken",
    [older_caller, newer_caller, other_life, no_life, sealed, meta_missing, all_missing],
    ids=lambda broken: broken.__name__,
)
@pytest.mark.parametrize("script", FENCED)
async def test_fence_refuses_and_leaves_no_trace(shard: Bench, script: str, broken: Break) -> None:
    values = await values_of(shard, script)
    await broken(shard, values)
    before = await shard.dump()
    assert await shard.ask(script, **values) == ["reopening"]
    assert await shard.dump() == before


async def test_refused_caller_asks_for_the_epochs_again(shard: Bench) -> None:
    epochs = Epochs.fixed({0: 2})
    stale = Inventory(shard.wire, epochs, SCRIPTS)
    assert await stale.sweep(0, 1) == Reply("reopening")
    assert epochs._wake.is_set()


async def test_shard_without_an_epoch_is_reopening(shard: Bench) -> None:
    with pytest.raises(Unavailable) as refused:
        await shard.inventory.sweep(1, 1)
    assert refused.value.code == "reopening"


async def test_seal_says_where_the_stream_ends_and_refuses_the_older_side(shard: Bench) -> None:
    await shard.offer("ofr_1", 1)
    meta, token = keys.meta(0), keys.token(0)

    async def seal(epoch: int) -> list[str]:
        return await shard.ask("seal", meta=meta, token=token, epoch=epoch, why="gap")

    await shard.wire.call("HSET", meta, "epoch", "3")
    before = await shard.dump()
    assert await seal(2) == ["newer", "3"]
    assert await shard.dump() == before
    assert await seal(3) == ["sealed", "3", "1"]
    assert await seal(4) == ["sealed", "3", "1"]
    await shard.wire.call("DEL", meta)
    before = await shard.dump()
    assert await seal(4) == ["missing"]
    assert await shard.dump() == before


@pytest.mark.parametrize("lost", [False, True])
async def test_nothing_older_begins_or_opens_behind_a_seal(shard: Bench, lost: bool) -> None:
    older, newer = Rebuild(shard, 4), Rebuild(shard, 5)
    await shard.wire.call(
        *(("DEL", keys.meta(0)) if lost else ("HSET", keys.meta(0), "epoch", "3"))
    )
    assert await older.begin() == "begun"
    await shard.ask(
        "seal", meta=keys.meta(0), token=keys.token(0), epoch=4, why="it takes too long"
    )
    assert await older.begin() == "refused"
    assert await older.open() == "refused"
    assert await newer.begin() == "begun"
    assert await newer.open() == "opened"


class Rebuild:
    """One rebuilder's three steps under its epoch."""

    def __init__(self, shard: Bench, epoch: int) -> None:
        self.shard, self.epoch = shard, epoch
        self.names = {"meta": keys.meta(0), "token": keys.token(0)}

    async def begin(self) -> str:
        reply = await self.shard.ask("rebuild_begin", **self.names, epoch=self.epoch)
        return reply[0]

    async def write(self, key: str) -> str:
        token, batch = self.names["token"], f'[["SET", "{key}", "{self.epoch}"]]'
        reply = await self.shard.ask("rebuild_write", token=token, epoch=self.epoch, batch=batch)
        return reply[0]

    async def open(self) -> str:
        run_id = self.shard.wire.run_id
        reply = await self.shard.ask("epoch_open", **self.names, epoch=self.epoch, run_id=run_id)
        return reply[0]


async def test_newer_rebuilder_wins_at_every_point(shard: Bench, hot: Redis) -> None:
    await hot.flushall()
    older, newer = Rebuild(shard, 2), Rebuild(shard, 3)
    key = keys.claims(0) + "x"
    assert await older.write(key) == "refused"  # nobody has begun
    assert await older.open() == "refused"
    assert await older.begin() == "begun"
    assert await older.begin() == "begun"  # the same one again, after a crash
    assert await newer.open() == "refused"  # not begun
    assert await older.write(key) == "written"
    assert await newer.begin() == "begun"
    for step in (older.begin(), older.write(key), older.open()):
        assert await step == "refused"
    assert await newer.write(key) == "written"
    assert await newer.open() == "opened"
    before = await shard.dump()
    for step in (
        older.begin(),
        older.write(key),
        older.open(),
        newer.begin(),
        newer.write(key),
        newer.open(),
    ):
        assert await step == "refused"
    assert await shard.dump() == before
    assert await hot.get(key) == b"3"
    assert await Rebuild(shard, 4).begin() == "begun"


async def test_flushall_in_mid_rebuild_refuses_its_rest(shard: Bench, hot: Redis) -> None:
    rebuild = Rebuild(shard, 2)
    assert await rebuild.begin() == "begun"
    assert await rebuild.write(keys.claims(0) + "x") == "written"
    await hot.flushall()
    assert await rebuild.write(keys.claims(0) + "y") == "refused"
    assert await rebuild.open() == "refused"
    assert await shard.dump() == {}
    assert await shard.inventory.sweep(0, 1) == Reply("reopening")


async def test_opening_forgets_the_old_epochs_counts(shard: Bench) -> None:
    await shard.offer("ofr_1", 1)
    await shard.inventory.settled(0, 1, epoch=1)
    rebuild = Rebuild(shard, 2)
    assert (await rebuild.begin(), await rebuild.open()) == ("begun", "opened")
    view = await shard.view()
    assert (view.epoch, view.seq, view.settled_seq) == (2, 0, 0)
    assert await shard.inventory.sweep(0, 1) == Reply("reopening")  # still of epoch 1
    shard.inventory.epochs = Epochs.fixed({0: 2})
    held = await shard.claim("ofr_1", "mbr_1")
    assert held.details[0].startswith("clm-s0-e2-1-")
