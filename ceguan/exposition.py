"""What a process of ours counts, told to Prometheus: rows of a table, and the state they are read from."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector


class Row(NamedTuple):
    """One metric: its name behind the prefix of its process, counter, gauge or histogram, label ("" for none), where
    `state` keeps it, a sentence, and the upper bounds of a histogram [s]."""

    name: str
    kind: str
    label: str
    key: str
    sentence: str
    bounds: tuple[float, ...] = ()


class Seconds:
    """A histogram of durations. `bounds`: upper bounds of its buckets [s], rising."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._buckets = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, seconds: float) -> None:
        self._sum += seconds
        self._buckets[bisect_left(self._bounds, seconds)] += 1

    def state(self) -> dict[str, float]:
        """The sum of all, and how many fell into each bucket, by its number; adds up over processes."""
        return {"seconds": self._sum} | {str(n): count for n, count in enumerate(self._buckets)}


class Exposition(Collector):
    """Gives Prometheus what `state` returns at the moment it asks."""

    def __init__(self, prefix: str, rows: Iterable[Row], state: Callable[[], Mapping[str, Any]]) -> None:
        self._prefix, self._rows, self._state = prefix, tuple(rows), state

    def collect(self) -> Iterator[Metric]:
        state = self._state()
        for row in self._rows:
            empty: Any = {} if row.label or row.kind == "histogram" else 0
            yield _family(self._prefix + row.name, row, state.get(row.key, empty))

    def describe(self) -> Iterator[Metric]:
        return iter(())


def serve(exposition: Exposition, host: str, port: int, setting: str) -> str | None:
    """Answer Prometheus in a thread of its own; port 0: do not. The problem in words when it cannot be.

    `setting`: the name of the setting that changes the port.
    """
    if not port:
        return None
    registry = CollectorRegistry()
    registry.register(exposition)
    try:
        start_http_server(port, host, registry)
    except OSError as error:
        return f"指标端口 {host}:{port} 不能用（{error.strerror}）；换一个：CEGUAN_{setting.upper()}"
    return None


def _family(name: str, row: Row, value: Any) -> Metric:
    if row.kind == "histogram":
        return _histogram(name, row, value)
    make = CounterMetricFamily if row.kind == "counter" else GaugeMetricFamily
    if not row.label:
        return make(name, row.sentence, value=value)
    family = make(name, row.sentence, labels=[row.label])
    for label, count in sorted(value.items()):
        family.add_metric([label], count)
    return family


def _histogram(name: str, row: Row, value: Mapping[str, float]) -> HistogramMetricFamily:
    so_far, buckets = 0.0, []
    for number, bound in enumerate((*map(str, row.bounds), "+Inf")):
        so_far += value.get(str(number), 0)
        buckets.append((bound, so_far))
    return HistogramMetricFamily(name, row.sentence, buckets=buckets, sum_value=value.get("seconds", 0.0))
