"""What tests let buyers do with teams, and what the archived events then tell of them.

`team_sale` publishes an offer for teams; `seated` takes a seat and `paid_up` pays for it;
`tale` reads what happened from the archive, the only place that knows each step.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import httpx

from campaigns.payment.sandbox_client import SandboxClient
from engine import keys
from tests.sandbox import TLS
from tests.system.house import House, Sale, kaituan
from tests.waiting import eventually
from workers.settle.batch import unpack

TEAM_LAWS = ("T1", "T2", "T3", "T4", "T6", "T7", "T8")
OTHER_LAWS = ("I1", "I2", "I4", "I5", "I8", "I10", "S1", "M1", "M2", "M3", "M4", "M5", "M9")
PRICE_FEN = 3_990
TERM_MS = 1_200_000  # none ends while an audit reads, unless a test says so
CLOSING_MS = 30_000


class Seat(NamedTuple):
    """A seat that somebody holds or held."""

    name: str
    claim_id: str
    team_id: str


class Paying(NamedTuple):
    """A seat with its payment page."""

    seat: Seat
    page: dict[str, Any]


async def team_sale(
    house: House, total: int, *, offer: dict[str, Any] | None = None, **changes: Any
) -> Sale:
    """Teams of three with a long term; `offer` are fields of the offer, `changes` as in `sale`."""
    rules: dict[str, Any] = {
        "kind": "team",
        "size": 3,
        "term_ms": TERM_MS,
        "closing_max_ms": CLOSING_MS,
        **(offer or {}),
    }
    return await house.sale(total, offer=rules, **{"per_buyer_max": 2, **changes})


async def seated(
    house: House, sale: Sale, name: str, team_id: str = "", *, consent: bool = False
) -> Seat:
    """`name` holds a seat; of a team of their own, when none is named."""
    key = f"key-{name}-{team_id}"[:60]
    status, told = await house.buyer(name).seat(
        sale.offer_id, sale.price_id, team_id, key=key, consent=consent
    )
    assert status == 201, (name, told)
    return Seat(name, told["claim_id"], told["team_id"])


async def page_of(house: House, seat: Seat) -> Paying:
    """Its payment page is open."""
    page = await house.buyer(seat.name).begin_pay(seat.claim_id)
    assert page is not None, seat
    return Paying(seat, page)


async def pay(house: House, one: Paying, *trouble: str) -> None:
    """The provider has the money; what the house makes of it comes later."""
    assert await house.buyer(one.seat.name).pay(one.page, one.seat.claim_id, trouble), one


async def until_claims(house: House, seats: Iterable[Seat], *states: str) -> None:
    """Wait until each of these claims is in one of these states."""

    async def all_are() -> bool:
        for seat in seats:
            seen = await house.buyer(seat.name).look(seat.claim_id)
            assert seen.get("state") in states, (seat, seen)
        return True

    await eventually(all_are, every_s=0.2, within_s=60)


async def paid_up(house: House, seat: Seat, *trouble: str) -> Seat:
    """Its buyer has paid, and the hot store knows."""
    await pay(house, await page_of(house, seat), *trouble)
    await until_claims(house, [seat], "paid")
    return seat


async def opened(house: House, sale: Sale, name: str, *, consent: bool = False) -> Seat:
    """A team whose captain has paid."""
    return await paid_up(house, await seated(house, sale, name, consent=consent))


async def team(house: House, sale: Sale, team_id: str) -> dict[str, str]:
    """The team in the hot store."""
    flat = await house.ask("HGETALL", keys.groups(sale.shard) + team_id)
    if isinstance(flat, dict):
        return {name.decode(): value.decode() for name, value in flat.items()}
    return {flat[at].decode(): flat[at + 1].decode() for at in range(0, len(flat), 2)}


async def until_team(house: House, sale: Sale, team_id: str, *states: str) -> dict[str, str]:
    """Wait until the team is in one of these states."""

    async def is_so() -> dict[str, str]:
        found = await team(house, sale, team_id)
        assert found.get("state") in states, found
        return found

    return await eventually(is_so, every_s=0.1, within_s=90)


async def until_closed(house: House, given: Sequence[Paying]) -> None:
    """Wait until the provider has closed these pages and the seats' releases are settled."""
    attempts = [one.page["attempt_id"] for one in given]
    closed = (
        "SELECT count(*) FROM payment_attempts WHERE id = ANY($1) AND state = 'closed'"
        " AND released_seq IS NOT NULL"
    )

    async def are_closed() -> bool:
        return bool(await house.scalar(closed, attempts) == len(attempts))

    await eventually(are_closed, within_s=60)


async def money_of(house: House, seat: Seat) -> tuple[str, str, list[tuple[str, int, str]]]:
    """(order's state, its team, its refunds as (cause, fen, state))."""
    rows = await house.rows(
        "SELECT state, coalesce(team_id, '') AS team_id FROM orders WHERE claim_id = $1",
        seat.claim_id,
    )
    refunds = await house.rows(
        "SELECT r.cause, r.amount_fen, r.state FROM refunds r JOIN payment_facts f"
        " ON f.id = r.payment_id WHERE f.claim_id = $1 ORDER BY r.cause",
        seat.claim_id,
    )
    return rows[0]["state"], rows[0]["team_id"], [tuple(row) for row in refunds]


async def until_money(house: House, seat: Seat, state: str, team_id: str, *causes: str) -> None:
    """Wait until the order is so, in that team, each payment back in full for these causes."""

    async def is_so() -> bool:
        wanted = [(cause, PRICE_FEN, "done") for cause in causes]
        assert await money_of(house, seat) == (state, team_id, wanted), seat
        return True

    await eventually(is_so, every_s=0.2, within_s=60)


class Tale(NamedTuple):
    """What the archive tells of an offer's teams.

    `most`: the most seats that a team had at a time (held, paying or paid); `landed`: how late
    payments landed (`refused: why` for those that did not); `ends`: formed or failed, and why.
    """

    most: int
    landed: Counter[str]
    ends: Counter[str]


async def tale(house: House, sale: Sale) -> Tale:
    """Read the archive of the offer's shard."""
    await house.settled()
    batches = "SELECT payload FROM event_batches WHERE shard = $1 ORDER BY epoch, first_seq"
    seats: dict[str, set[str]] = {}
    where: dict[str, str] = {}
    landed: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    most = 0
    for row in await house.rows(batches, sale.shard):
        for _, event in unpack(row["payload"]):
            if event.get("offer_id") != sale.offer_id:
                continue
            kind, claim_id = event["kind"], event.get("claim_id", "")
            if kind in ("team.seat_left", "crowd.seat_left"):
                seats[event["team_id"]].discard(claim_id)
            elif kind == "team.seat_moved" or (kind == "claim.paid" and event.get("landed")):
                where[claim_id] = event["team_id"]
                landed[event.get("landed") or "moved"] += 1
            elif kind == "claim.held" and event.get("team_id"):
                where[claim_id] = event["team_id"]
            elif kind == "payment.late":
                landed[f"refused: {event['why']}"] += 1
            elif kind in ("team.formed", "team.failed", "crowd.formed", "crowd.failed"):
                ends[f"{kind} {event['why']}"] += 1
            if kind in ("claim.held", "claim.paid", "team.seat_filled") and claim_id in where:
                seats.setdefault(where[claim_id], set()).add(claim_id)
            most = max(most, *(len(one) for one in seats.values()), 0)
    return Tale(most, landed, ends)


async def until_booked(house: House, sale: Sale) -> None:
    """Wait until all teams of the offer are decided, their money booked."""
    waiting = "SELECT count(*) FROM teams WHERE offer_id = $1 AND booked_at_ms IS NULL"

    async def are_booked() -> bool:
        await house.settled()
        return bool(await house.scalar(waiting, sale.offer_id) == 0)

    await eventually(are_booked, every_s=0.3, within_s=120)


async def reconciled(house: House) -> None:
    """What an operator does at the end of a day: payments that only the bill knows are found."""
    async with SandboxClient.from_settings(house.settings) as client:
        period = await client.open_period()
        await client.close_period(period)
    said = await kaituan(house.environ, "reconcile", period)
    assert said.code == 0, said.text


async def switches(house: House, **rules: Any) -> None:
    """Set the provider's switches; those that are not given are off."""
    async with httpx.AsyncClient(trust_env=False, verify=TLS) as http:
        answer = await http.put(f"{house.settings.provider_url}/switches", json=rules)
        answer.raise_for_status()


async def each(*given: Any) -> list[Any]:
    """All at once."""
    return list(await asyncio.gather(*given))


async def lawful(house: House, *more: str) -> None:
    """All laws hold, and those about teams had something to look at."""
    await house.lawful(*TEAM_LAWS, *OTHER_LAWS, *more, within_s=90)
