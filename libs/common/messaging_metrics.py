"""Metrics of producing, consuming, dead letters and the outbox. Labels name topics without an installation's prefix."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_AGE_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 86400)


class MessagingMetrics:
    """One per process, on the process's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        partition = ("topic", "partition")
        self.published = Counter(
            "tidemark_records_published", "Records acknowledged by the broker.", ("topic",), registry=registry
        )
        self.handled = Counter(
            "tidemark_records_handled", "Records whose handler returned.", ("topic",), registry=registry
        )
        self.dead_lettered = Counter(
            "tidemark_records_dead_lettered",
            "Records moved to the dead-letter topic.",
            ("topic", "kind"),
            registry=registry,
        )
        self.retried = Counter(
            "tidemark_handler_retries",
            "Handler calls repeated after a transient failure.",
            ("topic",),
            registry=registry,
        )
        self.hook_failures = Counter(
            "tidemark_dead_letter_hook_failures",
            "Dead letters whose hook failed for good; their job is closed by its deadline.",
            ("topic",),
            registry=registry,
        )
        self.lag = Gauge(
            "tidemark_consumer_lag_records", "Records not yet committed by this consumer.", partition, registry=registry
        )
        self.paused = Gauge(
            "tidemark_consumer_paused", "1 while dead-letter limits hold the partition.", partition, registry=registry
        )
        self.event_age = Histogram(
            "tidemark_event_age_seconds",
            "Time from the event (ce_time) to its handling.",
            ("topic",),
            buckets=_AGE_BUCKETS,
            registry=registry,
        )
        self.outbox_rows = Gauge("tidemark_outbox_rows", "Rows that wait in the outbox.", registry=registry)
        self.outbox_stuck = Gauge(
            "tidemark_outbox_stuck_rows",
            "Outbox rows that are too large to be sent.",
            registry=registry,
        )
        self.outbox_age = Gauge("tidemark_outbox_age_seconds", "Age of the oldest waiting row.", registry=registry)
