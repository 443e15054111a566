"""Metrics of producing, consuming, dead letters and the outbox. Labels name topics without an installation's prefix."""

from collections.abc import Callable
from functools import partial
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_AGE_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 86400)
_TOPIC: Final = ("topic",)
_PARTITION: Final = ("topic", "partition")


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
        self.event_age = Histogram(
            "tidemark_event_age_seconds",
            "Time from the event (ce_time) to its handling.",
            _TOPIC,
            buckets=_AGE_BUCKETS,
            registry=registry,
        )
        self.outbox_rows = gauge("tidemark_outbox_rows", "Rows that wait in the outbox.")
        self.outbox_stuck = gauge("tidemark_outbox_stuck_rows", "Outbox rows that are too large to be sent.")
        self.outbox_age = gauge("tidemark_outbox_age_seconds", "Age of the oldest waiting row.")
