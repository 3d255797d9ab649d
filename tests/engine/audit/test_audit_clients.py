"""Planted lies to clients: what they were told has no counterpart, or two answers contradict."""

from typing import Any

import pytest

from engine.ids import now_ms
from tests.engine.audit.evening import Scene

Lie = dict[str, Any]


def _told(scene: Scene, name: str, **lie: object) -> None:
    """Change what the first answer about a named claim said."""

    def change(line: Lie) -> Lie:
        is_it = line["op"] == "claim" and line.get("claim_id") == scene.names[name]
        return {**line, **lie} if is_it and line["type"] == "ok" else line

    scene.rewrite(change)


def _asked(scene: Scene, of: str, **lie: object) -> None:
    """Change what a buyer asked for."""

    def change(line: Lie) -> Lie:
        is_it = (line["op"], line["type"]) == ("claim", "invoke") and line.get("buyer") == of
        return {**line, **lie} if is_it else line

    scene.rewrite(change)


def _claim(scene: Scene, number: str, **asked: object) -> str:
    """One more request in the history; its id."""
    request_id = f"c1-planted-{number}"
    body = {"buyer": "b7", "offer": scene.names["offer"], "key": "k-1-b7", "qty": 1}
    line = {"id": request_id, **body, "price_id": "p1", **asked}
    scene.append(op="claim", type="invoke", **line)
    return request_id


async def _held(scene: Scene) -> Lie:
    """What the client was told about the held claim."""
    expires = await scene.value(
        "SELECT expires_at_ms FROM orders WHERE claim_id = :c", c=scene.names["held"]
    )
    told = {"claim_id": scene.names["held"], "price_fen": 990, "expires_at_ms": expires}
    return {**told, "replay": True}


@pytest.mark.parametrize("lie", [{"qty": 2}, {"buyer": "b77"}, {"key": "k-2"}])
async def test_i6_an_order_of_something_else(scene: Scene, lie: Lie) -> None:
    _asked(scene, "b7", **lie)
    assert await scene.broken() == {"I6"}


async def test_i6_another_deadline_than_the_orders(scene: Scene) -> None:
    _told(scene, "held", expires_at_ms=1)
    assert await scene.broken() == {"I6"}


async def test_i6_acknowledged_and_never_ordered(scene: Scene) -> None:
    _told(scene, "held", claim_id="clm-s0-e1-3-0123456789abcdef")
    report = await scene.audit()
    assert set(report.broken) == {"I6"}
    assert "has no order and is not lost" in report.law("I6").problems[0]


async def test_i6_a_claim_may_be_lost_only_above_its_closed_epochs_end(scene: Scene) -> None:
    """Epoch 1 is made a closed one; the current one is 2."""
    last = await scene.value("SELECT seq FROM shard_position")
    await scene.run(
        "UPDATE shard_epochs SET last_seq = :l, closed_at_ms = 5 WHERE epoch = 1", l=last
    )
    await scene.run("INSERT INTO shard_epochs (shard, epoch, reason) VALUES (0, 2, 'test')")
    await scene.run("UPDATE shard_position SET epoch = 2, seq = 0")
    await scene.redis.hset(scene.key("meta"), mapping={"epoch": 2, "seq": 0, "settled_seq": 0})
    assert await scene.broken() == set()
    lost = f"clm-s0-e1-{last + 1}-0123456789abcdef"
    told = {"claim_id": lost, "price_fen": 990, "expires_at_ms": 1, "replay": False}
    asked = _claim(scene, "1", buyer="b50", key="k-50")
    scene.append(op="claim", type="ok", id=asked, **told)
    again = _claim(scene, "2", buyer="b50", key="k-50")  # the same key after the loss
    scene.append(op="claim", type="fail", id=again, status=409, code="sold_out")
    scene.append(op="look", type="invoke", id="c1-look", claim_id=lost)
    scene.append(op="look", type="fail", id="c1-look", status=410, code="claim_lost")
    assert await scene.broken() == set()
    scene.append(op="look", type="invoke", id="c1-look-2", claim_id=scene.names["paid"])
    scene.append(op="look", type="fail", id="c1-look-2", status=410, code="claim_lost")
    report = await scene.audit()
    assert set(report.broken) == {"I6"}
    assert "was said to be lost and is not" in report.law("I6").problems[0]


async def test_i6_an_unsettled_claim_is_only_fine_while_it_is_young(scene: Scene) -> None:
    seq = await scene.value("SELECT seq FROM shard_position") + 1
    told = {"claim_id": f"clm-s0-e1-{seq}-0123456789abcdef", "price_fen": 990}
    asked = _claim(scene, "1", buyer="b50", key="k-50")
    scene.append(op="claim", type="ok", id=asked, **told, expires_at_ms=1, replay=False)
    assert await scene.broken(at_rest=False) == set()
    assert await scene.broken(at_rest=False, stale_ms=0) == {"I6"}
    assert await scene.broken() == {"I6"}


async def test_i6_refused_and_yet_ordered(scene: Scene) -> None:
    def change(line: Lie) -> Lie:
        if line["op"] == "claim" and line.get("claim_id") == scene.names["held"]:
            kept = {name: line[name] for name in ("op", "process", "id", "at_ms")}
            return {**kept, "type": "fail", "status": 409, "code": "sold_out"}
        return line

    scene.rewrite(change)
    report = await scene.audit()
    assert set(report.broken) == {"I6"}
    assert "was refused each time and has an order" in report.law("I6").problems[0]


@pytest.mark.parametrize("end", ["unknown", "fail", ""])
async def test_i6_an_unknown_answer_may_have_an_order(scene: Scene, end: str) -> None:
    """No answer, 503 and a killed client say the same: nobody knows."""

    def change(line: Lie) -> Lie | None:
        if line["op"] == "claim" and line.get("claim_id") == scene.names["held"]:
            kept = {name: line[name] for name in ("op", "process", "id", "at_ms")}
            more = {"status": 503, "code": "reopening"} if end == "fail" else {}
            return {**kept, "type": end, **more} if end else None
        return line

    scene.rewrite(change)
    assert await scene.broken() == set()
    _asked(scene, "b7", qty=2)
    assert await scene.broken() == {"I6"}


async def test_i6_said_to_be_ordered_and_is_not(scene: Scene) -> None:
    scene.append(op="look", type="invoke", id="c1-l", claim_id="clm-s0-e1-3-0123456789abcdef")
    scene.append(op="look", type="ok", id="c1-l", state="held", ordered=True)
    assert await scene.broken() == {"I6"}


async def test_i6_cancelled_and_still_held(scene: Scene) -> None:
    for name, claim in (("gone", "lapsed"), ("held", "held")):
        scene.append(op="cancel", type="invoke", id=name, claim_id=scene.names[claim])
        scene.append(op="cancel", type="ok", id=name, state="released")
        assert await scene.broken() == ({"I6"} if name == "held" else set())


@pytest.mark.parametrize("op", ["pay", "refund"])
async def test_i6_a_promise_that_no_row_keeps(scene: Scene, op: str) -> None:
    def change(line: Lie) -> Lie:
        return {**line, "amount_fen": 1} if (line["op"], line["type"]) == (op, "ok") else line

    scene.rewrite(change)
    assert await scene.broken() == {"I6"}


async def test_i7_two_answers_to_one_key(scene: Scene) -> None:
    asked = _claim(scene, "1")
    scene.append(op="claim", type="ok", id=asked, **{**await _held(scene), "price_fen": 991})
    report = await scene.audit()
    assert "I7" in report.broken
    assert "answered with" in report.law("I7").problems[0]


async def test_i7_another_body_is_granted(scene: Scene) -> None:
    asked = _claim(scene, "1", qty=2)
    scene.append(op="claim", type="ok", id=asked, **await _held(scene))
    report = await scene.audit()
    assert "I7" in report.broken
    assert "granted for different bodies" in report.law("I7").problems[0]


@pytest.mark.parametrize(
    ("qty", "status", "code", "broken"),
    [
        (1, 409, "sold_out", {"I7"}),  # a stored success is returned whatever has changed since
        (2, 409, "sold_out", {"I7"}),  # another body is told so, before anything else
        (1, 422, "key_reused", {"I7"}),
        (2, 422, "key_reused", set()),
        (1, 503, "busy", set()),
        (1, 401, "not_signed_in", set()),
    ],
)
async def test_i7_a_repeat_after_the_answer(
    scene: Scene, qty: int, status: int, code: str, broken: set[str]
) -> None:
    asked = _claim(scene, "1", qty=qty, at_ms=now_ms() + 10)
    scene.append(op="claim", type="fail", id=asked, status=status, code=code, at_ms=now_ms() + 20)
    assert await scene.broken() == broken


async def test_i7_a_refusal_before_the_answer_is_none_of_its_business(scene: Scene) -> None:
    asked = _claim(scene, "1", at_ms=1)
    scene.append(op="claim", type="fail", id=asked, status=409, code="sold_out", at_ms=2)
    assert await scene.broken() == set()


async def test_i7_two_firsts(scene: Scene) -> None:
    asked = _claim(scene, "1")
    scene.append(op="claim", type="ok", id=asked, **{**await _held(scene), "replay": False})
    report = await scene.audit()
    assert set(report.broken) == {"I7"}
    assert "say that they are the first" in report.law("I7").problems[0]
