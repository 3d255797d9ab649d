"""A verdict that cannot be bad would prove nothing: each kind of trouble must turn it red."""

import msgspec

from engine.audit.report import LawResult, Report
from loadtests.hall import Tally
from loadtests.plan import LoadResult
from loadtests.room_result import room_complaints, room_lines, sum_up
from loadtests.verdict import judge, latency_lines, share_line

_GOOD = LoadResult(
    requests=10,
    failures={},
    claim_answers={"held": 3, "sold_out": 7},
    claim_ms={"spike": [1.0, 2.0, 30.0]},
    ordered_ms=[12.0],
    generator_cpu_s=1.0,
    seconds=10.0,
)


def _law(name: str, ok: bool | None) -> LawResult:
    return LawResult(law=name, ok=ok, checked=1, sentence="…")


def test_a_good_run_passes() -> None:
    verdict = judge(_GOOD, Report(laws=(_law("I1", True), _law("M7", None))))
    assert verdict.ok
    assert verdict.complaints == ()


def test_each_trouble_is_named() -> None:
    bad = msgspec.structs.replace(_GOOD, failures={"claim: 500 bug": 2}, claim_answers={})
    verdict = judge(bad, Report(laws=(_law("I1", False),)))
    assert not verdict.ok
    assert verdict.complaints == (
        "2 × unexpected: claim: 500 bug",
        "No claim was held: the run says nothing about the product.",
        "Law I1 is broken.",
    )
    assert not judge(_GOOD, None).ok


def test_a_run_that_shows_nothing_of_its_kind_does_not_pass() -> None:
    laws = Report(laws=(_law("T1", True),))
    for scenario, word in (("team_rush", "team_full"), ("crowd_threshold", "price_changed")):
        assert len(judge(_GOOD, laws, scenario=scenario).complaints) == 1
        shown = msgspec.structs.replace(_GOOD, claim_answers={"held": 1, word: 2})
        assert judge(shown, laws, scenario=scenario).ok


def test_what_is_printed() -> None:
    assert latency_lines(_GOOD) == [
        ("claims, spike", "3", "2", "30", "30", "30"),
        ("held → ordered", "1", "12", "12", "12", "12"),
    ]
    assert share_line({"valkey": 0.1, "api-1": 0.9}, 0.5, 2) == (
        "Of 2 cores the load generator itself used 0.50, "
        "the product 1.00 (api-1 0.90, valkey 0.10)."
    )


_ROOM = "room:rm_1"


def _tally(*hashes: str, behind: int = 0) -> Tally:
    at = {f"{_ROOM} e1 {one}": 5 for one in hashes}
    return Tally(
        done=True,
        hashes=at,
        closes={"1000": 5},
        events=90,
        lags_ms=[8, 40],
        joins=5,
        behind=behind,
        entered=5 * len(hashes),
    )


def test_a_good_room_passes() -> None:
    seen = sum_up(_ROOM, 10, [_tally("9 aa"), _tally("9 aa")])
    assert room_complaints(seen, cuts=False) == []
    assert (seen.joins, seen.events, seen.last_offset, seen.states) == (10, 180, 9, 1)
    assert "10 viewers heard 180 events" in room_lines(seen, 2.0)[0]


def test_each_trouble_of_a_room_is_named() -> None:
    lost = _tally("9 aa", "8 aa", behind=5)
    lost.violations, lost.closes = {"a gap": 3}, {"1006": 2, "4408": 1}
    seen = sum_up(_ROOM, 16, [lost, _tally("9 bb"), Tally()])
    assert room_complaints(seen, cuts=True) == [
        "3 × a viewer saw a gap.",
        "1 processes of viewers did not come to their end.",
        "Only 15 of 16 viewers came into the room.",
        "5 viewers lack events that others heard.",
        "Viewers at the same offset have 2 different states.",
        "1 connections were closed with 4408.",
    ]
    assert "2 connections were closed with 1006." in room_complaints(seen, cuts=False)
    assert any("No event" in one for one in room_complaints(sum_up(_ROOM, 1, []), cuts=False))
    bad = msgspec.structs.replace(_GOOD, room=msgspec.Raw(msgspec.json.encode(seen)))
    assert "3 × a viewer saw a gap." in judge(bad, Report(laws=())).complaints
