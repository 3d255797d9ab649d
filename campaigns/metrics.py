"""Counters of this process: plain ints on the way, Prometheus text only when somebody asks.

Several API processes share one port, so each scrape sees one of them: all series carry `pid`.
"""

import os
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

_BOUNDS_S = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    """What this process counted since its start."""

    def __init__(self) -> None:
        self.claims: Counter[str] = Counter()  # by what was answered: held, stored, sold_out …
        self.answers: Counter[int] = Counter()  # all other routes, by status
        self.from_memory = 0  # of the claims: `sold_out` without a script of their own
        self.holders_loaded = 0  # sets of holders that were read for that
        self.claim_buckets = [0] * (len(_BOUNDS_S) + 1)
        self.claim_seconds = 0.0
        self.ready: dict[str, bool] = {}

    def claim(self, what: str, seconds: float) -> None:
        """One answered claim request."""
        self.claims[what] += 1
        self.claim_seconds += seconds
        self.claim_buckets[bisect_left(_BOUNDS_S, seconds)] += 1

    def text(self) -> bytes:
        """All of it in the format of Prometheus."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Snapshot(self))
        return generate_latest(registry)


class _Snapshot(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        metrics, pid = self._metrics, str(os.getpid())
        claims = CounterMetricFamily(
            "kaituan_claims", "Claim requests by answer", labels=["pid", "answer"]
        )
        for what, count in metrics.claims.items():
            claims.add_metric([pid, what], count)
        yield claims
        memory, loads = metrics.from_memory, metrics.holders_loaded
        yield _count("kaituan_claims_from_memory", "Claims told sold_out from memory", pid, memory)
        yield _count("kaituan_holders_loaded", "Sets of holders read for that", pid, loads)
        answers = CounterMetricFamily(
            "kaituan_http_answers", "Other requests by status", labels=["pid", "status"]
        )
        for status, count in metrics.answers.items():
            answers.add_metric([pid, str(status)], count)
        yield answers
        yield self._seconds(pid)
        ready = GaugeMetricFamily(
            "kaituan_ready", "1 when this part is ready", labels=["pid", "part"]
        )
        for part, fine in metrics.ready.items():
            ready.add_metric([pid, part], int(fine))
        yield ready

    def _seconds(self, pid: str) -> Metric:
        histogram = HistogramMetricFamily(
            "kaituan_claim_seconds", "Time of a claim request in this process", labels=["pid"]
        )
        total, buckets = 0, []
        for bound, count in zip((*_BOUNDS_S, "+Inf"), self._metrics.claim_buckets, strict=True):
            total += count
            buckets.append((str(bound), float(total)))
        histogram.add_metric([pid], buckets, self._metrics.claim_seconds)
        return histogram


def _count(name: str, says: str, pid: str, count: int) -> Metric:
    counter = CounterMetricFamily(name, says, labels=["pid"])
    counter.add_metric([pid], count)
    return counter
