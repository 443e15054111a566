"""Metrics of BI syncs."""

from prometheus_client import CollectorRegistry, Counter

from libs.common.collecting.metrics import JobMetrics


class SyncMetrics(JobMetrics):
    """One per process, on the process's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry, "tidemark_sync")
        self.resources = Counter("tidemark_sync_resources_read", "Items read from BI tools.", registry=registry)
        self.rows = Counter("tidemark_sync_rows_sent", "Records of charts and queries sent.", registry=registry)
        self.warnings = Counter("tidemark_sync_warnings", "Warnings of syncs.", registry=registry)
