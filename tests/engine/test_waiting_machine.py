"""Waiting lists: the real scripts against the pure model, in random order.

The machine of the scripts goes on (claims, payments, releases, refunds, restocks, windows and
prices that move), now with a list: after each command the same reply, the same events and the
same hot state in every key, lists included. The model refuses a claim of anybody else while
somebody waits, and a skip without its reason.
"""

import asyncio
import hashlib
from copy import copy
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, multiple, precondition, rule, run_state_machine_as_test

from engine.ids import now_ms
from engine.replay import decide, waiting
from engine.replay.shard import Contradiction
from engine.scripts import Script
from tests.engine.hotshard import HOUR_MS, SCRIPTS
from tests.engine.parity import World
from tests.engine.scripts_machine import LANDINGS, Scripts

SCAN_MAX = 2
WAITERS = ("mbr_1", "mbr_2", "mbr_3", "mbr_4", "mbr_5")
buyers = st.sampled_from(WAITERS)
traits = st.sampled_from(("nmb", "nmb", "nmb", "nmb", "m"))
offers = st.sampled_from(("ofr_1", "ofr_1", "ofr_1", "ofr_2"))


class Lists(Scripts):
    """Rules of lists beside those of claims."""

    scan: ClassVar[dict[str, Any]] = {"scan_max": SCAN_MAX}

    @initialize(
        target=Scripts.claims,
        hold_ms=st.sampled_from((0, HOUR_MS)),
        late=LANDINGS,
        audience=st.sampled_from(("all", "all", "all", "new")),
    )
    def begin(self, hold_ms: int, late: str, audience: str) -> Any:
        """Two offers of which all units are held."""
        self.world.run(self._begin())
        self.offer_open("ofr_1", 2, "cmp_a", hold_ms, (3, 3, 4), late, audience)
        self.offer_open("ofr_2", 1, "cmp_a", HOUR_MS, (3, 3, 4), "retake", "all")
        for offer_id, buyer_id in (("ofr_1", "mbr_1"), ("ofr_1", "mbr_2"), ("ofr_2", "mbr_1")):
            self._claim(offer_id, buyer_id, 1, "prc_2", "k1")
        for buyer_id in ("mbr_3", "mbr_4"):
            self._join("ofr_1", buyer_id, 1, "prc_2", f"w-{buyer_id}", HOUR_MS, 9)
        return multiple(*self.model.claims)

    @rule(offer_id=offers, buyer_id=buyers, qty=st.sampled_from((1, 1, 2, 3)), traits=traits)
    def join(self, offer_id: str, buyer_id: str, qty: int, traits: str) -> None:
        """What a page sends: the price that holds, a fresh key."""
        rules = self.configs.get(offer_id)
        price_id = decide.price_at(rules, now_ms())[0] if rules else "prc_1"
        self._join(offer_id, buyer_id, qty, price_id, self.fresh("key"), HOUR_MS, 9, traits)

    @rule(
        offer_id=st.sampled_from(("ofr_1", "ofr_2", "ofr_3")),
        buyer_id=buyers,
        qty=st.sampled_from((1, 2, 4, 9)),
        price_id=st.sampled_from(("prc_2", "prc_1")),
        key=st.sampled_from(("k1", "w-mbr_3", "w-mbr_4")),
        lag_max_ms=st.sampled_from((HOUR_MS, HOUR_MS, -1)),
        wait_max=st.sampled_from((9, 2)),
    )
    def join_anyhow(self, **asked: Any) -> None:
        self._join(**asked)

    def _join(
        self,
        offer_id: str,
        buyer_id: str,
        qty: int,
        price_id: str,
        key: str,
        lag_max_ms: int,
        wait_max: int,
        traits: str = "nmb",
    ) -> None:
        campaign = self.configs[offer_id].campaign_id if offer_id in self.configs else "cmp_a"
        named: dict[str, Any] = {
            **{"offer_id": offer_id, "campaign_id": campaign, "buyer_id": buyer_id, "qty": qty},
            **{"price_id": price_id, "key": key, "body_hash": f"{qty}{price_id}"},
            **{"touch": "room:rom_1|share:é", "traits": traits},
        }
        ask = decide.ClaimRequest(**named)
        self.check(
            lambda: self.world.waiting[lag_max_ms].join(0, **named, wait_max=wait_max),
            lambda at, nonce: waiting.wait_join(
                self.model,
                ask,
                nonce=nonce,
                now_ms=at,
                lag_max_ms=lag_max_ms,
                wait_max=wait_max,
                scan_max=SCAN_MAX,
            ),
        )
        self.world.run(asyncio.sleep(0.001))  # deadlines in different ms, as in the other machine

    @precondition(lambda self: self.model.waits)
    @rule(buyer_id=buyers, offer_id=offers)
    def leave(self, offer_id: str, buyer_id: str) -> None:
        self.check(
            lambda: self.world.waiting[HOUR_MS].leave(0, offer_id, buyer_id),
            lambda at, _: waiting.wait_leave(
                self.model, offer_id=offer_id, buyer_id=buyer_id, now_ms=at
            ),
        )

    @rule(offer_id=offers, after=st.sampled_from((0, 0, 1, 2, 4)))
    def look(self, offer_id: str, after: int) -> None:
        self.check(
            lambda: self.world.waiting[HOUR_MS].look(0, offer_id, str(after)),
            lambda at, nonce: waiting.wait_look(
                self.model,
                offer_id=offer_id,
                after=after,
                nonce=nonce,
                now_ms=at,
                scan_max=SCAN_MAX,
            ),
        )

    @precondition(lambda self: self.model.waits and self.live)
    @rule(place=st.integers(0, 9))
    def cancel(self, place: int) -> None:
        """Somebody lets go what others wait for."""
        live = self.live
        self._release(live[place % len(live)], "att_1", "cancelled")

    @property
    def live(self) -> list[str]:
        claims = self.model.claims.values()
        return [one.claim_id for one in claims if one.state == "held" and one.offer_id == "ofr_1"]


def play(url: str, scripts: dict[str, Script], budget: settings) -> None:
    """Run the machine with these scripts."""
    world = World(url, scripts, wait_scan_max=SCAN_MAX)
    try:
        machine = type("ListsHere", (Lists,), {"world": world})
        run_state_machine_as_test(machine, settings=budget)
    finally:
        world.close()


@pytest.mark.fuzz
def test_lists_do_what_the_model_says(valkey_url: str) -> None:
    budget = settings(
        max_examples=settings().max_examples // 2,
        stateful_step_count=settings().stateful_step_count * 3 // 2,
        suppress_health_check=list(HealthCheck),
    )
    play(valkey_url, SCRIPTS, budget)


FORGOTTEN = [
    ("claim", " or (waiting and waiting ~= '0')", ""),
    ("release", "  serve(c.offer_id, '0')\n", ""),
    ("release", "redis.call('ZREM', waits .. offer_id, buyer_id)", ""),
    ("offer_restock", "available, held = available - qty, held + qty", ""),
    ("wait_join", "if mine then", "if false then"),
    ("wait_join", "local _, served = serve(offer_id, '0')", "local served = {}"),
    ("wait_leave", "strike(offer_id, buyer_id)\nreturn", "return"),
]
# What takes many evenings to be noticed here; test_waiting.py looks at most of it directly.
FORGOTTEN_RARELY = [
    ("sweep", "  serve(c.offer_id, '0')\n", ""),
    ("give_back", "serve(c.offer_id, '0')\n", ""),
    ("pay_confirm", "  serve(c.offer_id, '0')\n", ""),
    ("pay_confirm", " or (waiting and waiting ~= '0') then return 'sold_out'", " then return ''"),
    ("release", "if pid ~= price_id then return 'price_changed' end", ""),
    ("release", "elseif qty <= tonumber(available) then", "else"),
    ("release", "return limit and limit[1], fen", "return nil, fen"),
    ("release", "if over then return 'closed' end", ""),
    ("release", "idem = answers .. buyer_id", "idem = answers .. 'x' .. buyer_id"),
    ("wait_look", "'(' .. after", "'(0'"),
    ("wait_join", "if with_key == key and with_hash ~= body_hash then", "if false then"),
    ("wait_join", "if waiting >= wait_max then return { 'wait_full' } end", ""),
    ("wait_join", "if qty > tonumber(total) then return { 'too_few', total } end", ""),
]


def named(lines: list[tuple[str, str, str]]) -> pytest.MarkDecorator:
    """One test for each line."""
    ids = [f"{one[0]}-{n}" for n, one in enumerate(lines)]
    return pytest.mark.parametrize(("name", "line", "instead"), lines, ids=ids)


@pytest.mark.slow
@named(FORGOTTEN)
def test_machine_notices_a_forgotten_line(
    valkey_url: str, name: str, line: str, instead: str
) -> None:
    """A checker that cannot fail proves nothing; lines of an include stand in each script."""
    notices(valkey_url, name, line, instead)


@pytest.mark.long
@named(FORGOTTEN_RARELY)
def test_machine_notices_a_forgotten_line_in_the_long_run(
    valkey_url: str, name: str, line: str, instead: str
) -> None:
    """The same, of lines that matter rarely."""
    notices(valkey_url, name, line, instead)


def notices(valkey_url: str, name: str, line: str, instead: str) -> None:
    """The machine fails with this line planted."""
    sound = SCRIPTS[name]
    assert sound.source.count(line) == 1
    planted = copy(sound)
    planted.source = sound.source.replace(line, instead)
    planted.sha = hashlib.sha1(planted.source.encode(), usedforsecurity=False).hexdigest()
    planted._head = ("EVALSHA", planted.sha, len(planted.keys))
    budget = settings(
        max_examples=400,
        stateful_step_count=45,
        derandomize=True,  # it was seen to notice; by chance it might not
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    with pytest.raises((AssertionError, Contradiction)):
        play(valkey_url, {**SCRIPTS, name: planted}, budget)
