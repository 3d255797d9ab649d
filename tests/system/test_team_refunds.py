"""A failed team's refunds: each for itself, repeated until the provider says done, once."""

import pytest

from cli.audit import sandbox_bill
from tests.system.house import House
from tests.system.teams import (
    PRICE_FEN,
    Seat,
    each,
    lawful,
    opened,
    switches,
    team_sale,
    until_money,
    until_team,
)
from tests.waiting import eventually

pytestmark = pytest.mark.slow

_REFUND = (
    "SELECT r.id, r.state, r.tries FROM refunds r JOIN payment_facts f ON f.id = r.payment_id"
    " WHERE f.claim_id = $1"
)


async def tried(house: House, seat: Seat, least: int) -> str:
    """Wait until the seat's refund was sent so often and is not done; its number."""

    async def was_tried() -> str:
        rows = await house.rows(_REFUND, seat.claim_id)
        assert len(rows) == 1, rows
        assert rows[0]["state"] == "due", rows
        return str(rows[0]["id"]) if rows[0]["tries"] >= least else ""

    return await eventually(was_tried, every_s=0.1, within_s=60)


@pytest.mark.parametrize("when", [pytest.param("before", marks=pytest.mark.long), "after"])
async def test_one_refund_that_fails_delays_no_other(house: House, when: str) -> None:
    """`when`: the provider fails before its work, or has done it and does not say so."""
    sale = await team_sale(house, 20, offer={"size": 2, "term_ms": 2_000, "late": "refund"})
    seats = await each(*(opened(house, sale, f"captain_{when}_{number}") for number in range(4)))
    unlucky, *others = seats
    everything = {"count": 10_000, "operations": ["refund"]}
    await switches(house, failing=everything)  # the provider answers none for a while
    try:
        for seat in seats:
            await until_team(house, sale, seat.team_id, "failed")
            number = await tried(house, seat, 1)
            if seat is unlucky:
                stuck = number
        one = {**everything, "attempts": [stuck], "when": when, "how": "closed"}
        await switches(house, failing=one)
        for seat in others:
            await until_money(house, seat, "refunded", seat.team_id, "team_failed")
        assert await tried(house, unlucky, 3) == stuck
    finally:
        await switches(house)
    await until_money(house, unlucky, "refunded", unlucky.team_id, "team_failed")
    await lawful(house, "T5")
    bill = await sandbox_bill(house.settings, complete=True)
    claims = [seat.claim_id for seat in seats]
    rows = await house.rows("SELECT id FROM payment_facts WHERE claim_id = ANY($1)", claims)
    ours = {row["id"] for row in rows}
    back = [(row.transaction_id, row.amount_fen) for row in bill.rows if row.kind == "refund"]
    assert sorted(one for one in back if one[0] in ours) == [
        (one, PRICE_FEN) for one in sorted(ours)
    ]
    assert (await house.stock(sale))["available"] == 20


async def test_a_refund_that_the_provider_refuses_is_sent_again(house: House) -> None:
    sale = await team_sale(house, 20, offer={"size": 2, "term_ms": 1_500, "late": "refund"})
    seats = await each(*(opened(house, sale, f"captain_refused_{number}") for number in range(3)))
    await switches(house, refunds={"fail_next": 2, "processing_ms": 300})
    try:
        for seat in seats:
            await until_money(house, seat, "refunded", seat.team_id, "team_failed")
    finally:
        await switches(house)
    await lawful(house, "T5")
