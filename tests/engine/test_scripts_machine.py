"""The real scripts on the real hot store against the pure model, in random order.

After each command: the same reply word and details, the same events, and the same hot state in
every key (which is I1, I2 and I8, since the model derives stock, holds, deadlines and counters
from the claims). A command without an event leaves no trace: every byte is as before.
"""

import hashlib
from copy import copy

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from engine.replay.shard import Contradiction
from engine.scripts import Script
from tests.engine.hotshard import SCRIPTS
from tests.engine.parity import World
from tests.engine.scripts_machine import Scripts


@pytest.mark.fuzz
def test_scripts_do_what_the_model_says(valkey_url: str) -> None:
    budget = settings(
        max_examples=settings().max_examples // 2, suppress_health_check=list(HealthCheck)
    )
    play(valkey_url, SCRIPTS, budget)


def play(url: str, scripts: dict[str, Script], budget: settings) -> None:
    """Run the machine with these scripts."""
    world = World(url, scripts)
    try:
        machine = type("ScriptsHere", (Scripts,), {"world": world})
        run_state_machine_as_test(machine, settings=budget)
    finally:
        world.close()


FORGOTTEN = [
    ("claim", "if mine + qty > tonumber(campaign_max)", "if false"),
    ("claim", "if hash ~= body_hash", "if false"),
    ("claim", "redis.call('ZADD', deadlines, expires, claim_id)", ""),
    ("pay_begin", "redis.call('ZREM', deadlines, claim_id)", ""),
    ("pay_confirm", "if redis.call('EXISTS', did) == 1 then return { 'done' } end", ""),
    ("release", "(receipt and c.state == 'paying' and c.attempt_id == attempt_id)", "receipt"),
    ("sweep", "if c and (c.epoch ~= epoch or tonumber(c.seq) <= settled) then", "if c then"),
    ("give_back", "redis.call('HINCRBY', limits .. c.campaign_id, c.buyer_id, -units)", ""),
    ("claim", "and not is_one_of(audience) then", "and false then"),
    ("claim", "if redis.call('HEXISTS', newcomers, buyer_id) == 1 then", "if nil then"),
    (
        "release",
        "if c.team_id and c.seat ~= '1' then return end",
        "if c.seat ~= '1' then return end",
    ),
    ("pay_confirm", "if not c.team_id then take_right(claim_id, c) end", ""),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "line", "instead"), FORGOTTEN, ids=[f"{one[0]}-{n}" for n, one in enumerate(FORGOTTEN)]
)
def test_machine_notices_a_forgotten_line(
    valkey_url: str, name: str, line: str, instead: str
) -> None:
    """A checker that cannot fail proves nothing."""
    sound = SCRIPTS[name]
    assert sound.source.count(line) == 1
    planted = copy(sound)
    planted.source = sound.source.replace(line, instead)
    planted.sha = hashlib.sha1(planted.source.encode(), usedforsecurity=False).hexdigest()
    planted._head = ("EVALSHA", planted.sha, len(planted.keys))
    budget = settings(
        max_examples=400,
        derandomize=True,  # it was seen to notice; by chance it might not
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    with pytest.raises((AssertionError, Contradiction)):
        play(valkey_url, {**SCRIPTS, name: planted}, budget)
