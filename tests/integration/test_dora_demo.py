"""The demo of deployments against processes that are started for it: all ways lead to the same figures."""

import io
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from rich.console import Console

from cli.demo.dora import run_dora_demo
from cli.settings import OperatorSettings
from tests.support.platform import JWT_SECRET, Platform
from tests.support.processes import Running, running_services


@pytest.fixture
async def running(platform: Platform, tmp_path: Path) -> AsyncIterator[Running]:
    async with running_services(platform, tmp_path, ("reporting",)) as services:
        yield services


async def test_the_demo(platform: Platform, running: Running) -> None:
    """It fails where a report does not say what was sent, and where something is taken that must be refused."""
    settings = OperatorSettings(
        gateway_url=running.gateway_url,
        jwt_secret=SecretStr(JWT_SECRET),
        kafka=platform.kafka,
        topic_prefix=platform.topic_prefix,
    )
    said = io.StringIO()
    await run_dora_demo(settings, Console(file=said, width=120))
    text = said.getvalue()
    for expected in (
        "90 deployments of 30 days",
        '"deploymentsPerDay": 2.9',  # 87 of them succeeded in 30 days, the parked one too
        "Deployment Frequency (deploys/day),2.9,Last 30 days",
        "Section,Metric,Value\nOwnership,Total,6",
        "Section,Name,Count",
        'unknown component "checkout-worker"',
        "finishedAt",
    ):
        assert expected in text, text
    print("DORA_DEMO ways=4 deployments=90 sent_twice=1")
