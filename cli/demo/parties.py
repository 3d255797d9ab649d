"""Who buys in teams on the evening: friends with a link, and strangers in one crowd.

A party's first customer opens a team and, once it is paid, shares it; `STORIES` says what becomes
of it. Friends sit in one client process, since the link goes from hand to hand.
"""

import asyncio
import random
from collections.abc import Iterator, Sequence
from itertools import cycle

from cli.demo.plan import GroupOffer, GroupPlan, Joiner, Party

LAST_PARTY_MS = 9_000  # a team that is opened then has ended before the sale has
DRIFTERS_APART_MS = 3_000
LAST_JOINER_MS = 19_000
CROWD_SHARE = 0.35  # of the group customers
JOINERS_PAY = 0.9

# How many seats' worth of customers come, beside the size of the team, and in which order.
STORIES: tuple[tuple[str, int, int], ...] = (
    ("full", 2, 0),
    ("full", 3, 0),
    ("drifter", 2, -1),
    ("late", 3, 0),
    ("rush", 2, 3),
    ("short", 3, -1),
    ("lone", 2, -1),
    ("full", 3, 0),
    ("unpaid", 2, 0),
    ("late", 2, 0),
    ("drifter", 2, -1),
    ("full", 2, 0),
    ("leaver", 3, -1),
    ("rush", 3, 2),
)


def group_plan(
    phones: Sequence[str], pair: GroupOffer, trio: GroupOffer, crowd: GroupOffer, seed: int
) -> GroupPlan:
    """Give each customer a party, or a place in the crowd."""
    rng = random.Random(f"{seed}-groups")
    joining = round(len(phones) * CROWD_SHARE)
    joiners = [
        Joiner(phone=phone, after_ms=rng.randrange(LAST_JOINER_MS), pays=rng.random() < JOINERS_PAY)
        for phone in phones[:joining]
    ]
    offers = {2: pair, 3: trio}
    return GroupPlan(
        crowd=crowd,
        parties=tuple(_parties(phones[joining:], offers, rng)),
        joiners=tuple(joiners),
    )


def _parties(
    phones: Sequence[str], offers: dict[int, GroupOffer], rng: random.Random
) -> Iterator[Party]:
    used, before_ms = 0, None
    for story, size, beside in cycle(STORIES):
        guests = tuple(phones[used : used + size + beside])
        if len(guests) < size + beside:
            return
        used += len(guests)
        after_ms = rng.randrange(LAST_PARTY_MS)
        if story == "drifter":
            # Of two lonely captains the first one's team ends while the other's still has a seat.
            after_ms = before_ms + DRIFTERS_APART_MS if before_ms is not None else after_ms // 2
            before_ms = after_ms if before_ms is None else None
        yield Party(story=story, offer=offers[size], phones=guests, after_ms=after_ms)


def part_of(plan: GroupPlan, number: int, of: int) -> GroupPlan:
    """The share of client process `number`."""
    return GroupPlan(
        crowd=plan.crowd, parties=plan.parties[number::of], joiners=plan.joiners[number::of]
    )


def guests_of(plan: GroupPlan) -> int:
    """How many customers it plays."""
    return len(plan.joiners) + sum(len(party.phones) for party in plan.parties)


class Link:
    """What a captain shares: the team's id, or None when there will be no team."""

    def __init__(self) -> None:
        self._team_id: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    def share(self, team_id: str | None) -> None:
        """Once; what is said later is not heard."""
        if not self._team_id.done():
            self._team_id.set_result(team_id)

    async def opened(self) -> str | None:
        return await asyncio.shield(self._team_id)
