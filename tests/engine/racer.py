"""A process of its own that races for stock: `python -m tests.engine.racer`, job on stdin.

It says `ready` once connected, waits for a line, sends all its claims at once in random order
and writes its history: what it asked and what it was answered.
"""

import asyncio
import random
import sys

import msgspec

from tests.engine.hotshard import bench


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """`claims` random claims by `buyers` buyers on `offers`, of 1 or 2 units each."""

    url: str
    name: str
    seed: int
    claims: int
    buyers: int
    offers: tuple[str, ...]
    in_flight_max: int = 1_000


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One request and its answer."""

    offer_id: str
    buyer_id: str
    qty: int
    key: str
    what: str
    details: tuple[str, ...]


async def race(job: Job) -> list[Line]:
    """The history of this racer."""
    rng = random.Random(job.seed)
    turn = asyncio.Semaphore(job.in_flight_max)
    async with bench(job.url) as shard:
        await asyncio.to_thread(_say, b"ready\n")
        await asyncio.to_thread(sys.stdin.buffer.readline)

        async def one(place: int) -> Line:
            offer_id, qty = rng.choice(job.offers), rng.choice((1, 1, 2))
            buyer_id, key = f"mbr_{rng.randrange(job.buyers)}", f"{job.name}-{place}"
            async with turn:
                reply = await shard.claim(offer_id, buyer_id, qty, key=key)
            return Line(
                offer_id=offer_id,
                buyer_id=buyer_id,
                qty=qty,
                key=key,
                what=reply.what,
                details=reply.details,
            )

        return list(await asyncio.gather(*map(one, range(job.claims))))


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.readline(), type=Job)
    history = asyncio.run(race(job))
    _say(msgspec.json.encode(history) + b"\n")


if __name__ == "__main__":
    main()
