"""Metrics of log mining."""

from prometheus_client import CollectorRegistry, Counter

from libs.common.collecting.metrics import JobMetrics


class MiningMetrics(JobMetrics):
    """One per process, on the process's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry, "tidemark_mining")
        self.lines = Counter("tidemark_mining_lines_read", "Lines read from query logs.", registry=registry)
        self.rows = Counter("tidemark_mining_rows_sent", "Records of executions sent.", registry=registry)
