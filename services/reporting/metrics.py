"""Gauges of each component in each environment, taken by the same computation as the reports."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeAlias
from uuid import UUID

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from libs.common.clock import Clock
from libs.common.db import Database
from services.reporting.dora import Report, report
from services.reporting.settings import Settings
from services.reporting.store import dora as store
from services.reporting.windows import Window

_LABELS: Final = ("tenant", "component", "environment")
_HELP: Final = {
    "tidemark_dora_deployments_per_day": "Succeeded deployments a day.",
    "tidemark_dora_deployments": "Deployments that succeeded, failed or were rolled back.",
    "tidemark_dora_change_failure_percent": "Share of deployments that failed or were rolled back; absent without any.",
    "tidemark_dora_recovery_hours": "Mean time from a failure to the next success; absent without a sample.",
    "tidemark_dora_lead_time_hours": "Mean time from start to finish of successes; absent without a sample.",
}


def gauge_values(found: Report) -> dict[str, float]:
    """By the name of the gauge; what has no sample is left out, so that no average takes it for 0."""
    values: dict[str, float] = {
        "tidemark_dora_deployments_per_day": found.frequency.deployments_per_day,
        "tidemark_dora_deployments": found.totals.decided,
    }
    if found.totals.decided:
        values["tidemark_dora_change_failure_percent"] = found.failure.rate
    if found.recovery.samples:
        values["tidemark_dora_recovery_hours"] = found.recovery.avg_hours
    if found.lead.samples:
        values["tidemark_dora_lead_time_hours"] = found.lead.avg_hours
    return values


# The values of _LABELS, and figures by gauge.
_Place: TypeAlias = tuple[tuple[str, str, str], dict[str, float]]


@dataclass(frozen=True, slots=True)
class _Taken:
    """What was found at the last refresh."""

    places: tuple[_Place, ...] = ()
    left_out: int = 0


class DoraGauges(Collector):
    """Shows the figures of the last refresh, all of one moment. The number of series is bounded by a setting: of each
    tenant the places with most deployments, as many for one as for another."""

    def __init__(self, database: Database, clock: Clock, settings: Settings, registry: CollectorRegistry) -> None:
        self._database = database
        self._clock = clock
        self._most = settings.dora_gauge_places
        self._length = timedelta(days=settings.dora_gauge_days)
        self._taken = _Taken()
        registry.register(self)

    async def refresh(self) -> None:
        """Take all figures anew."""
        now = self._clock()
        window = Window(now - self._length, now)
        async with self._database.work() as connection:
            tenants = await store.tenants(connection)
        share = max(1, self._most // max(1, len(tenants)))
        places: list[_Place] = []
        left_out = 0
        for tenant in tenants:
            found, count = await self._places(tenant, window, share)
            kept = found[: self._most - len(places)]
            places += kept
            left_out += count - len(kept)
        self._taken = _Taken(tuple(places), left_out)

    async def _places(self, tenant: UUID, window: Window, most: int) -> tuple[list[_Place], int]:
        async with self._database.work() as connection:
            found, count = await store.totals_by_place(connection, tenant, window, window.until, most)
        places = [
            ((str(tenant), each.component, each.environment), gauge_values(report(window, each.totals)))
            for each in found
        ]
        return places, count

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Called at each scrape."""
        taken = self._taken
        families = {name: GaugeMetricFamily(name, text, labels=_LABELS) for name, text in _HELP.items()}
        for labels, values in taken.places:
            for name, value in values.items():
                families[name].add_metric(labels, value)
        yield from families.values()
        yield GaugeMetricFamily(
            "tidemark_dora_places_left_out",
            "Components in environments that have no gauges because there are more than the setting allows.",
            taken.left_out,
        )
