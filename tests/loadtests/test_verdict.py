"""A verdict that cannot be bad would prove nothing: each kind of trouble must turn it red."""

import msgspec

from engine.audit.report import LawResult, Report
from loadtests.plan import LoadResult
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


def test_what_is_printed() -> None:
    assert latency_lines(_GOOD) == [
        ("claims, spike", "3", "2", "30", "30", "30"),
        ("held → ordered", "1", "12", "12", "12", "12"),
    ]
    assert share_line({"valkey": 0.1, "api-1": 0.9}, 0.5, 2) == (
        "Of 2 cores the load generator itself used 0.50, "
        "the product 1.00 (api-1 0.90, valkey 0.10)."
    )
