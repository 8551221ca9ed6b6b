"""The metrics for Prometheus: this process's rates and times, and the totals of the database."""

from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from otvet.staff import stats

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
    "errors": "Replies that failed for good and attempts of a responder without a reply",
    "quarantined": "Deliveries that could not be understood, kept raw",
}

NOW = {
    "questions": "Questions of clients",
    "answered": "Questions that the assistant answered",
    "waiting_for_staff": "Chats in which a person has to answer now",
    "median_seconds_to_staff": "Median time until a person wrote in a chat that was left to staff",
}

WATCHED = {
    "amocrm_good": "Whether the watch found a subject of the account good (1), with a warning (0.5) or bad (0)",
    "amocrm_looked_timestamp_seconds": "When the watch looked at it",
}
MOMENTS = {
    "amocrm_last_delivery_timestamp_seconds": "When amoCRM was heard of last",
    "amocrm_token_ends_timestamp_seconds": "When a person has to bring another token",
}


def render(numbers: Mapping[str, Any], seen: Mapping[str, Any] | None = None) -> bytes:
    """The exposition text. numbers: from ``stats.read``. seen: from ``health.for_metrics``."""
    registry = CollectorRegistry()
    registry.register(_Totals(numbers))
    registry.register(_Watched(seen or {}))
    return generate_latest(REGISTRY) + generate_latest(registry)


class _Watched:
    def __init__(self, seen: Mapping[str, Any]) -> None:
        self._seen = seen

    def collect(self) -> Iterable[Metric]:
        for name, meaning in WATCHED.items():
            if name in self._seen:
                family = GaugeMetricFamily(f"otvet_{name}", meaning, labels=["subject"])
                for subject, value in self._seen[name].items():
                    family.add_metric([subject], value)
                yield family
        for name, meaning in MOMENTS.items():
            if name in self._seen:
                yield GaugeMetricFamily(f"otvet_{name}", meaning, value=self._seen[name])


class _Totals:
    def __init__(self, numbers: Mapping[str, Any]) -> None:
        self._numbers = numbers

    def collect(self) -> Iterable[Metric]:
        for name, meaning in TOTALS.items():
            yield CounterMetricFamily(f"otvet_{name}", meaning, value=self._numbers[name])
        for name, meaning in NOW.items():
            yield GaugeMetricFamily(f"otvet_{name}", meaning, value=self._numbers[name] or 0)
        left = GaugeMetricFamily("otvet_left_to_staff", "Questions left to staff by reason", labels=["reason"])
        for reason, count in self._numbers["left_to_staff"].items():
            left.add_metric([reason], count)
        yield left
        turns = GaugeMetricFamily("otvet_turns", "Turns by state", labels=["state"])
        for state, count in self._numbers["turns"].items():
            turns.add_metric([state], count)
        yield turns
        events = CounterMetricFamily("otvet_ignored_events", "Events that are no messages", labels=["event"])
        for event, count in self._numbers["ignored_events"].items():
            events.add_metric([event], count)
        yield events
        yield GaugeMetricFamily("otvet_uptime_seconds", "Since this process began", value=stats.uptime_seconds())
