"""Metrics of query execution."""

from prometheus_client import CollectorRegistry, Histogram

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class QueryMetrics:
    """One per process, on the process's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "tidemark_query_seconds",
            "Time from the look-up of a query to its last row; `error` is the code of its failure, or none.",
            ("error",),
            registry=registry,
            buckets=_BUCKETS,
        )

    def observe(self, milliseconds: float, error: str) -> None:
        self._seconds.labels(error).observe(milliseconds / 1000)
