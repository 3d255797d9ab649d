"""The kill switch in the hot store: what a cancelled offer still takes, and how its teams end.

After each test the archive's walk finds no broken law (T1 to T7) in what the scripts said.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from engine.audit.team_walk import TeamWalk
from engine.events import Decided
from engine.ids import now_ms
from engine.offers import OfferConfig
from tests.engine.hotshard import HOUR_MS, bench
from tests.engine.seats import CROWD_ID, Hall, crowd_rules, team_rules

ENDS_AT_ONCE = ("refund", "honour")
EFFECTS = ("finish", *ENDS_AT_ONCE)


class Sale(Hall):
    """A hall whose offers declare what a cancellation does."""

    configs: dict[str, OfferConfig]

    async def offers(self, on_cancel: str, **changes: Any) -> None:
        """Teams of three, `ofr_t`, and a crowd, `ofr_c`; `changes` are fields of both."""
        team = team_rules(subsidy_max=changes.pop("subsidy_max", 0))
        low = {"prices": (("prc_low", 800, 0),), "late": "seat", "on_cancel": on_cancel}
        self.configs = {
            "ofr_t": await self.bench.offer(
                "ofr_t", 20, kind="team", team=team, on_cancel=on_cancel, late="new", **changes
            ),
            "ofr_c": await self.bench.offer(
                "ofr_c", 20, kind="crowd", team=crowd_rules(), **{**low, **changes}
            ),
        }

    async def cancel(self, offer_id: str = "ofr_t") -> str:
        """Cancel it; the state that it has then."""
        named: dict[str, Any] = {"command_id": f"cancel-{offer_id}", "state": "cancelled"}
        assert (await self.bench.inventory.offer_close(0, offer_id, **named)).what == "closed"
        return (await self.bench.inventory.offer_state(0, offer_id))["state"]

    async def in_crowd(self, count: int) -> None:
        """So many pay for a seat of the crowd."""
        for n in range(count):
            await self.joined(f"c{n}", CROWD_ID, offer_id="ofr_c", price_id="prc_low")

    async def close(self, *early: str) -> Sequence[str]:
        """Teams that are closing now."""
        return (await self.teams.close(0, 100, again_ms=0, early=early)).details[1:]

    async def state(self, team_id: str) -> str:
        return (await self.teams.state(0, team_id))["state"]

    async def whys(self) -> list[str]:
        """Why teams were decided, so far."""
        return [one.why for one in await self.bench.events() if isinstance(one, Decided)]


@pytest_asyncio.fixture
async def sale(hot: Redis, valkey_url: str) -> AsyncIterator[Sale]:
    async with bench(valkey_url) as opened:
        await opened.open()
        hall = Sale(opened)
        yield hall
        walk = TeamWalk(hall.configs)
        for event in await opened.events():
            walk.read(event, 0, 1)
        walk.end()
        assert {law: texts for law, texts in walk.problems.items() if texts} == {}


async def test_finish_lets_open_teams_fill_up(sale: Sale) -> None:
    await sale.offers("finish")
    team_id, _ = await sale.opened("cap")
    assert await sale.cancel() == "finishing"
    assert (await sale.seat("new")).what == "closed"
    assert await sale.close(team_id) == ()
    await sale.joined("one", team_id)
    await sale.joined("two", team_id)
    assert await sale.state(team_id) == "formed"


async def test_finish_lets_a_crowd_go_on_to_its_deadline(sale: Sale) -> None:
    await sale.offers("finish")
    await sale.in_crowd(1)
    assert await sale.cancel("ofr_c") == "finishing"
    assert await sale.close(CROWD_ID) == ()
    await sale.in_crowd(0)
    await sale.joined("late", CROWD_ID, offer_id="ofr_c", price_id="prc_low")
    assert await sale.state(CROWD_ID) == "reached"


@pytest.mark.parametrize("on_cancel", ENDS_AT_ONCE)
async def test_nobody_sits_down_or_begins_to_pay_any_more(sale: Sale, on_cancel: str) -> None:
    await sale.offers(on_cancel)
    team_id, _ = await sale.opened("cap")
    held = await sale.joined("one", team_id, paid=False)
    for offer_id in ("ofr_t", "ofr_c"):
        assert await sale.cancel(offer_id) == "cancelled"
    assert (await sale.seat("new")).what == "closed"
    assert (await sale.seat("two", team_id)).what == "closed"
    crowd = {"offer_id": "ofr_c", "price_id": "prc_low"}
    assert (await sale.seat("c", CROWD_ID, **crowd)).what == "closed"
    refused = await sale.bench.inventory.pay_begin(0, held, "att")
    assert (refused.what, refused.details) == ("team_over", ("closing",))


async def test_refund_fails_a_team_that_is_not_full_at_once(sale: Sale) -> None:
    await sale.offers("refund")
    team_id, _ = await sale.opened("cap")
    held = await sale.joined("one", team_id, paid=False)
    assert await sale.close(team_id) == ()  # not before it is cancelled
    await sale.cancel()
    assert await sale.close(team_id) == ()  # somebody holds a seat: let go first
    await sale.bench.inventory.release(0, held, attempt_id="", why="cancelled")
    before = now_ms()
    assert await sale.close(team_id, "tem_x", team_id) == (team_id,)
    team = await sale.teams.state(0, team_id)
    assert before - 5 <= int(team["deadline_ms"]) <= now_ms() + 5
    assert (await sale.teams.decide(0, team_id)).what == "failed"
    assert await sale.whys() == ["cancelled"]


@pytest.mark.parametrize("on_cancel", ENDS_AT_ONCE)
async def test_who_is_paying_has_the_time_they_were_given(sale: Sale, on_cancel: str) -> None:
    """And with them the team is full: it is formed."""
    await sale.offers(on_cancel, pay_ms=HOUR_MS // 4)
    team_id, _ = await sale.opened("cap")
    await sale.joined("one", team_id)
    paying = await sale.joined("two", team_id, paid=False)
    until = (await sale.bench.inventory.pay_begin(0, paying, f"att-{paying}")).details[0]
    await sale.cancel()
    assert await sale.close(team_id) == (team_id,)
    team = await sale.teams.state(0, team_id)
    assert int(until) <= int(team["deadline_ms"]) <= now_ms() + HOUR_MS // 4 + 5
    assert (await sale.teams.decide(0, team_id)).what == "waiting"
    assert (await sale.pay(paying)).what == "paid"
    assert await sale.whys() == ["full"]


@pytest.mark.parametrize("on_cancel", ENDS_AT_ONCE)
async def test_a_crowd_forms_at_once_if_it_was_reached(sale: Sale, on_cancel: str) -> None:
    await sale.offers(on_cancel)
    await sale.in_crowd(2)
    await sale.cancel("ofr_c")
    assert await sale.close(CROWD_ID) == (CROWD_ID,)
    assert (await sale.teams.decide(0, CROWD_ID)).what == "formed"
    assert await sale.whys() == ["reached"]


@pytest.mark.parametrize("on_cancel", ENDS_AT_ONCE)
async def test_a_crowd_that_was_not_reached_fails(sale: Sale, on_cancel: str) -> None:
    await sale.offers(on_cancel)
    await sale.in_crowd(1)
    await sale.cancel("ofr_c")
    await sale.close(CROWD_ID)
    assert (await sale.teams.decide(0, CROWD_ID)).what == "failed"
    assert await sale.whys() == ["cancelled"]


async def test_honour_fills_the_missing_seats_outside_of_the_budget(sale: Sale) -> None:
    await sale.offers("honour", subsidy_max=1)
    team_id, _ = await sale.opened("cap")
    honour: dict[str, Any] = {"seats": 1, "honour": True}
    early = await sale.teams.subsidise(0, team_id, command_id="too-early", **honour)
    assert early.what == "not_open"
    await sale.cancel()
    await sale.close(team_id)
    decided = await sale.teams.decide(0, team_id)
    assert (decided.what, decided.details) == ("honours", ("2",))
    for n, state in enumerate(("closing", "formed")):
        filled = await sale.teams.subsidise(0, team_id, command_id=f"h{n}", **honour)
        assert (filled.what, filled.details) == ("subsidised", (state,))
    assert "subsidised" not in await sale.bench.inventory.offer_state(0, "ofr_t")
    assert await sale.whys() == ["full"]


async def test_honour_is_for_teams_in_which_somebody_has_paid(sale: Sale) -> None:
    await sale.offers("honour")
    team_id, claim_id = await sale.opened("cap", paid=False)
    await sale.cancel()
    assert await sale.close(team_id) == ()
    await sale.bench.inventory.release(0, claim_id, attempt_id="", why="cancelled")
    assert await sale.whys() == ["empty"]


@pytest.mark.parametrize("on_cancel", EFFECTS)
async def test_a_late_payment_opens_no_team(sale: Sale, on_cancel: str) -> None:
    """With `finish` it may still take a seat that is free."""
    await sale.offers(on_cancel)
    team_id, _ = await sale.opened("cap")
    alone = await sale.seat("alone", consent=False)
    late = await sale.joined("late", team_id, paid=False)
    for claim_id in (alone.details[0], late):
        await sale.bench.inventory.release(0, claim_id, attempt_id="", why="cancelled")
    await sale.cancel()
    lost = await sale.pay(alone.details[0])
    found = await sale.pay(late)
    if on_cancel == "finish":
        assert (lost.what, lost.details) == ("late", ("no_seat",))
        assert (found.what, found.details) == ("landed", ("seat", team_id))
    else:
        assert [one.details for one in (lost, found)] == [("cancelled",), ("cancelled",)]


@pytest.mark.parametrize("on_cancel", ENDS_AT_ONCE)
async def test_nobody_is_moved_out_of_a_cancelled_team(sale: Sale, on_cancel: str) -> None:
    await sale.offers(on_cancel)
    team_id, claim_id = await sale.opened("cap", consent=True)
    other, _ = await sale.opened("other")
    await sale.cancel()
    await sale.close(team_id)
    assert (await sale.teams.move(0, claim_id, other)).what == "no_seat"


async def test_cancelled_is_final_and_closed_stays_closed(sale: Sale) -> None:
    await sale.offers("finish")
    close = sale.bench.inventory.offer_close
    assert (await close(0, "ofr_t", command_id="hq")).what == "closed"
    assert await sale.cancel("ofr_t") == "closed"  # its teams finish, and nobody joins again
    await sale.bench.offer("ofr_f", 5, on_cancel="finish")
    assert await sale.cancel("ofr_f") == "cancelled"
    await close(0, "ofr_f", command_id="guard", state="frozen")
    assert (await sale.bench.inventory.offer_state(0, "ofr_f"))["state"] == "cancelled"


async def test_before_the_start_a_crowd_ends_whatever_was_declared(sale: Sale) -> None:
    await sale.offers("finish", starts_at_ms=now_ms() + HOUR_MS // 2)
    assert await sale.cancel("ofr_c") == "cancelled"
    assert await sale.close(CROWD_ID) == (CROWD_ID,)
    assert (await sale.teams.decide(0, CROWD_ID)).what == "failed"


async def test_a_held_claim_of_another_sale_may_still_be_paid(sale: Sale) -> None:
    await sale.offers("refund")
    await sale.bench.offer("ofr_f", 5, on_cancel="refund", late="retake")
    held, gone = [(await sale.bench.claim("ofr_f", who)).details[0] for who in ("a", "b")]
    await sale.bench.inventory.release(0, gone, attempt_id="", why="cancelled")
    await sale.cancel("ofr_f")
    assert (await sale.bench.claim("ofr_f", "c")).what == "closed"
    assert (await sale.pay(held)).what == "paid"
    assert (await sale.pay(gone)).details == ("cancelled",)  # nothing is taken again
