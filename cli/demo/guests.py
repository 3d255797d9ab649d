"""One customer of a group buy: opens a team or comes by its link, pays or does not, or too late.

As everybody on the evening, each ends by itself soon after the sale.
"""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

from cli.demo.journeys import Journey
from cli.demo.parties import Link
from cli.demo.plan import Buyer, CrowdPlan, GroupOffer, GroupPlan, Joiner, Party, Tally
from engine.audit.history import HistoryWriter
from engine.ids import now_ms

TRIES_MAX = 5
LANDS_WITHIN_S = 15.0
DITHERS_S = 5.0
PAID = ("paid",)
_OVER = ("team_full", "team_over", "unknown_team")
_NEVER = (
    *("in_team", "team_open", "closed", "limit_reached", "no_team", "newcomers_only"),
    "not_for_you",
)


class Guest:
    """A signed-in customer with `after_ms` to wait from the start of the sale."""

    def __init__(self, plan: CrowdPlan, phone: str, tally: Tally, history: HistoryWriter) -> None:
        self.plan, self.tally = plan, tally
        self.journey = Journey(plan, Buyer(phone, "prompt"), tally, history)
        self.phone, self.rng = self.journey.phone, self.journey.rng

    async def enter(self, gate: asyncio.Event, ready: asyncio.Semaphore, after_ms: int) -> None:
        """Sign in, then wait for the moment."""
        async with ready:
            await self.phone.sign_in()
        await gate.wait()
        await asyncio.sleep(max(0, self.plan.starts_at_ms + after_ms - now_ms()) / 1000)

    async def take(
        self, offer: GroupOffer, team_id: str = "", *, consent: bool = False
    ) -> dict[str, Any] | None:
        """A held seat, or None: full, over, or not for this customer. Strangers' teams are tried
        too when the friends' one is full."""
        opens = offer.size > 0 and not team_id
        price_id = (opens and offer.captain_price_id) or offer.price_id
        wanted = [team_id]
        for _ in range(TRIES_MAX):
            if now_ms() >= self.plan.ends_at_ms:
                return None
            status, answer = await self.phone.take_seat(
                offer.offer_id, price_id, wanted[0], consent=consent
            )
            if status == 201:
                self.tally.held += 1
                return answer
            code = answer["code"]
            if code == "price_changed":
                price_id = answer["price_id"]
                self.tally.stepped += offer.size == 0
            elif code in _OVER:
                self.tally.full += 1
                others = await self.phone.open_teams(offer.offer_id)
                wanted = [one for one in others if one not in wanted][:1] + wanted
                if wanted[0] == team_id:
                    return None
            elif code in _NEVER:
                return None
            else:
                self.tally.sold_out += code == "sold_out"
                await asyncio.sleep(self.rng.uniform(0.5, 1.5))
        return None

    async def pay(self, claim_id: str) -> bool:
        """Pay in time; True when the seat counts as paid."""
        await self.phone.watch(claim_id, ("ordered", "released"), within_s=20)
        paid = await self.journey.pay(claim_id, self.rng.choice(((), (), (), ("doubled",))), PAID)
        self.tally.paid += paid
        return paid

    async def pay_too_late(self, claim_id: str) -> None:
        """The money goes out after the close; it lands as the offer declares."""
        await self.phone.watch(claim_id, ("ordered", "released"), within_s=20)
        if await self.journey.pay_after_close(claim_id, surely=True):
            seen = await self.phone.watch(claim_id, PAID, within_s=LANDS_WITHIN_S)
            self.tally.late_seats += seen.get("state") in PAID


async def join_crowd(guest: Guest, plan: GroupPlan, joiner: Joiner) -> None:
    """A seat of the crowd at the price of its step, paid or left to lapse."""
    held = await guest.take(plan.crowd)
    if held is None:
        return
    guest.tally.crowded += 1
    if joiner.pays:
        await guest.pay(held["claim_id"])
    else:
        guest.tally.lapsed += 1


async def open_team(guest: Guest, party: Party, link: Link) -> None:
    """The captain's part; the link is shared once the captain's seat is paid."""
    try:
        held = await guest.take(party.offer, consent=party.story == "drifter")
        if held is None:
            return
        guest.tally.opened += 1
        if party.story == "unpaid":
            link.share(held["team_id"])  # too early: nobody can join before the captain paid
            guest.tally.lapsed += 1
        elif await guest.pay(held["claim_id"]):
            link.share(held["team_id"])
            if party.story == "short":
                guest.tally.asking.append(held["team_id"])
    finally:
        link.share(None)


async def come_by_link(guest: Guest, party: Party, link: Link, *, last: bool) -> None:
    """A friend's part; the `last` one decides how a story goes on."""
    team_id = await link.opened()
    if team_id is None:
        return
    await asyncio.sleep(guest.rng.uniform(0.1, 0.3 if party.story == "rush" else 1.5))
    if party.story == "late" and last and party.offer.size == 2:
        # Then the team ends before the time to pay does, and its own seat is gone.
        await asyncio.sleep(DITHERS_S)
    # Who may be moved is asked at the seat; half of the late ones agree.
    held = await guest.take(party.offer, team_id, consent=guest.rng.random() < 0.5)
    if held is None:
        return
    guest.tally.joined += 1
    if party.story == "late" and last:
        await guest.pay_too_late(held["claim_id"])
    elif await guest.pay(held["claim_id"]) and party.story == "leaver" and last:
        await guest.journey.give_back(held["claim_id"], 1)


def lives(
    plan: CrowdPlan,
    tally: Tally,
    history: HistoryWriter,
    gate: asyncio.Event,
    ready: asyncio.Semaphore,
) -> Iterator[asyncio.Task[None]]:
    """A task for each group customer of this process."""
    groups = plan.groups
    if groups is None:
        return
    for joiner in groups.joiners:
        guest = Guest(plan, joiner.phone, tally, history)
        part = join_crowd(guest, groups, joiner)
        yield asyncio.create_task(_live(guest, part, gate, ready, joiner.after_ms))
    for party in groups.parties:
        link = Link()
        for number, phone in enumerate(party.phones):
            guest = Guest(plan, phone, tally, history)
            last = number == len(party.phones) - 1
            part = (
                come_by_link(guest, party, link, last=last)
                if number
                else open_team(guest, party, link)
            )
            yield asyncio.create_task(
                _live(guest, part, gate, ready, party.after_ms, link if not number else None)
            )


async def _live(
    guest: Guest,
    part: Coroutine[Any, Any, None],
    gate: asyncio.Event,
    ready: asyncio.Semaphore,
    after_ms: int,
    link: Link | None = None,
) -> None:
    """Sign in, wait, play the part; whatever happens, friends do not wait for ever."""
    try:
        await guest.enter(gate, ready, after_ms)
        await part
    except Exception as error:
        part.close()
        guest.tally.errors = [*guest.tally.errors, f"{guest.phone.number}: {error!r}"][:10]
    finally:
        if link is not None:
            link.share(None)
        guest.tally.finished += 1
        await guest.phone.close()
