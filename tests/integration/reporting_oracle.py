"""The reports computed the naive way, in plain Python over lists."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

from tests.integration.reporting_reads import Component, Deployment, Event

FAILURES = ("FAILED", "ROLLED_BACK")
DECIDED = ("SUCCEEDED", *FAILURES)


def shown(value: Fraction, places: int) -> float:
    """Rounded as on paper."""
    exact = Decimal(value.numerator) / Decimal(value.denominator)
    if Fraction(exact) != value:  # no terminating decimal: no half either
        exact = exact.quantize(Decimal(1).scaleb(-12))
    return float(exact.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP))


def micros(span: timedelta) -> int:
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds


def mean_hours(spans: Sequence[timedelta]) -> dict[str, float]:
    if not spans:
        return {"avgHours": 0, "samples": 0}
    mean = Fraction(sum(map(micros, spans)), len(spans) * 3_600_000_000)
    return {"avgHours": shown(mean, 1), "samples": len(spans)}


def at_rank(spans: Sequence[timedelta], percent: int) -> float:
    """The first of them, in order, that has so many percent of them at or before it."""
    for index, span in enumerate(sorted(spans), 1):
        if 100 * index >= percent * len(spans):
            return shown(Fraction(micros(span), 3_600_000_000), 1)
    return 0


def with_ranks(spans: Sequence[timedelta]) -> dict[str, float]:
    names = {"medianHours": 50, "p75Hours": 75, "p90Hours": 90, "p95Hours": 95}
    return mean_hours(spans) | {name: at_rank(spans, percent) for name, percent in names.items()}


@dataclass(frozen=True)
class Oracle:
    """All deployments of one tenant that a report may be about."""

    deployments: Sequence[Deployment]
    now: datetime

    def recovery(self, failed: Deployment) -> timedelta | None:
        later = [
            other.moment
            for other in self.deployments
            if other.status == "SUCCEEDED"
            and (other.component, other.environment) == (failed.component, failed.environment)
            and failed.moment < other.moment <= self.now
        ]
        return min(later) - failed.moment if later else None

    def recoveries(self, inside: Sequence[Deployment]) -> list[timedelta]:
        found = [self.recovery(each) for each in inside if each.status == "FAILED"]
        return [each for each in found if each is not None]

    def dora(self, inside: Sequence[Deployment], days: Fraction) -> dict[str, Any]:
        """The four metrics of those in a window that is so long."""
        decided = [each for each in inside if each.status in DECIDED]
        succeeded = [each for each in decided if each.status == "SUCCEEDED"]
        failed = len(decided) - len(succeeded)
        lead = [each.finished_at - each.started_at for each in succeeded if each.started_at and each.finished_at]
        commits = [each.moment - each.commit_at for each in succeeded if each.commit_at]
        rework = sum(each.is_rework for each in decided)
        return {
            "deploymentFrequency": {
                "deploymentsPerDay": shown(len(succeeded) / days, 2),
                "total": len(succeeded),
                "periodDays": shown(days, 2),
            },
            "changeFailureRate": {"rate": percent(failed, len(decided)), "failed": failed, "total": len(decided)},
            "meanTimeToRecovery": with_ranks(self.recoveries(decided)),
            "leadTimeForChanges": with_ranks(lead),
            "reworkRate": {"rate": percent(rework, len(decided)), "rework": rework, "total": len(decided)},
            "commitToProduction": with_ranks([span for span in commits if span >= timedelta(0)]),
        }


def percent(part: int, whole: int) -> float:
    return shown(Fraction(100 * part, whole), 1) if whole else 0


def usage(events: Sequence[Event], components: Sequence[Component]) -> dict[str, Any]:
    """Of the events of a window."""
    names = {each.id: each.name for each in components}
    by_component = Counter(each.component for each in events if each.component)
    by_actor = Counter(each.actor for each in events if each.actor)
    newest: dict[str, str] = {}
    # Of names at one moment the first by order holds; a later moment overwrites.
    by_name = sorted(events, key=lambda each: each.username or "", reverse=True)
    for each in sorted(by_name, key=lambda each: each.occurred_at):
        if each.actor and each.username:
            newest[each.actor] = each.username
    tops = sorted(by_component, key=lambda key: (-by_component[key], names.get(key, str(key)), str(key)))[:10]
    users = sorted(by_actor, key=lambda key: (-by_actor[key], newest.get(key, key), key))[:10]
    actions = Counter(each.action for each in events)
    order = [each for each in ("CREATE", "UPDATE", "DELETE") if each in actions]
    order += sorted(set(actions) - {"CREATE", "UPDATE", "DELETE"})
    return {
        "totalAuditEvents": len(events),
        "topComponents": [
            {"componentId": str(key), "componentName": names.get(key, str(key)), "accessCount": by_component[key]}
            for key in tops
        ],
        "activeUsers": [
            {"actorId": key, "actorUsername": newest.get(key, key), "actionCount": by_actor[key]} for key in users
        ],
        "actionBreakdown": [{"action": action, "count": actions[action]} for action in order],
    }
