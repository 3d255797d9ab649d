"""The evening's story: HQ publishes, a guide goes live, crowds race and viewers watch from their
own processes, HQ adds stock.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from cli.demo.groups import ask_the_merchant, group_offers_of
from cli.demo.headquarters import (
    HERO_SKU,
    RESTOCK_UNITS,
    SIDE_SKU,
    WINDOW_MS,
    Headquarters,
    evening_draft,
    soon,
)
from cli.demo.journeys import cast
from cli.demo.parties import group_plan, guests_of, part_of
from cli.demo.plan import CrowdPlan, GroupPlan, Tally
from cli.demo.screen import Screen
from cli.demo.show import Show
from engine.ids import now_ms

CROWDS = 3
CUSTOMERS_PER_UNIT = 10
STARTS_IN_S = 2.0
ROOM_FILLS_IN_S = 4.0


class EveningFailed(Exception):
    """A client process did not come to its end."""


class Crowd:
    """One client process and its latest tally."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.tally = Tally()

    async def listen(self) -> None:
        """Read tallies until the process ends."""
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.tally = msgspec.json.decode(line, type=Tally)
        if await self.process.wait() != 0:
            raise EveningFailed(f"a client process ended with {self.process.returncode}")

    async def go(self) -> None:
        """Open the gate."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"go\n")
        await self.process.stdin.drain()


async def play(
    hq: Headquarters,
    base_url: str,
    phones: Sequence[str],
    history: Path,
    screen: Screen,
    *,
    name: str,
    late: str,
    seed: int,
    show: Show | None = None,
    guests: Sequence[str] = (),
) -> Tally:
    """One campaign from draft to the last customer's goodbye; the sum of all tallies.

    With a `show` its room is live from before the sale until after it. `guests` are the phones
    of those who buy in teams.
    """
    screen.scene.headline = name
    screen.scene.stock, screen.scene.tally = {}, Tally()
    # Customers sign in before the sale opens, so its start is published when they are about in.
    starts_at_ms = soon(
        STARTS_IN_S + (len(phones) + len(guests)) / 60 + (ROOM_FILLS_IN_S if show else 0)
    )
    scale = len(phones) / 40 / CUSTOMERS_PER_UNIT
    offers = await hq.publish(
        evening_draft(name, starts_at_ms=starts_at_ms, late=late, scale=scale, guests=len(guests))
    )
    by_sku = {offer["sku_id"]: offer for offer in offers}
    hero, side = (by_sku[sku]["offer_id"] for sku in (HERO_SKU, SIDE_SKU))
    screen.tell(f"HQ published {name}: the hero offer has one unit for every ten customers")
    groups: GroupPlan | None = None
    watched = {"hero": hero, "side": side}
    if guests:
        pairs, trios, all_in_one = group_offers_of(by_sku)
        groups = group_plan(guests, pairs, trios, all_in_one, seed)
        watched |= {"pairs": pairs.offer_id, "crowd": all_in_one.offer_id}
        screen.scene.group_offers = tuple([one.offer_id for one in (pairs, trios, all_in_one)])
        screen.tell(f"{guests_of(groups)} more buy in teams of two and three, and in a crowd")
    screen.scene.customers = len(phones) + (guests_of(groups) if groups else 0)
    if show is not None:
        await show.open(hq, name, list(watched.values()), starts_at_ms)
    crowds = [
        await _start(
            CrowdPlan(
                name=f"{history.name}-{late}-{number}",
                base_url=base_url,
                buyers=tuple(cast(phones[number::CROWDS], seed + number)),
                hero_offer=hero,
                side_offer=side,
                starts_at_ms=starts_at_ms,
                ends_at_ms=starts_at_ms + WINDOW_MS,
                history=str(history),
                seed=seed,
                groups=part_of(groups, number, CROWDS) if groups else None,
            )
        )
        for number in range(CROWDS)
    ]
    listeners = [asyncio.create_task(crowd.listen()) for crowd in crowds]
    story = asyncio.create_task(_story(hq, crowds, (hero, side), starts_at_ms, screen, show))
    watch = asyncio.create_task(_watch(hq, crowds, watched, screen, show))
    merchant = asyncio.create_task(ask_the_merchant(hq, lambda: _sum(crowds).asking, screen))
    try:
        await asyncio.gather(*listeners, story)
        if show is not None:
            screen.scene.room = await show.end()
    finally:
        for task in (*listeners, story, watch, merchant):
            task.cancel()
        for crowd in crowds:
            if crowd.process.returncode is None:
                crowd.process.kill()
                await crowd.process.wait()
        if show is not None:
            await show.stop()
        await asyncio.gather(*listeners, story, watch, merchant, return_exceptions=True)
    return _sum(crowds)


async def _start(plan: CrowdPlan) -> Crowd:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "cli.demo.crowd",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(plan) + b"\n")
    await process.stdin.drain()
    return Crowd(process)


def _sum(crowds: Sequence[Crowd]) -> Tally:
    total = Tally()
    for crowd in crowds:
        total.add(crowd.tally)
    return total


async def _story(
    hq: Headquarters,
    crowds: Sequence[Crowd],
    offers: tuple[str, str],
    starts_at_ms: int,
    screen: Screen,
    show: Show | None,
) -> None:
    hero, side = offers
    while (now := _sum(crowds)).signed_in + now.finished < screen.scene.customers:
        await asyncio.sleep(0.1)  # one who could not sign in has finished
    if show is not None:
        await show.begin()
        await show.pin(hero, "the hero offer")
    for crowd in crowds:
        await crowd.go()
    await asyncio.sleep(max(0, starts_at_ms - now_ms()) / 1000)
    screen.tell("the sale is open")
    await asyncio.sleep(WINDOW_MS / 1000 * 0.4)
    await hq.restock(hero, RESTOCK_UNITS)
    screen.tell(f"HQ added {RESTOCK_UNITS} units of the hero offer, live")
    screen.keep()
    await asyncio.sleep(WINDOW_MS / 1000 * 0.3)
    if show is not None:
        await show.pin(side, "the side offer")
    await asyncio.sleep(WINDOW_MS / 1000 * 0.3)
    screen.tell("the sale has ended; last payments, closes and refunds are on their way")


async def _watch(
    hq: Headquarters,
    crowds: Sequence[Crowd],
    offers: dict[str, str],
    screen: Screen,
    show: Show | None,
) -> None:
    before, then = 0, time.monotonic()
    while True:
        await asyncio.sleep(0.5)
        scene, now = screen.scene, time.monotonic()
        scene.tally = _sum(crowds)
        scene.room = show.seen() if show is not None else None
        scene.rates.append((scene.tally.requests - before) / (now - then))
        before, then = scene.tally.requests, now
        scene.stock = {name: await hq.stock(offer) for name, offer in offers.items()}
        scene.balances = await hq.balances()
        screen.draw()
