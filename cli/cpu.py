"""How much of the processors each part of a run used: CPU seconds by name, children included."""

import os
from collections.abc import Mapping

import psutil


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and all below it so far; 0.0 when it is gone."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0.0
    total = 0.0
    for each in family:
        try:
            spent = each.cpu_times()
        except psutil.Error:
            continue
        # What ended children used has gone over to their parent (PostgreSQL's backends).
        total += spent.user + spent.system
        total += getattr(spent, "children_user", 0.0) + getattr(spent, "children_system", 0.0)
    return total


class CpuShares:
    """CPU used between `start` and `stop`, as cores: 1.0 is one core all the time."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._before = {name: cpu_seconds(pid) for name, pid in self._pids.items()}

    def since(self, seconds: float) -> dict[str, float]:
        """Cores by name over the `seconds` since this object was made."""
        return {
            name: max(0.0, cpu_seconds(pid) - self._before[name]) / seconds
            for name, pid in self._pids.items()
        }


def cores() -> int:
    """How many processors this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS
        return os.cpu_count() or 1
