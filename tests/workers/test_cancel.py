"""A campaign is cancelled while its teams are open: what becomes of seats, money and the rows.

Crashes between the row and its script, a lost store and payments under way change nothing of it.
"""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from campaigns.offer.models import Offer
from campaigns.offer.service import apply_offer_command
from campaigns.team.subsidy import apply_team_command
from engine.db import Database
from engine.ids import now_ms
from tests.workers.acts import begin_paying, confirm
from tests.workers.laws import check, rows
from tests.workers.seats import (
    cancelled,
    crowd_of,
    crowd_offer,
    joined,
    opened,
    pays,
    sits,
    subsidised,
    team_offer,
)
from tests.workers.stage import Stage, open_stage
from tests.workers.test_rebuild_teams import flush
from tests.workers.test_teams import parts_of, state_of, turns
from workers.crowds import CrowdBooks
from workers.repeats import Repeats
from workers.teams import TeamWatch

ENDS_AT_ONCE = ("refund", "honour")


@pytest_asyncio.fixture
async def stage(db: Database, hot: Redis, valkey_url: str) -> AsyncIterator[Stage]:
    async with open_stage(db, valkey_url, team_again_ms=0, repeat_after_ms=0) as stage:
        yield stage


async def until_decided(stage: Stage, limit: int = 20) -> None:
    """Turns of the watch, settled in between, until it has nothing to look at."""
    await stage.settle()
    await turns(stage)
    assert await stage.scalar(
        "SELECT count(*) FROM teams t JOIN offers f ON f.id = t.offer_id"
        " WHERE t.decided_at_ms IS NULL AND f.state = 'cancelled'"
    ) == 0  # fmt: skip


async def why(stage: Stage, team_id: str) -> tuple[object, object]:
    """(state, why) of a settled team."""
    (row,) = await rows(stage, "SELECT state, why FROM teams WHERE id = :t", t=team_id)
    return row["state"], row["why"]


async def refunds(stage: Stage) -> list[tuple[str, int, int]]:
    """(cause, fen, units) of all refund intents."""
    found = await rows(stage, "SELECT cause, amount_fen, units FROM refunds ORDER BY 1, 2")
    return [(one["cause"], one["amount_fen"], one["units"]) for one in found]


async def test_refund_ends_open_teams_long_before_their_deadline(stage: Stage) -> None:
    offer = await team_offer(stage, 30, on_cancel="refund")
    lonely, _ = await opened(stage, offer, "cap", consent=True)
    other, _ = await opened(stage, offer, "mate", consent=True)  # nobody is moved to them
    held = await sits(stage, offer, "held", lonely)
    opening = await sits(stage, offer, "slow")
    full, _ = await opened(stage, offer, "full")
    for buyer in ("f2", "f3"):
        await joined(stage, offer, buyer, full)
    await cancelled(stage, offer)
    await until_decided(stage)
    for team_id in (lonely, other):
        assert await why(stage, team_id) == ("failed", "cancelled")
    assert await why(stage, full) == ("formed", "full")
    for claim_id in (held, opening):
        assert (await stage.inventory.claim_state(offer.shard, claim_id))["state"] == "released"
        order = "SELECT reason FROM orders WHERE claim_id = :c"
        assert await stage.scalar(order, c=claim_id) == "campaign_cancelled"
    assert await refunds(stage) == [("team_failed", 990, 1)] * 2
    ended = await rows(stage, "SELECT deadline_ms FROM teams WHERE why = 'cancelled'")
    assert all(one["deadline_ms"] <= now_ms() + 5 for one in ended)
    await flush(stage, offer.shard)


async def test_finish_leaves_open_teams_to_fill_up(stage: Stage) -> None:
    offer = await team_offer(stage, 30)
    team_id, _ = await opened(stage, offer, "cap")
    await cancelled(stage, offer)
    await stage.settle()
    assert await TeamWatch(parts_of(stage)).run_once() == 0
    assert await stage.scalar("SELECT state FROM offers") == "finishing"
    await flush(stage, offer.shard)
    assert (await stage.seat(offer, "new")).what == "closed"
    for buyer in ("one", "two"):
        await joined(stage, offer, buyer, team_id)
    assert await state_of(stage, team_id) == "formed"


async def test_honour_fills_what_is_missing_and_ledgers_it(stage: Stage) -> None:
    """Two seats outside of a budget of none; T3 holds: each is a command, posted once."""
    offer = await team_offer(stage, 30, on_cancel="honour")
    team_id, claim_id = await opened(stage, offer, "cap")
    unpaid = await sits(stage, offer, "slow")
    await cancelled(stage, offer)
    await until_decided(stage)
    assert await why(stage, team_id) == ("formed", "full")
    gone = (await stage.inventory.claim_state(offer.shard, unpaid))["team_id"]
    assert await why(stage, gone) == ("failed", "empty")
    posted = await rows(stage, "SELECT source, destination, amount_fen FROM postings"
                               " WHERE source = 'subsidy'")  # fmt: skip
    assert [tuple(one.values()) for one in posted] == [("subsidy", "hq", 990)] * 2
    said = await rows(stage, "SELECT kind, reason, seats, actor FROM team_commands")
    assert [tuple(one.values()) for one in said] == [("honour", "honour", 1, "system")] * 2
    split = "SELECT split_fen FROM orders WHERE claim_id = :c"
    assert await stage.scalar(split, c=claim_id) == 990
    assert await refunds(stage) == []
    await flush(stage, offer.shard)


async def test_honour_goes_on_behind_the_merchants_own_seat(stage: Stage) -> None:
    """HQ filled one from the budget before; the other one is honoured, the budget is as it was."""
    offer = await team_offer(stage, 30, on_cancel="honour", subsidy_max=1)
    team_id, _ = await opened(stage, offer, "cap")
    await stage.settle()
    await subsidised(stage, offer, team_id)
    await cancelled(stage, offer)
    await until_decided(stage)
    assert await why(stage, team_id) == ("formed", "full")
    kinds = await rows(stage, "SELECT kind FROM team_commands ORDER BY kind")
    assert [one["kind"] for one in kinds] == ["honour", "subsidise"]
    hot = await stage.inventory.offer_state(offer.shard, offer.id)
    assert hot["subsidised"] == "1"
    await flush(stage, offer.shard)


@pytest.mark.parametrize("on_cancel", ENDS_AT_ONCE)
@pytest.mark.parametrize("payers", [1, 2])
async def test_a_crowd_is_decided_at_once(stage: Stage, on_cancel: str, payers: int) -> None:
    offer = await crowd_offer(stage, on_cancel=on_cancel)
    for n in range(payers):
        await joined(stage, offer, f"b{n}", "")
    await sits(stage, offer, "held")
    await cancelled(stage, offer)
    await until_decided(stage)
    books = CrowdBooks(parts_of(stage))
    while await books.run_once():
        pass
    if payers == 2:
        assert await why(stage, crowd_of(offer)) == ("formed", "reached")
        assert await refunds(stage) == []
    else:
        assert await why(stage, crowd_of(offer)) == ("failed", "cancelled")
        assert await refunds(stage) == [("team_failed", 990, 1)]


async def test_a_crowd_at_the_regular_price_stands_at_it(stage: Stage) -> None:
    offer = await crowd_offer(stage, charging="regular", on_cancel="refund")
    await joined(stage, offer, "b", "")
    await cancelled(stage, offer)
    await until_decided(stage)
    assert await why(stage, crowd_of(offer)) == ("failed", "cancelled")
    assert await CrowdBooks(parts_of(stage)).run_once() == 1
    assert await refunds(stage) == []
    assert await stage.scalar("SELECT split_fen FROM orders") == 990


@pytest.mark.parametrize("on_cancel", ENDS_AT_ONCE)
async def test_payments_under_way_are_waited_for(stage: Stage, on_cancel: str) -> None:
    offer = await team_offer(stage, 30, size=2, on_cancel=on_cancel)
    team_id, _ = await opened(stage, offer, "cap")
    claim_id = await sits(stage, offer, "one", team_id)
    await stage.settle()
    attempt_id = await begin_paying(stage, offer, claim_id)
    await cancelled(stage, offer)
    await stage.settle()
    watch = TeamWatch(parts_of(stage))
    for _ in range(3):
        await watch.run_once()
        assert await state_of(stage, team_id) == "closing"
    await flush(stage, offer.shard)  # and it is looked at at once behind a rebuild
    assert await watch.run_once() == 1
    await confirm(stage, offer, claim_id, attempt_id)
    assert await state_of(stage, team_id) == "formed"
    assert await refunds(stage) == []


async def test_a_payment_after_it_is_late_and_refunded(stage: Stage) -> None:
    """It was not paid in its time, and the provider has the money all the same: nowhere to land."""
    offer = await team_offer(stage, 30, on_cancel="refund", late="new")
    team_id, _ = await opened(stage, offer, "cap")
    claim_id = await sits(stage, offer, "late", team_id, consent=True)
    await stage.settle()
    attempt_id = await begin_paying(stage, offer, claim_id)
    release = stage.inventory.release
    await release(offer.shard, claim_id, attempt_id=attempt_id, why="closed")
    await cancelled(stage, offer)
    await until_decided(stage)
    _, reply = await confirm(stage, offer, claim_id, attempt_id)
    assert (reply.what, reply.details) == ("late", ("cancelled",))
    await stage.settle()
    assert sorted(await refunds(stage)) == [("late", 990, 0), ("team_failed", 990, 1)]


async def lost(stage: Stage) -> None:
    """The hot store is emptied and rebuilt."""
    await stage.wire.call("FLUSHALL")
    await stage.settle()


@pytest.mark.parametrize("is_lost", [False, True])
async def test_a_row_whose_script_never_ran_is_repeated(stage: Stage, is_lost: bool) -> None:
    """A crash between the two; with the store lost in between, in another epoch."""
    offer = await team_offer(stage, 30, on_cancel="refund")
    team_id, _ = await opened(stage, offer, "cap")
    await stage.settle()
    await cancelled(stage, offer, runs=False)
    if is_lost:
        await lost(stage)
    assert (await stage.inventory.offer_state(offer.shard, offer.id))["state"] == "open"
    await Repeats(parts_of(stage)).run_once()
    await until_decided(stage)
    assert await why(stage, team_id) == ("failed", "cancelled")


async def test_a_promise_that_was_kept_before_the_store_was_lost_is_kept(stage: Stage) -> None:
    """The offer comes back open: the honoured seat is refused, for now, and not for good."""
    offer = await team_offer(stage, 30, size=2, on_cancel="honour")
    team_id, _ = await opened(stage, offer, "cap")
    await stage.settle()
    await cancelled(stage, offer)  # its event is never settled
    await stage.teams.close(offer.shard, 9, again_ms=0, early=[team_id])
    assert (await stage.teams.decide(offer.shard, team_id)).what == "honours"
    reply = await subsidised(stage, offer, team_id, honour=True)
    assert (reply.what, reply.details) == ("subsidised", ("formed",))
    await lost(stage)
    honour = f"tcm-honour-{team_id}-0"
    word = await apply_team_command(stage.db, stage.teams, honour)
    assert word == "not_open"
    await Repeats(parts_of(stage)).run_once()
    await until_decided(stage)
    assert await why(stage, team_id) == ("formed", "full")
    assert await stage.scalar("SELECT count(*) FROM team_commands") == 1


async def test_many_teams_end_in_bounded_batches(db: Database, hot: Redis, valkey_url: str) -> None:
    """Held seats of the first ones do not keep the others waiting."""
    async with open_stage(db, valkey_url, team_again_ms=0, team_batch_max=2) as stage:
        offer = await team_offer(stage, 30, on_cancel="refund")
        teams = [(await opened(stage, offer, f"cap{n}"))[0] for n in range(5)]
        await cancelled(stage, offer)
        await stage.settle()
        watch = TeamWatch(parts_of(stage))
        for _ in range(12):
            await watch.run_once()
            await stage.settle()
        assert [await why(stage, one) for one in teams] == [("failed", "cancelled")] * 5


async def test_another_sale_s_claims_go_their_way(stage: Stage) -> None:
    offer: Offer = await stage.offer(9, on_cancel="refund")
    paid, held = [(await stage.claim(offer, who)).details[0] for who in ("a", "b")]
    await stage.settle()
    await pays(stage, offer, paid)
    await cancelled(stage, offer)
    await stage.settle()
    assert (await stage.claim(offer, "c")).what == "closed"
    assert await stage.scalar("SELECT state FROM offers") == "cancelled"
    await pays(stage, offer, held)
    await stage.settle()
    found = await rows(stage, "SELECT state FROM orders ORDER BY state")
    assert [one["state"] for one in found] == ["paid", "paid"]
    assert await refunds(stage) == []
    await check(stage)


async def test_an_offer_that_opens_behind_its_cancellation_sells_nothing(stage: Stage) -> None:
    """The hot store was away when it was published, and still when it was cancelled."""
    offer, opening = await stage.planned_offer(9)
    await cancelled(stage, offer, runs=False)
    await apply_offer_command(stage.db, stage.inventory, opening.id)
    assert (await stage.claim(offer, "a")).what == "closed"
    await stage.settle()
    assert await stage.scalar("SELECT state FROM offers") == "cancelled"
    assert await stage.scalar("SELECT count(*) FROM offer_commands WHERE applied_seq IS NULL") == 0
