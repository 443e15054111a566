"""Metrics of log mining."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.log_miner.domain import MiningJob


class MiningMetrics:
    """One per process, on the process's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.lines = Counter("tidemark_mining_lines_read", "Lines read from query logs.", registry=registry)
        self.rows = Counter("tidemark_mining_rows_sent", "Records of executions sent.", registry=registry)
        self.finished = Counter(
            "tidemark_mining_jobs_finished", "Jobs that reached a final state.", ("state",), registry=registry
        )
        self.active = Gauge(
            "tidemark_mining_jobs_active", "Jobs of all replicas that are not final.", ("state",), registry=registry
        )
        self.runs = Counter("tidemark_mining_runs", "Runs begun; more than jobs means workers died.", registry=registry)

    def count(self, job: MiningJob) -> None:
        """Count a job that has just become final."""
        if job.is_final:
            self.finished.labels(job.state).inc()
