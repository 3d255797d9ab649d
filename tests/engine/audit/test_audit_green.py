"""A real evening keeps every law, at rest and as if it ran, with every source and without."""

from pathlib import Path

from engine.audit.rest import SOON_MS, await_rest, hot_clock_ms, under_way
from engine.audit.run import LAWS, run_audit
from tests.engine.audit.evening import Scene


async def test_a_real_evening_keeps_every_law(scene: Scene) -> None:
    assert await under_way(scene.db, scene.wire) == []
    report = await scene.audit()
    assert report.ok, "\n".join(report.lines())
    assert [one.law for one in report.laws] == [name for name, _ in LAWS]
    assert [one.law for one in report.laws if one.checked == 0] == []


async def test_beside_a_running_sale_it_is_green_too(scene: Scene) -> None:
    report = await scene.audit(at_rest=False)
    assert report.ok, "\n".join(report.lines())
    assert (await scene.audit(at_rest=False, stale_ms=0)).ok


async def test_laws_without_their_source_are_not_checked(scene: Scene) -> None:
    report = await run_audit(scene.db, scene.wire)
    assert report.ok
    assert [one.law for one in report.laws if one.ok is None] == ["I6", "I7", "R2", "R3"]
    assert "not checked" in report.law("I6").sentence
    assert report.law("T8").sentence.endswith("(without the provider's bill)")
    laws = report.to_json()["laws"]
    assert isinstance(laws, dict)
    assert laws["I7"]["ok"] is None
    assert laws["I1"] == {
        "ok": True,
        "checked": report.law("I1").checked,
        "sentence": report.law("I1").sentence,
        "problems": [],
    }


async def test_nothing_is_changed_by_looking(scene: Scene, tmp_path: Path) -> None:
    tables = ("orders", "incidents", "payment_attempts", "event_batches", "postings")
    counts = " || '/' || ".join(f"(SELECT count(*) || max(t::text) FROM {t} t)" for t in tables)
    before = await scene.value(f"SELECT {counts}"), await scene.redis.dbsize()
    assert (await scene.audit()).ok
    assert (await scene.value(f"SELECT {counts}"), await scene.redis.dbsize()) == before


async def test_waiting_for_rest_says_what_is_under_way(scene: Scene) -> None:
    await scene.run(
        "UPDATE orders SET expires_at_ms = 1 WHERE claim_id = :c", c=scene.names["held"]
    )
    left = await await_rest(scene.db, scene.wire, 0.3)
    assert [one.split(":")[1] for one in left] == [" order's hold has lapsed, or soon will"]


async def test_what_falls_due_during_an_audit_is_not_at_rest(scene: Scene) -> None:
    soon = await hot_clock_ms(scene.wire) + SOON_MS - 1_000
    await scene.run(f"UPDATE orders SET expires_at_ms = {soon} WHERE claim_state = 'held'")
    assert await await_rest(scene.db, scene.wire, 0) != []
    later = soon + 3_600_000
    await scene.run(f"UPDATE orders SET expires_at_ms = {later} WHERE claim_state = 'held'")
    assert await await_rest(scene.db, scene.wire, 0) == []


async def test_a_report_is_a_line_per_law_and_names_what_it_found(scene: Scene) -> None:
    await scene.redis.hincrby(scene.key("offer:", scene.names["offer"]), "available", -1)
    report = await scene.audit()
    lines = report.lines()
    (broken,) = [number for number, line in enumerate(lines) if "BROKEN" in line]
    assert lines[broken].startswith("I1  BROKEN")
    assert scene.names["offer"] in lines[broken + 1]
    assert len(lines) == len(LAWS) + 1
    assert not report.ok
    assert report.to_json()["ok"] is False


def test_every_law_has_a_planted_fault() -> None:
    """A checker that cannot fail proves nothing: `test_i1_…` and so on, for each."""
    here = Path(__file__).parent
    source = "".join(one.read_text() for one in here.glob("test_audit_*.py"))
    assert [name for name, _ in LAWS if f"def test_{name.lower()}_" not in source] == []
