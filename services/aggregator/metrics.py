"""Metrics of usage analytics."""

from prometheus_client import CollectorRegistry, Counter


class UsageMetrics:
    """One per process, on the process's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.stored = Counter("tidemark_usage_records_stored", "Rows of usage records written.", registry=registry)
        self.refused = Counter(
            "tidemark_usage_records_refused",
            "Records refused because they claim to have run more than five minutes from now.",
            registry=registry,
        )
        self.retirements_skipped = Counter(
            "tidemark_usage_retirements_skipped",
            "Complete syncs that retired nothing because they were empty or had records rejected.",
            registry=registry,
        )
        self.refreshed = Counter(
            "tidemark_usage_products_refreshed", "Statistics of products computed anew.", registry=registry
        )
        self.differing = Counter(
            "tidemark_usage_counters_differing",
            "Products whose counters differed from the rows at the nightly comparison, and were built anew.",
            registry=registry,
        )
