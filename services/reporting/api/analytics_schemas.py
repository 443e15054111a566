"""Bodies of the reports, as the specification's examples name them. What was not asked for is left out."""

from collections.abc import Collection, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from services.reporting.bands import Edition, Judged, Judgement
from services.reporting.catalog import Catalog
from services.reporting.dora import Change, Hours, Rate, Report
from services.reporting.figures import Number
from services.reporting.usage import Usage


class Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, from_attributes=True)


class CoverageOut(Answer):
    total: int
    with_owner: int
    without_owner: int
    coverage_percent: Number


class LifecycleOut(Answer):
    lifecycle: str
    count: int


class KindOut(Answer):
    kind: str
    count: int


class UnownedOut(Answer):
    id: UUID
    name: str
    kind: str


class CatalogOut(Answer):
    ownership_coverage: CoverageOut
    lifecycle_distribution: list[LifecycleOut]
    kind_distribution: list[KindOut]
    unowned_components: list[UnownedOut]


def catalog_out(found: Catalog) -> CatalogOut:
    coverage = found.coverage
    return CatalogOut(
        ownership_coverage=CoverageOut(
            total=coverage.total,
            with_owner=coverage.with_owner,
            without_owner=coverage.without_owner,
            coverage_percent=coverage.percent,
        ),
        lifecycle_distribution=[LifecycleOut(lifecycle=name, count=count) for name, count in found.lifecycles],
        kind_distribution=[KindOut(kind=name, count=count) for name, count in found.kinds],
        unowned_components=[UnownedOut.model_validate(each) for each in found.unowned],
    )


class FrequencyOut(Answer):
    deployments_per_day: Number
    total: int
    period_days: Number


class FailureOut(Answer):
    rate: Number
    failed: int
    total: int


class ReworkOut(Answer):
    rate: Number
    rework: int
    total: int


class HoursOut(Answer):
    """`median_hours` and the others only with `include=percentiles`."""

    avg_hours: Number
    samples: int
    median_hours: Number = 0
    p75_hours: Number = Field(default=0, alias="p75Hours")
    p90_hours: Number = Field(default=0, alias="p90Hours")
    p95_hours: Number = Field(default=0, alias="p95Hours")


class MetricsOut(Answer):
    deployment_frequency: FrequencyOut
    change_failure_rate: FailureOut
    mean_time_to_recovery: HoursOut
    lead_time_for_changes: HoursOut
    rework_rate: ReworkOut | None = None
    commit_to_production: HoursOut | None = None


class SpanOut(MetricsOut):
    """The figures of a part of the window, or of the one before it."""

    since: datetime = Field(alias="from")
    until: datetime = Field(alias="to")


class ChangeOut(Answer):
    """Shown figure minus that of the period before; null where either has no data."""

    deployments_per_day: Number | None
    change_failure_rate: Number | None
    mean_time_to_recovery_hours: Number | None
    lead_time_for_changes_hours: Number | None


class PreviousOut(SpanOut):
    change: ChangeOut


class BandOut(Answer):
    """`band` and `score` are null where `missing` says what they would need."""

    band: str | None
    score: Number | None
    unit: str
    thresholds: Mapping[str, str]
    missing: str | None


class BandsOut(Answer):
    edition: Edition
    deployment_frequency: BandOut
    change_failure_rate: BandOut
    mean_time_to_recovery: BandOut
    lead_time_for_changes: BandOut


class PeriodOut(Answer):
    period_days: Number


class DoraOut(MetricsOut, PeriodOut):
    """`period_days` and the four metrics always, in this order; the rest where a parameter asks for it."""

    series: list[SpanOut] | None = None
    previous: PreviousOut | None = None
    performance: BandsOut | None = None


def _hours_out(found: Hours, extra: Collection[str]) -> HoursOut:
    ranks = found.ranks if "percentiles" in extra else None
    more = {} if ranks is None else asdict(ranks)
    return HoursOut(avg_hours=found.avg_hours, samples=found.samples, **more)


def _rework_out(found: Rate) -> ReworkOut:
    return ReworkOut(rate=found.rate, rework=found.part, total=found.total)


def metrics(found: Report, extra: Collection[str] = ()) -> dict[str, Any]:
    """The metrics of a report by field name; `extra` names what stands beside the four."""
    named: dict[str, Any] = {
        "deployment_frequency": FrequencyOut.model_validate(found.frequency),
        "change_failure_rate": FailureOut(
            rate=found.failure.rate, failed=found.failure.part, total=found.failure.total
        ),
        "mean_time_to_recovery": _hours_out(found.recovery, extra),
        "lead_time_for_changes": _hours_out(found.lead, extra),
    }
    if "rework" in extra:
        named["rework_rate"] = _rework_out(found.rework)
    if "commitToProduction" in extra:
        named["commit_to_production"] = _hours_out(found.commit_lead, extra)
    return named


def change_out(found: Change) -> ChangeOut:
    return ChangeOut(
        deployments_per_day=found.deployments_per_day,
        change_failure_rate=found.failure_rate,
        mean_time_to_recovery_hours=found.recovery_hours,
        lead_time_for_changes_hours=found.lead_hours,
    )


def bands_out(edition: Edition, found: Mapping[Judged, Judgement]) -> BandsOut:
    return BandsOut(edition=edition, **{name: BandOut.model_validate(each) for name, each in found.items()})


class ComponentUseOut(Answer):
    component_id: UUID
    component_name: str
    access_count: int


class UserOut(Answer):
    actor_id: str
    actor_username: str
    action_count: int


class ActionOut(Answer):
    action: str
    count: int


class UsageOut(Answer):
    period_days: Number
    total_audit_events: int
    top_components: list[ComponentUseOut]
    active_users: list[UserOut]
    action_breakdown: list[ActionOut]


def usage_out(found: Usage) -> UsageOut:
    return UsageOut(
        period_days=found.period_days,
        total_audit_events=found.total,
        top_components=[
            ComponentUseOut(component_id=each.id, component_name=each.name, access_count=each.count)
            for each in found.components
        ],
        active_users=[
            UserOut(actor_id=each.id, actor_username=each.username, action_count=each.count) for each in found.users
        ],
        action_breakdown=[ActionOut(action=name, count=count) for name, count in found.actions],
    )
