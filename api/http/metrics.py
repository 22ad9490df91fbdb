"""The counts of all processes in Prometheus' text format."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from tasks.monitoring.metrics import BUCKETS, COUNTERS, HISTOGRAMS

#: Gauges with their help texts.
GAUGES = {
    "redis_latency_seconds": "Seconds that Redis took for one round trip just now.",
    "queue_depth": "Conversations that wait for a worker.",
    "workers": "Worker processes that are alive.",
    "open_websockets": "Open WebSockets of all web processes.",
}


class Exposition(Collector):
    """Totals as `tasks.monitoring.metrics.totals` reads them, and gauges of GAUGES."""

    def __init__(self, totals: dict[str, float], gauges: dict[str, float]) -> None:
        self._totals = totals
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        """Every metric as the library writes it."""
        for name, value in self._gauges.items():
            yield GaugeMetricFamily(f"parley_{name}", GAUGES[name], value=value)
        for name in COUNTERS:
            yield self._counter(name)
        for name in HISTOGRAMS:
            yield self._histogram(name)

    def _counter(self, name: str) -> Metric:
        help, label = COUNTERS[name].help, COUNTERS[name].label
        family = CounterMetricFamily(f"parley_{name}", help, labels=[label] if label else [])
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
        return HistogramMetricFamily(f"parley_{name}", HISTOGRAMS[name], buckets=buckets, sum_value=total)


def text(totals: dict[str, float], gauges: dict[str, float]) -> bytes:
    """The answer to `/metrics`."""
    registry = CollectorRegistry()
    registry.register(Exposition(totals, gauges))
    return generate_latest(registry)
