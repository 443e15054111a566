"""The three reports as lines of CSV, as the specification's examples have them. Pure."""

from collections.abc import Iterator
from datetime import datetime

from libs.common.clock import rfc3339
from libs.common.csv_cells import line
from services.reporting.catalog import Catalog
from services.reporting.dora import Report
from services.reporting.usage import Usage


def filename(report: str, now: datetime) -> str:
    """Of the file that a browser saves."""
    return f"tidemark-{report}-{now.date().isoformat()}.csv"


def catalog_lines(found: Catalog) -> Iterator[str]:
    coverage = found.coverage
    yield line("Section", "Metric", "Value")
    yield line("Ownership", "Total", coverage.total)
    yield line("Ownership", "With Owner", coverage.with_owner)
    yield line("Ownership", "Without Owner", coverage.without_owner)
    yield line("Ownership", "Coverage %", coverage.percent)
    yield from (line("Lifecycle", name, count) for name, count in found.lifecycles)
    yield from (line("Kind", name, count) for name, count in found.kinds)


def dora_lines(found: Report, days: int | None) -> Iterator[str]:
    """`days` where the window was asked for in days."""
    window, failure = found.window, found.failure
    period = f"Last {days} days" if days else f"{rfc3339(window.since)} to {rfc3339(window.until)}"
    yield line("Metric", "Value", "Notes")
    yield line("Deployment Frequency (deploys/day)", found.frequency.deployments_per_day, period)
    yield line("Change Failure Rate (%)", failure.rate, f"{failure.part} failed of {failure.total} total")
    yield line("Mean Time To Recovery (hours)", found.recovery.avg_hours, f"{found.recovery.samples} samples")
    yield line("Lead Time For Changes (hours)", found.lead.avg_hours, f"{found.lead.samples} samples")


def usage_lines(found: Usage) -> Iterator[str]:
    yield line("Section", "Name", "Count")
    yield from (line("Active Users", each.username, each.count) for each in found.users)
    yield from (line("Top Components", each.name, each.count) for each in found.components)
    yield from (line("Action Breakdown", name, count) for name, count in found.actions)
