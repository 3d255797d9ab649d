"""A payment that succeeds after its close receipt lands as its campaign declares.

Each landing over the whole stack, all at the same time: refund, the same seat, another team, a
new team; and what becomes of those for whom none of these is left.
"""

from typing import NamedTuple

import pytest

from tests.system.house import House
from tests.system.teams import (
    each,
    lawful,
    opened,
    page_of,
    paid_up,
    pay,
    seated,
    tale,
    team_sale,
    until_claims,
    until_closed,
    until_money,
    until_team,
)

pytestmark = pytest.mark.slow

PAY_MS = 1_500


class Case(NamedTuple):
    """What the campaign declares, how it stands when the payment comes, and where it lands.

    `full`: their team formed without them; `other`: another team has a free seat.
    """

    name: str
    late: str
    lands: str
    full: bool = True
    other: bool = True
    consent: bool = True


CASES = (
    Case("refund", "refund", "refused: refund", full=False),
    Case("own_seat", "seat", "seat", full=False),
    Case("own_seat_first", "new", "seat", full=False),
    Case("seat_gone", "seat", "refused: no_seat"),
    Case("other_team", "other", "other"),
    Case("did_not_agree", "other", "refused: no_seat", consent=False),
    Case("no_other_team", "other", "refused: no_seat", other=False),
    Case("other_before_new", "new", "other"),
    Case("new_team", "new", "new", other=False),
    Case("new_without_consent", "new", "new", consent=False),
)


async def lands(house: House, case: Case) -> None:
    """One member pays after the close; the whole story of their money."""
    sale = await team_sale(house, 30, pay_ms=PAY_MS, offer={"late": case.late})
    captain = await opened(house, sale, f"captain_{case.name}")
    name = f"member_{case.name}"
    member = await seated(house, sale, name, captain.team_id, consent=case.consent)
    paying = await page_of(house, member)
    await until_closed(house, [paying])
    if case.full:
        for who in (f"second_{case.name}", f"third_{case.name}"):
            await paid_up(house, await seated(house, sale, who, captain.team_id))
        await until_team(house, sale, captain.team_id, "formed")
    host = await opened(house, sale, f"host_{case.name}") if case.other else captain
    await pay(house, paying, "paid_after_close")
    if case.lands.startswith("refused"):
        await until_money(house, member, "released", captain.team_id, "late")
    else:
        await until_claims(house, [member], "paid")
    told = await tale(house, sale)
    assert dict(told.landed) == {case.lands: 1}, (case, told)
    assert told.most <= 3
    where = str((await house.buyer(name).look(member.claim_id))["team_id"])
    if case.lands == "new":
        assert where not in (captain.team_id, host.team_id), case
        new = await until_team(house, sale, where, "forming")
        assert (new["captain_id"], new["paid"]) == (name, "1"), case
    else:
        assert where == (host if case.lands == "other" else captain).team_id, case


async def test_each_late_payment_lands_as_declared(house: House) -> None:
    await each(*(lands(house, case) for case in CASES))
    await lawful(house, "I6")
