"""A flash sale at peak, for Locust: `locust -f loadtests/flash_sale.py --headless --plan FILE`.

Latency counts from the *intended* start of a request: a customer who was due at 20:00:00.000 and
was served at 20:00:00.300 waited 300 ms, even if the generator or an earlier answer was late.
Answers such as `sold_out` are expected and named as such in the statistics. Everything asked and
told is written to a history for the audit. Locust patches the standard library at import: never
import this file in a process that runs asyncio.
"""

import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import gevent
import msgspec
from locust import FastHttpUser, LoadTestShape, events, task

from engine.audit.history import HistoryWriter
from loadtests.journey import Journey
from loadtests.plan import LoadPlan, LoadResult
from loadtests.room_result import RoomSeen


class Run:
    """The one run of this process: its plan, its history and what it has seen."""

    def __init__(self, plan: LoadPlan) -> None:
        self.plan = plan
        self.history = HistoryWriter(Path(plan.history), "locust")
        self.free = list(reversed(plan.customers))
        self.requests = 0
        self.failures: Counter[str] = Counter()
        self.claim_answers: Counter[str] = Counter()
        self.claim_ms: defaultdict[str, list[float]] = defaultdict(list)
        self.ordered_ms: list[float] = []
        self.links: list[str] = []  # teams that their captains share
        self.room: RoomSeen | None = None  # what viewers saw, where there is a room
        self._began, self._cpu = time.monotonic(), time.process_time()

    def finish(self) -> None:
        """Write history and result."""
        self.history.close()
        result = LoadResult(
            requests=self.requests,
            failures=dict(self.failures),
            claim_answers=dict(self.claim_answers),
            claim_ms=dict(self.claim_ms),
            ordered_ms=self.ordered_ms,
            generator_cpu_s=time.process_time() - self._cpu,
            seconds=time.monotonic() - self._began,
            room=msgspec.Raw(msgspec.json.encode(self.room)),
        )
        Path(self.plan.result).write_bytes(msgspec.json.encode(result))


class Answer(msgspec.Struct):
    """An HTTP answer as the journey needs it; status 0: none came."""

    status: int
    body: dict[str, Any]
    replay: bool = False


class Shopper(FastHttpUser):
    """One customer; each step of the journey is one Locust task, so that a stop falls between."""

    evening: ClassVar[Run]
    journey: ClassVar[type[Journey]] = Journey
    network_timeout = 20.0
    connection_timeout = 20.0
    concurrency = 1

    def on_start(self) -> None:
        """Take a customer's token; without one left there is nothing to do."""
        run = self.evening
        self.customer = run.free.pop() if run.free else None
        self._life: Iterator[None] = iter(())
        if self.customer is not None:
            rng = random.Random(f"{run.plan.seed}-{self.customer.buyer}")
            self._life = self.journey(self, run.plan, self.customer.buyer, run.history, rng).life()

    @task
    def step(self) -> None:
        """The next step of the journey."""
        try:
            next(self._life)
        except StopIteration:
            gevent.sleep(0.5)

    def sleep_until(self, at_ms: float) -> None:
        """Wait for the intended start of the next step."""
        gevent.sleep(max(0.0, at_ms / 1000 - time.time()))

    def ask(
        self,
        name: str,
        method: str,
        url: str,
        intended_ms: float,
        *,
        expected: frozenset[str] = frozenset(),
        body: dict[str, Any] | None = None,
        key: str = "",
        is_claim: bool = False,
    ) -> Answer:
        """One request; its statistics carry the answer's word, its time counts from `intended_ms`.

        Not 2xx and not one of the `expected` codes is a failure.
        """
        headers = {"Accept-Encoding": "identity"}
        if self.customer is not None and not url.startswith("http"):
            headers["Authorization"] = f"Bearer {self.customer.token}"
        if key:
            headers["Idempotency-Key"] = key
        with self.client.request(
            method, url, name=name, json=body, headers=headers, catch_response=True
        ) as response:
            took_ms = max(0.0, time.time() * 1000 - intended_ms)
            answer = _read(response)
            word = _word(answer) if is_claim else str(answer.body.get("code", ""))
            fine = 200 <= answer.status < 300 or word in expected
            meta = response.request_meta
            meta["response_time"] = took_ms
            meta["name"] = f"{name}: {word}" if word else name
            if fine:
                response.success()
            else:
                why = f"{answer.status} {word}" if answer.status else "no answer"
                self.evening.failures[f"{name}: {why}"] += 1
                response.failure(why)
        self.evening.requests += 1
        if is_claim:
            self.evening.claim_answers[word or "no answer"] += 1
            self.evening.claim_ms[self.evening.plan.phase(intended_ms)].append(took_ms)
        return answer

    def note_ordered(self, took_ms: float) -> None:
        """How long it took from `held` until the order was seen."""
        self.evening.ordered_ms.append(took_ms)
        self.environment.events.request.fire(
            request_type="STEP",
            name="held → ordered",
            response_time=took_ms,
            response_length=0,
            exception=None,
            context={},
        )

    def links(self) -> list[str]:
        """Teams that captains of this run have shared; a new one is appended."""
        return self.evening.links

    def surprise(self, what: str) -> None:
        """An answer that the product must not give."""
        self.evening.failures[what] += 1


def _read(response: Any) -> Answer:
    try:
        body = msgspec.json.decode(response.content or b"{}")
    except msgspec.DecodeError:
        body = {}
    headers = response.headers or {}
    return Answer(
        response.status_code or 0,
        body if isinstance(body, dict) else {},
        headers.get("idempotent-replay") == "true",
    )


def _word(answer: Answer) -> str:
    if answer.status == 201:
        return "replay" if answer.replay else "held"
    return str(answer.body.get("code", ""))


class Evening(LoadTestShape):
    """Warm-up, the spike at the start of the sale, plateau, tail: bounded in users and time."""

    def tick(self) -> tuple[int, float] | None:
        """Locust asks each second."""
        return Shopper.evening.plan.users(time.time() * 1000)


def _arguments(parser: Any) -> None:
    parser.add_argument("--plan", required=True, help="The run's plan, a JSON file.")


def _init(environment: Any, **_: object) -> None:
    raw = Path(environment.parsed_options.plan).read_bytes()
    Shopper.evening = Run(msgspec.json.decode(raw, type=LoadPlan))
    Shopper.host = Shopper.evening.plan.base_url


def _quitting(**_: object) -> None:
    Shopper.evening.finish()


def _listen() -> None:
    hooks: tuple[tuple[Any, Any], ...] = (
        (events.init_command_line_parser, _arguments),
        (events.init, _init),
        (events.quitting, _quitting),
    )
    for hook, listener in hooks:
        hook.add_listener(listener)


_listen()
