"""Metrics of a collecting service's jobs."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from libs.common.collecting.job import CollectingJob


class JobMetrics:
    """One per process, on the process's registry; `prefix` as in `tidemark_mining`."""

    def __init__(self, registry: CollectorRegistry, prefix: str) -> None:
        self.finished = Counter(
            f"{prefix}_jobs_finished", "Jobs that reached a final state.", ("state",), registry=registry
        )
        self.active = Gauge(
            f"{prefix}_jobs_active", "Jobs of all replicas that are not final.", ("state",), registry=registry
        )
        self.runs = Counter(f"{prefix}_runs", "Runs begun; more than jobs means workers died.", registry=registry)

    def count(self, job: CollectingJob) -> None:
        """Count a job that has just become final."""
        if job.is_final:
            self.finished.labels(job.state).inc()
