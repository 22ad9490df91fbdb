"""The figures of all processes in Prometheus' text format."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tasks.monitoring.metrics import BUCKETS, COUNTERS, HISTOGRAMS


class Metrics(Collector):
    """Totals as `tasks.monitoring.metrics.totals` reads them, and what is true at this moment."""

    def __init__(self, totals: dict[str, float], gauges: dict[str, float]) -> None:
        self._totals = totals
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """Everything, in the library's words."""
        for name, value in self._gauges.items():
            yield GaugeMetricFamily(f"parley_{name}", name.replace("_", " "), value=value)
        for name, label in COUNTERS.items():
            yield self._counter(name, label)
        for name in HISTOGRAMS:
            yield self._histogram(name)

    def _counter(self, name: str, label: str) -> Metric:
        family = CounterMetricFamily(f"parley_{name}", name.replace("_", " "), labels=[label] if label else [])
        if not label:
            family.add_metric([], self._totals.get(f"{name}:", 0))
            return family
        for key, value in self._totals.items():
            if key.startswith(f"{name}:"):
                family.add_metric([key.partition(":")[2]], value)
        return family

    def _histogram(self, name: str) -> Metric:
        counted, buckets = 0.0, []
        for bound in (*map(str, BUCKETS), "+Inf"):
            counted += self._totals.get(f"{name}:{bound}", 0)
            buckets.append((bound, counted))
        total = self._totals.get(f"{name}:sum", 0)
        return HistogramMetricFamily(f"parley_{name}", name.replace("_", " "), buckets=buckets, sum_value=total)


def text(totals: dict[str, float], gauges: dict[str, float]) -> bytes:
    """The answer to `/metrics`."""
    registry = CollectorRegistry()
    registry.register(Metrics(totals, gauges))
    return generate_latest(registry)
