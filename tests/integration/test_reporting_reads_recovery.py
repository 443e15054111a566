"""Which success ends which failure."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from services.reporting.domain import Status
from tests.integration.reporting_reads import NOON, Deployment, Environment, Reads, ago, reads
from tests.support.platform import Platform

HERE, THERE = uuid4(), uuid4()
LIVE, TRIAL = Environment("live"), Environment("trial")
MICRO = timedelta(microseconds=1)


@pytest.fixture(scope="module")
async def running(platform: Platform) -> AsyncIterator[Reads]:
    async with reads(platform) as one:
        yield one


def one(status: Status, at: datetime) -> Deployment:
    return Deployment(HERE, LIVE.id, status, at)


FAILED = one("FAILED", ago(hours=9))
PAST = (("from", ago(days=2).isoformat()), ("to", ago(hours=8).isoformat()))


@dataclass(frozen=True)
class Case:
    name: str
    deployments: tuple[Deployment, ...]
    hours: float
    samples: int
    window: tuple[tuple[str, str], ...] = ()


CASES = [
    Case("the next success", (FAILED, one("SUCCEEDED", ago(hours=6)), one("SUCCEEDED", ago(hours=5))), 3, 1),
    Case("never", (one("SUCCEEDED", ago(hours=10)), FAILED), 0, 0),
    Case("not a success at the same moment", (FAILED, one("SUCCEEDED", FAILED.moment)), 0, 0),
    Case(
        "but the one after it",
        (FAILED, one("SUCCEEDED", FAILED.moment), one("SUCCEEDED", ago(hours=8))),
        1,
        1,
    ),
    Case("a microsecond later", (FAILED, one("SUCCEEDED", FAILED.moment + MICRO)), 0, 1),
    Case("another component", (FAILED, replace(one("SUCCEEDED", ago(hours=8)), component=THERE)), 0, 0),
    Case("another environment", (FAILED, replace(one("SUCCEEDED", ago(hours=8)), environment=TRIAL.id)), 0, 0),
    Case(
        "each of several failures",
        (FAILED, one("FAILED", ago(hours=8)), one("FAILED", ago(hours=7)), one("SUCCEEDED", ago(hours=6))),
        2,
        3,
    ),
    Case("failures at one moment", (FAILED, one("FAILED", FAILED.moment), one("SUCCEEDED", ago(hours=6))), 3, 2),
    Case("a rollback opens none", (one("ROLLED_BACK", ago(hours=9)), one("SUCCEEDED", ago(hours=8))), 0, 0),
    Case("a rollback ends none", (FAILED, one("ROLLED_BACK", ago(hours=8)), one("SUCCEEDED", ago(hours=7))), 2, 1),
    Case("what is under way ends none", (FAILED, one("IN_PROGRESS", ago(hours=8))), 0, 0),
    Case("a success at this moment", (FAILED, one("SUCCEEDED", NOON)), 9, 1),
    Case("none that has not come yet", (FAILED, one("SUCCEEDED", NOON + MICRO)), 0, 0),
    Case("a failure at the beginning", (one("FAILED", ago(days=30)), one("SUCCEEDED", ago(days=29))), 24, 1),
    Case("a failure before it", (one("FAILED", ago(days=30, microseconds=1)), one("SUCCEEDED", ago(days=29))), 0, 0),
    Case("a success behind the window", (FAILED, one("SUCCEEDED", ago(hours=6))), 3, 1, PAST),
    Case(
        "the one in the window before that behind it",
        (FAILED, one("SUCCEEDED", ago(hours=8)), one("SUCCEEDED", ago(hours=6))),
        1,
        1,
        PAST,
    ),
    Case("behind a past window none to come", (FAILED, one("SUCCEEDED", NOON + MICRO)), 0, 0, PAST),
    Case(
        "at the end of a past window not a success at the same moment",
        (one("FAILED", ago(hours=8)), one("SUCCEEDED", ago(hours=8))),
        0,
        0,
        PAST,
    ),
    Case(
        "behind a past window of another component",
        (FAILED, replace(one("SUCCEEDED", ago(hours=7)), component=THERE)),
        0,
        0,
        PAST,
    ),
    Case(
        "behind a past window of another environment",
        (FAILED, replace(one("SUCCEEDED", ago(hours=7)), environment=TRIAL.id)),
        0,
        0,
        PAST,
    ),
    Case(
        "a failure at the end of a past window",
        (one("FAILED", ago(hours=8)), one("SUCCEEDED", ago(hours=7))),
        1,
        1,
        PAST,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_recovery(running: Reads, case: Case) -> None:
    tenant = uuid4()
    await running.add_deployments(tenant, [replace(each, id=uuid4()) for each in case.deployments])
    found = await running.get(tenant, "dora", *case.window)
    assert found["meanTimeToRecovery"] == {"avgHours": case.hours, "samples": case.samples}
