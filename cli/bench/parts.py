"""One part of the benchmark: what runs, what is sent to it, and the figures that come back."""

import asyncio
import sys
import time
from array import array
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

import hiredis
import msgspec

from cli.bench.arena import Arena
from cli.bench.generator import GeneratorPlan, GeneratorResult
from cli.cpu import CpuShares
from engine import keys
from engine.errors import RefusedStart
from engine.ids import new_nonce
from engine.scripts import load_all
from loadtests.plan import percentile

WARM_S = 0.5
START_S = 0.3  # until a generator's process sends its first request
DRAIN_WITHIN_S = 300.0
_WATCHED = ("api-1", "echo", "plain", "valkey", "postgres", "settle")


class Figure(msgspec.Struct, kw_only=True):
    """What one run of one part came to. Shares are cores: 1.0 is one core all the time."""

    per_s: float
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    words: dict[str, int] = {}
    cores: dict[str, float] = {}
    backlog: int = 0


class Numbers:
    """Numbers for idempotency keys; no request of a run has the number of another one."""

    def __init__(self) -> None:
        self._next = 0

    def take(self) -> int:
        self._next += 10_000_000
        return self._next


def http_templates(offer_id: str, price_id: str, tokens: Sequence[str]) -> tuple[bytes, ...]:
    """One claim request per customer; `%s` is the request's own number."""
    body = msgspec.json.encode({"qty": 1, "price_id": price_id})
    return tuple(
        f"POST /v1/offers/{offer_id}/claims HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Bearer {token}\r\nIdempotency-Key: b-%s\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
        for token in tokens
    )


def store_templates(arena: Arena, count: int = 500) -> tuple[bytes, ...]:
    """The claim script's command for the lone shard, packed, one per buyer."""
    script, shard, offer_id = load_all()["claim"], arena.lone_shard, arena.lone_offer
    limits = keys.limits(shard)
    made = []
    for number in range(count):
        buyer_id = f"mbr_{number:022d}"
        command = script.command(
            meta=keys.meta(shard),
            events=keys.events(shard, 1),
            offer=keys.offers(shard) + offer_id,
            offer_limits=limits + offer_id,
            campaign_limits=limits + arena.lone_campaign,
            offer_holds=keys.holds(shard) + offer_id,
            deadlines=keys.deadlines(shard),
            idem=keys.idem(shard, buyer_id, offer_id, "b-" + "0" * 15),
            claims=keys.claims(shard),
            groups=keys.groups(shard),
            epoch=1,
            run_id=arena.wire.run_id,
            shard=shard,
            nonce=new_nonce(),
            offer_id=offer_id,
            buyer_id=buyer_id,
            qty=1,
            price_id=arena.price_id,
            key="b-" + "0" * 15,
            body_hash="0" * 32,
            touch="",
            traits="",
            lag_max_ms=10**9,
        )
        packed: bytes = hiredis.pack_command(command)  # type: ignore[arg-type]
        made.append(packed.replace(b"b-" + b"0" * 15, b"b-%s"))
    return tuple(made)


async def generate(
    plans: Sequence[GeneratorPlan], pids: Mapping[str, int]
) -> tuple[list[GeneratorResult], dict[str, float]]:
    """Run these generators at the same time; their results and who used how many cores."""
    generators = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.bench.generator"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        for _ in plans
    ]
    watching = asyncio.create_task(_steady_cores(plans[0], pids))
    try:
        told = await asyncio.gather(
            *(
                one.communicate(msgspec.msgpack.encode(plan))
                for one, plan in zip(generators, plans, strict=True)
            )
        )
        cores = await watching
    finally:
        watching.cancel()
        for one in generators:
            if one.returncode is None:
                one.kill()
                await one.wait()
    for one, (_, why) in zip(generators, told, strict=True):
        if one.returncode != 0:
            raise RefusedStart("bench_failed", "A generator failed.", why.decode()[-2_000:])
    return [msgspec.msgpack.decode(out, type=GeneratorResult) for out, _ in told], cores


async def _steady_cores(plan: GeneratorPlan, pids: Mapping[str, int]) -> dict[str, float]:
    """Shares over the middle of the run, when the generators are warm and not yet ending."""
    await asyncio.sleep(START_S + plan.warm_s)
    shares, began = CpuShares(pids), time.perf_counter()
    await asyncio.sleep(plan.seconds * 0.8)
    return shares.since(time.perf_counter() - began)


def figure(results: Sequence[GeneratorResult], cores: Mapping[str, float]) -> Figure:
    """Sum up generators that ran at the same time."""
    times = array("d")
    words: dict[str, int] = {}
    for one in results:
        times.frombytes(one.latencies)
        for word, count in one.words.items():
            words[word] = words.get(word, 0) + count
    ordered = [seconds * 1_000 for seconds in times]
    ordered.sort()
    return Figure(
        per_s=sum(one.answers / one.seconds for one in results),
        p50_ms=percentile(ordered, 0.5),
        p95_ms=percentile(ordered, 0.95),
        p99_ms=percentile(ordered, 0.99),
        words=words,
        cores={
            **{name: round(share, 3) for name, share in cores.items()},
            "generator": round(sum(one.cpu_s / one.seconds for one in results), 3),
        },
    )


def _pids(arena: Arena) -> dict[str, int]:
    return {name: arena.pid(name) for name in _WATCHED}


async def claims_over_http(
    arena: Arena,
    target: str,
    numbers: Numbers,
    *,
    connections: int,
    seconds: float,
    generators: int,
    gone: bool = False,
) -> Figure:
    """Claims against `api-1`, `echo` or `plain`; `backlog` is what is unsettled afterwards.

    `gone`: of the offer that is sold out.
    """
    offer_id = arena.offer_id if target == "api-1" else arena.lone_offer
    templates = http_templates(*(arena.gone if gone else (offer_id, arena.price_id, arena.tokens)))
    plans = [
        GeneratorPlan(
            port=arena.ports[target],
            protocol="http",
            connections=connections // generators,
            depth=1,
            warm_s=WARM_S,
            seconds=seconds,
            number_from=numbers.take(),
            templates=templates,
        )
        for _ in range(generators)
    ]
    made = figure(*(await generate(plans, _pids(arena))))
    made.backlog = await arena.backlog()
    return made


async def claims_in_the_store(
    arena: Arena, numbers: Numbers, *, connections: int, depth: int, seconds: float, generators: int
) -> Figure:
    """The claim script alone, from raw connections; the answer is fsynced as ever."""
    url = urlsplit(arena.settings.redis_url)
    preamble: bytes = hiredis.pack_command(
        ("AUTH", url.password or "")  # type: ignore[arg-type]
    )
    plans = [
        GeneratorPlan(
            port=url.port or 6379,
            protocol="resp",
            connections=connections // generators,
            depth=depth,
            warm_s=WARM_S,
            seconds=seconds,
            number_from=numbers.take(),
            templates=store_templates(arena),
            preamble=preamble,
        )
        for _ in range(generators)
    ]
    return figure(*(await generate(plans, _pids(arena))))


async def settle_backlog(arena: Arena) -> Figure:
    """Let the settler go on until nothing is left; events settled per second, nobody else there."""
    left = await arena.backlog()
    if not left:
        return Figure(per_s=0.0)
    shares, began = CpuShares(_pids(arena)), time.perf_counter()
    arena.resume("settle")
    try:
        while await arena.backlog():
            if time.perf_counter() - began > DRAIN_WITHIN_S:
                raise RefusedStart("bench_failed", "The settler does not catch up.")
            await asyncio.sleep(0.02)
    finally:
        arena.pause("settle")
    spent = time.perf_counter() - began
    return Figure(per_s=left / spent, backlog=left, cores=shares.since(spent))
