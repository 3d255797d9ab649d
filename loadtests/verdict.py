"""The verdict on a load run: no unexpected answer, and every law of the audit holds."""

from collections.abc import Mapping

import msgspec

from engine.audit.report import Report
from loadtests.plan import PHASES, LoadResult, percentile
from loadtests.room_result import RoomSeen, room_complaints


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """`complaints` are empty exactly when the run passed."""

    ok: bool
    complaints: tuple[str, ...]


# An answer that each run of a scenario brings; without it the run shows nothing of its kind.
SHOWN = {
    "team_rush": ("team_full", "Nobody was told that a team is full: it was no rush."),
    "crowd_threshold": ("price_changed", "No price changed: the crowd reached no second step."),
}


def judge(
    result: LoadResult,
    report: Report | None,
    *,
    scenario: str = "flash_sale",
    cuts: bool = False,
) -> Verdict:
    """What is wrong with the run, in sentences; `report` None: the audit could not be run.

    `cuts`: viewers lost their network on purpose.
    """
    complaints = [
        f"{count} × unexpected: {what}" for what, count in sorted(result.failures.items())
    ]
    room = room_of(result)
    if room is not None:
        complaints += room_complaints(room, cuts=cuts)
    if not result.claim_answers.get("held"):
        complaints.append("No claim was held: the run says nothing about the product.")
    word, otherwise = SHOWN.get(scenario, ("", ""))
    if word and not result.claim_answers.get(word):
        complaints.append(otherwise)
    if report is None:
        complaints.append("The audit was not run.")
    else:
        complaints += [f"Law {name} is broken." for name in report.broken]
    return Verdict(ok=not complaints, complaints=tuple(complaints))


def room_of(result: LoadResult) -> RoomSeen | None:
    """What the viewers saw; None without a room."""
    return msgspec.json.decode(result.room, type=RoomSeen | None)


def latency_lines(result: LoadResult) -> list[tuple[str, ...]]:
    """(phase, claims, p50, p95, p99, max) in ms, then the time from held to ordered."""
    rows = [(f"claims, {phase}", result.claim_ms.get(phase, [])) for phase in PHASES]
    rows.append(("held → ordered", result.ordered_ms))
    return [
        (
            name,
            f"{len(values):,}",
            *(f"{percentile(values, share):,.0f}" for share in (0.5, 0.95, 0.99)),
            f"{max(values, default=0.0):,.0f}",
        )
        for name, values in rows
        if values
    ]


def share_line(shares: Mapping[str, float], generator_cores: float, cores: int) -> str:
    """A sentence on who used the processors; shares are cores."""
    servers = ", ".join(
        f"{name} {share:.2f}" for name, share in sorted(shares.items(), key=lambda one: -one[1])
    )
    return (
        f"Of {cores} cores the load generator itself used {generator_cores:.2f}, "
        f"the product {sum(shares.values()):.2f} ({servers})."
    )
