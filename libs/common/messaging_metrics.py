"""Metrics of producing, consuming, dead letters and the outbox. Labels name topics without an installation's prefix."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.metrics_core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

_AGE_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 86400)
_TOPIC: Final = ("topic",)
_PARTITION: Final = ("topic", "partition")


class EventAges(Collector):
    """A histogram by topic that takes a batch at once: prometheus_client's own asks a microsecond for each record."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._topics: dict[str, tuple[list[int], float]] = {}
        registry.register(self)

    def observe(self, topic: str, now: datetime, moments: Iterable[tuple[datetime | None, int]]) -> None:
        """So many records of each moment were handled now; None is not counted, the future has age 0."""
        counts, total = self._topics.get(topic) or ([0] * (len(_AGE_BUCKETS) + 1), 0.0)
        for moment, count in moments:
            if moment is not None:
                age = max(0.0, (now - moment).total_seconds())
                counts[bisect_left(_AGE_BUCKETS, age)] += count
                total += age * count
        self._topics[topic] = counts, total

    def collect(self) -> Iterable[Metric]:
        family = HistogramMetricFamily(
            "tidemark_event_age_seconds", "Time from the event (ce_time) to its handling.", labels=_TOPIC
        )
        for topic, (counts, total) in self._topics.items():
            bounds = [*map(str, map(float, _AGE_BUCKETS)), "+Inf"]
            family.add_metric([topic], list(zip(bounds, accumulate(counts), strict=True)), total)
        yield family


class MessagingMetrics:
    """One per process, on the process's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        counter: Callable[..., Counter] = partial(Counter, registry=registry)
        self.published = counter("tidemark_records_published", "Records acknowledged by the broker.", _TOPIC)
        self.handled = counter("tidemark_records_handled", "Records whose handler returned.", _TOPIC)
        self.dead_lettered = counter(
            "tidemark_records_dead_lettered", "Records moved to the dead-letter topic.", ("topic", "kind")
        )
        self.retried = counter("tidemark_handler_retries", "Calls repeated after a transient failure.", _TOPIC)
        self.hook_failures = counter(
            "tidemark_dead_letter_hook_failures",
            "Dead letters whose hook failed for good; their job is closed by its deadline.",
            _TOPIC,
        )
        gauge: Callable[..., Gauge] = partial(Gauge, registry=registry)
        self.lag = gauge("tidemark_consumer_lag_records", "Records not yet committed by this consumer.", _PARTITION)
        self.paused = gauge("tidemark_consumer_paused", "1 while dead-letter limits hold the partition.", _PARTITION)
        self.event_age = EventAges(registry)
        self.outbox_rows = gauge("tidemark_outbox_rows", "Rows that wait in the outbox.")
        self.outbox_stuck = gauge("tidemark_outbox_stuck_rows", "Outbox rows that are too large to be sent.")
        self.outbox_age = gauge("tidemark_outbox_age_seconds", "Age of the oldest waiting row.")
