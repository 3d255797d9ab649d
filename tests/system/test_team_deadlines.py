"""Who has paid before the deadline is seated, however late the house hears of it.

Seconds are scaled down in make test; in make fuzz they are those of the rule: paid five seconds
before the deadline, told twenty seconds after it.
"""

import asyncio

import pytest

from engine.ids import now_ms
from tests.system.house import House
from tests.system.teams import (
    PRICE_FEN,
    Paying,
    each,
    lawful,
    money_of,
    opened,
    page_of,
    pay,
    seated,
    switches,
    tale,
    team,
    team_sale,
    until_claims,
    until_money,
    until_team,
)

pytestmark = pytest.mark.slow


async def until_before(deadline_ms: int, before_ms: int) -> None:
    """Sleep until so long before the deadline."""
    await asyncio.sleep((deadline_ms - before_ms - now_ms()) / 1_000)


async def told_late(house: House, one: Paying, callback_after_ms: int) -> None:
    """Its callback comes so late, and nobody can ask the provider about it meanwhile."""
    attempts = [one.page["attempt_id"]]
    await switches(
        house,
        delayed={"attempts": attempts, "ms": callback_after_ms},
        failing={"count": 10_000, "operations": ["query", "close"], "attempts": attempts},
    )


async def paid_in_time_told_late(
    house: House, *, term_ms: int, before_ms: int, after_ms: int, mute: bool
) -> None:
    """A team of two; `mute`: only the callback tells that the second has paid."""
    offer = {"size": 2, "term_ms": term_ms, "closing_max_ms": 120_000, "late": "refund"}
    sale = await team_sale(house, 20, offer=offer)
    who = f"{term_ms}_{mute}"
    captain = await opened(house, sale, f"captain_{who}")
    member = await page_of(house, await seated(house, sale, f"member_{who}", captain.team_id))
    deadline_ms = int((await team(house, sale, captain.team_id))["deadline_ms"])
    if mute:
        await told_late(house, member, before_ms + after_ms)
    await until_before(deadline_ms, before_ms)
    await pay(house, member, *(() if mute else ("lost",)))
    try:
        if mute:
            closing = await until_team(house, sale, captain.team_id, "closing")
            assert (closing["paid"], closing["paying"]) == ("1", "1"), closing
        await until_team(house, sale, captain.team_id, "formed")
        if mute:
            assert now_ms() >= deadline_ms + after_ms - 100
        await until_claims(house, [captain, member.seat], "paid")
        for seat in (captain, member.seat):
            await until_money(house, seat, "paid", captain.team_id)
        told = await tale(house, sale)
        assert (dict(told.landed), dict(told.ends)) == ({}, {"team.formed full": 1})
    finally:
        if mute:
            await switches(house)


async def test_paid_before_the_deadline_and_told_after_it(house: House) -> None:
    """Beside one whose callback is lost: there the provider is asked at the deadline."""
    await each(
        paid_in_time_told_late(house, term_ms=3_000, before_ms=800, after_ms=2_000, mute=True),
        paid_in_time_told_late(house, term_ms=3_000, before_ms=800, after_ms=0, mute=False),
    )
    await lawful(house, "I6")


@pytest.mark.long
async def test_five_seconds_before_and_twenty_after(house: House) -> None:
    await paid_in_time_told_late(house, term_ms=9_000, before_ms=5_000, after_ms=20_000, mute=True)
    await lawful(house, "I6")


async def test_told_after_the_closing_is_over_it_is_late(house: House) -> None:
    """The team fails without them; their payment is refunded, and so is everybody's, once."""
    offer = {"size": 2, "term_ms": 2_500, "closing_max_ms": 1_000, "late": "new"}
    sale = await team_sale(house, 20, offer=offer)
    captain = await opened(house, sale, "captain_over")
    member = await page_of(house, await seated(house, sale, "member_over", captain.team_id))
    deadline_ms = int((await team(house, sale, captain.team_id))["deadline_ms"])
    await told_late(house, member, 60_000)
    try:
        await until_before(deadline_ms, 600)
        await pay(house, member)
        await until_team(house, sale, captain.team_id, "failed")
        await until_money(house, captain, "refunded", captain.team_id, "team_failed")
        state, _, refunds = await money_of(house, member.seat)
        assert (state, refunds) == ("open", []), "its units are its own until there is a receipt"
    finally:
        await switches(house)  # now the provider can be asked
    await until_claims(house, [member.seat], "paid")
    told = await tale(house, sale)
    assert dict(told.landed) == {"new": 1}
    where = str((await house.buyer("member_over").look(member.seat.claim_id))["team_id"])
    assert where != captain.team_id
    # Nobody joins it, so that its turn comes, too.
    await until_money(house, member.seat, "refunded", where, "team_failed")
    paid = "SELECT sum(amount_fen) FROM payment_facts WHERE claim_id = $1"
    assert await house.scalar(paid, member.seat.claim_id) == PRICE_FEN
    await lawful(house, "T5")
