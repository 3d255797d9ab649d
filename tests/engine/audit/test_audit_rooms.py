"""R1 to R4: each lie of a log or of a gateway is caught by the law that is named here."""

import re
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from engine import keys
from engine.audit.room_facts import personal
from engine.errors import BadInput
from engine.room_events import Comment, encode
from tests.engine.audit.evening import Scene

Line = dict[str, Any]


async def test_a_room_that_was_lost_and_begun_anew_keeps_its_laws(scene: Scene) -> None:
    report = await scene.audit()
    assert report.ok, "\n".join(report.lines())
    assert {name: report.law(name).checked > 5 for name in ("R1", "R2", "R4")}
    assert report.law("R3").checked == 5  # snapshots


async def test_without_viewers_the_logs_alone_are_checked(scene: Scene) -> None:
    report = await scene.audit(history=None)
    assert [report.law(name).ok for name in ("R1", "R2", "R3", "R4")] == [True, None, None, True]


async def test_viewers_alone_are_a_history(scene: Scene) -> None:
    for file in scene.history.glob("*.jsonl"):
        file.unlink()
    report = await scene.audit()
    assert [report.law(name).ok for name in ("I6", "R2")] == [None, True]


async def _rewrite_batch(scene: Scene, change: Callable[[list[Any]], None]) -> None:
    payload = await scene.value("SELECT payload FROM room_log_batches")
    entries = msgspec.msgpack.decode(payload)
    change(entries)
    await scene.run_unguarded(
        "room_log_batches",
        "UPDATE room_log_batches SET payload = :p",
        p=msgspec.msgpack.encode(entries),
    )


def _event(entries: list[Any], at: int) -> Line:
    found: Line = msgspec.json.decode(entries[at][3])
    return found


def _lose(entries: list[Any]) -> None:
    del entries[4]


def _twice(entries: list[Any]) -> None:
    entries[5][1] = entries[4][1]


def _no_origin(entries: list[Any]) -> None:
    entries[5][1] = "somewhere"


def _comment_of_nobody(entries: list[Any]) -> None:
    entries[2][1] = "tick-s0-e1-77-o"


def _late(entries: list[Any]) -> None:
    del entries[0]


@pytest.mark.parametrize("lie", [_lose, _twice, _no_origin, _comment_of_nobody, _late])
async def test_r1_a_log_that_lost_or_made_up_an_event(
    scene: Scene, lie: Callable[[list[Any]], None]
) -> None:
    await _rewrite_batch(scene, lie)
    assert "R1" in await scene.broken()


async def test_r1_a_number_is_missing_in_the_hot_log(scene: Scene) -> None:
    told = {"origin": "rcm_9", "part": "pin", "event": '{"kind":"pin","offer_id":null}'}
    await scene.redis.xadd(keys.log(scene.names["room"]), told, "5-0")
    assert "R1" in await scene.broken(history=None)


async def test_r1_an_event_that_the_log_forgot(scene: Scene) -> None:
    await scene.redis.hincrby(keys.log_meta(scene.names["room"]), "offset", 1)
    assert "R1" in await scene.broken(history=None)


async def test_r2_an_archive_that_was_changed(scene: Scene) -> None:
    def other_stock(entries: list[Any]) -> None:
        event = {**_event(entries, 4), "available": 99}
        entries[4][3] = msgspec.json.encode(event).decode()

    await _rewrite_batch(scene, other_stock)
    report = await scene.audit()
    assert set(report.broken) == {"R2"}
    assert "are not what the log says" in report.law("R2").problems[0]


async def test_r4_a_phone_number_in_a_log(scene: Scene) -> None:
    def call_me(entries: list[Any]) -> None:
        event = {**_event(entries, 2), "text": "打 13812345678"}
        entries[2][3] = msgspec.json.encode(event).decode()

    await _rewrite_batch(scene, call_me)
    assert "R4" in await scene.broken(history=None)


async def test_r4_an_open_id_in_a_part(scene: Scene) -> None:
    parts = keys.log_parts(scene.names["room"])
    await scene.redis.hset(parts, "pin", '{"kind":"pin","offer_id":"oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"}')
    assert "R4" in await scene.broken(history=None)


def test_r4_a_field_names_somebody_and_a_word_does_not() -> None:
    said = Comment(at_ms=1, id="e-1", nickname="OpenID", text="open_id")
    assert personal(encode(said)) is None
    assert personal('{"kind":"pin","openid" : "x"}') is not None
    assert personal('{"kind":"pin","open_id":null}') is not None


def _rewrite_viewers(scene: Scene, change: Callable[[list[Line]], None]) -> None:
    (file,) = (scene.history / "viewers").glob("*.jsonl")
    lines = [msgspec.json.decode(raw) for raw in file.read_bytes().splitlines()]
    change(lines)
    file.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in lines))


def _of(lines: list[Line], do: str, number: int = 0) -> Line:
    return [one for one in lines if one["do"] == do][number]


def _gap(lines: list[Line]) -> None:
    _of(lines, "events", 1)["first"] += 1


def _repeat(lines: list[Line]) -> None:
    _of(lines, "events", 1)["first"] -= 1


def _beyond(lines: list[Line]) -> None:
    _of(lines, "events", 2)["last"] += 5


def _other_words(lines: list[Line]) -> None:
    _of(lines, "events")["digest"] += 1


def _other_state(lines: list[Line]) -> None:
    _of(lines, "end")["hash"] = "0" * 64


def _backwards(lines: list[Line]) -> None:
    snapshot = dict(_of(lines, "snapshot"))
    lines.insert(lines.index(_of(lines, "events")) + 1, snapshot)


def _comment_lost(lines: list[Line]) -> None:
    _of(lines, "said")["origin_end"] = "-c-2"


def _seen_odd(lines: list[Line]) -> None:
    odd = {"do": "odd", "viewer": "v1-0", "at_ms": 1, "topic": "t", "what": "a gap: 3 after 1"}
    lines.append(odd)


def _no_snapshot(lines: list[Line]) -> None:
    last = [one for one in lines if one["do"] == "snapshot" and one["viewer"] == "v1-0"][-1]
    lines.remove(last)


def _joins_from_nowhere(lines: list[Line]) -> None:
    topic = _of(lines, "snapshot")["topic"]
    _of(lines, "join", 2)["ask"][topic][1] += 1


def _foreign(lines: list[Line]) -> None:
    for join in (one for one in lines if one["do"] == "join" and one["viewer"] == "v1-0"):
        join["names"] = [one for one in join["names"] if one.startswith("room:")]


def _seen_number(lines: list[Line]) -> None:
    what = "personal data in a frame: 13800138000"
    lines.append({"do": "odd", "viewer": "v1-0", "at_ms": 1, "topic": "t", "what": what})


@pytest.mark.parametrize(
    "lie",
    [
        *(_gap, _repeat, _beyond, _other_words, _other_state, _backwards, _comment_lost),
        *(_seen_odd, _joins_from_nowhere),
    ],
)
async def test_r2_what_viewers_were_told_wrongly(
    scene: Scene, lie: Callable[[list[Line]], None]
) -> None:
    _rewrite_viewers(scene, lie)
    assert await scene.broken() == {"R2"}


async def test_r3_events_of_an_epoch_before_its_snapshot(scene: Scene) -> None:
    _rewrite_viewers(scene, _no_snapshot)
    assert await scene.broken() == {"R3"}


@pytest.mark.parametrize("lie", [_foreign, _seen_number])
async def test_r4_what_viewers_had_no_business_with(
    scene: Scene, lie: Callable[[list[Line]], None]
) -> None:
    _rewrite_viewers(scene, lie)
    assert await scene.broken() == {"R4"}


async def test_a_cut_last_line_is_passed_over_and_any_other_is_refused(scene: Scene) -> None:
    (file,) = (scene.history / "viewers").glob("*.jsonl")
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"do":"end","vie')
    assert await scene.broken() == set()
    file.write_bytes(re.sub(rb'"do":"join"', b'"do":"jump"', whole, count=1))
    with pytest.raises(BadInput, match="line 1"):
        await scene.audit()
