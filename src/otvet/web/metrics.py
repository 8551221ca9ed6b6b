"""What Prometheus reads: this process's rates and times, and the totals of the database."""

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from otvet import stats

REGISTRY = CollectorRegistry()

DELIVERIES = Counter(
    "otvet_deliveries", "Webhook calls of this process by what became of them", ["result"], registry=REGISTRY
)
DELIVERY_SECONDS = Histogram(
    "otvet_delivery_seconds",
    "Time from a webhook call to its answer",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2),
    registry=REGISTRY,
)

TOTALS = {
    "messages_received": "Messages that amoCRM delivered, repetitions included",
    "messages_saved": "Messages of clients and managers that were saved",
    "duplicates": "Repeated deliveries that changed nothing",
    "manus_requests": "Turns that Manus was asked to answer",
    "replies_sent": "Replies that amoCRM took",
    "replies_kept": "Replies kept because amoCRM is not connected",
    "errors": "Replies that failed for good and tries of a responder without a reply",
    "quarantined": "Deliveries that could not be understood, kept raw",
}


def render(numbers: Mapping[str, Any]) -> bytes:
    """The exposition text: ``numbers`` is what ``stats.read`` gave."""
    registry = CollectorRegistry()
    registry.register(_Totals(numbers))
    return generate_latest(REGISTRY) + generate_latest(registry)


class _Totals:
    def __init__(self, numbers: Mapping[str, Any]) -> None:
        self._numbers = numbers

    def collect(self) -> Iterable[Metric]:
        for name, meaning in TOTALS.items():
            yield CounterMetricFamily(f"otvet_{name}", meaning, value=self._numbers[name])
        turns = GaugeMetricFamily("otvet_turns", "Turns by state", labels=["state"])
        for state, count in self._numbers["turns"].items():
            turns.add_metric([state], count)
        yield turns
        events = CounterMetricFamily("otvet_ignored_events", "Events that are no messages", labels=["event"])
        for event, count in self._numbers["ignored_events"].items():
            events.add_metric([event], count)
        yield events
        yield GaugeMetricFamily("otvet_uptime_seconds", "Since this process began", value=stats.uptime_seconds())
