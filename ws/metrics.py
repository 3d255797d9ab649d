"""Counters of this gateway: plain ints on the way, Prometheus text only when somebody asks."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ws.close_codes import SLOW, TABLE

if TYPE_CHECKING:
    from ws.hub import Hub

_BOUNDS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """What this process counted since its start; times are seconds."""

    def __init__(self) -> None:
        self.joins = 0
        self.resumes = 0  # topics brought up to date by events alone
        self.snapshots = 0  # topics told as a whole, at a join or an epoch's begin
        self.frames = 0  # frames written by fan-out
        self.deliveries = 0  # events times the viewers they were written to
        self.ticks = 0
        self.tick_seconds = 0.0
        self.reads = 0
        self.outages = 0
        self.comments: Counter[str] = Counter()  # by what was answered
        self.closes: Counter[int] = Counter()  # by our close code
        self.delay_buckets = [0] * (len(_BOUNDS_S) + 1)
        self.delay_seconds = 0.0

    def delay(self, seconds: float) -> None:
        """From an event's birth to the last viewer's write."""
        self.delay_seconds += seconds
        self.delay_buckets[bisect_left(_BOUNDS_S, seconds)] += 1

    def text(self, hub: "Hub") -> bytes:
        """All of it in the format of Prometheus."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Snapshot(self, hub))
        return generate_latest(registry)


class _Snapshot(Collector):
    def __init__(self, metrics: Metrics, hub: "Hub") -> None:
        self._metrics, self._hub = metrics, hub

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        metrics, hub = self._metrics, self._hub
        for name, says, value in (
            ("connections", "Open connections", hub.lines),
            ("viewers", "Viewers past the handshake", len(hub.viewers)),
            ("topics", "Topics in memory", len(hub.topics)),
            ("tick_ms", "Present length of a tick", hub.tick_ms),
            ("behind_ms", "Since when the hot store does not answer", hub.behind_ms()),
        ):
            yield GaugeMetricFamily(f"kaituan_gateway_{name}", says, value)
        for name, says, count in (
            ("joins", "Accepted joins", metrics.joins),
            ("resumes", "Topics caught up by events alone", metrics.resumes),
            ("snapshots", "Topics told as a whole", metrics.snapshots),
            ("frames", "Frames written by fan-out", metrics.frames),
            ("deliveries", "Events times viewers", metrics.deliveries),
            ("ticks", "Ticks with something to read", metrics.ticks),
            ("tick_seconds", "Time spent in ticks", metrics.tick_seconds),
            ("reads", "Reads of logs", metrics.reads),
            ("outages", "Times the hot store went away", metrics.outages),
            ("slow_closes", "Viewers closed as slow", metrics.closes[SLOW]),
        ):
            yield CounterMetricFamily(f"kaituan_gateway_{name}", says, count)
        yield self._labelled(
            "closes", "code", {f"{TABLE[one].code_name}": n for one, n in metrics.closes.items()}
        )
        yield self._labelled("comments", "answer", metrics.comments)
        yield self._delay()

    def _labelled(self, name: str, label: str, counts: "dict[str, int] | Counter[str]") -> Metric:
        family = CounterMetricFamily(
            f"kaituan_gateway_{name}", f"{name.capitalize()} by {label}", labels=[label]
        )
        for what, count in counts.items():
            family.add_metric([what], count)
        return family

    def _delay(self) -> Metric:
        family = HistogramMetricFamily(
            "kaituan_gateway_delay_seconds", "From an event's birth to the last viewer's write"
        )
        total, buckets = 0, []
        for bound, count in zip((*_BOUNDS_S, "+Inf"), self._metrics.delay_buckets, strict=True):
            total += count
            buckets.append((str(bound), float(total)))
        family.add_metric([], buckets, self._metrics.delay_seconds)
        return family
