"""Fixtures of the tests that need real servers: one stack a worker of the run, a fresh database and topic prefix a
module."""

import os
import re
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest

from deploy.local.ports import keep_to_share
from tests.support.examples import load_profile
from tests.support.platform import Platform, fresh_platform, template_database
from tests.support.servers import Servers, running_servers

if TYPE_CHECKING:  # most tests do without what it imports
    from tests.integration.query_harness import Shop, Stack

load_profile()
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    keep_to_share(int(worker.removeprefix("gw")), int(os.environ["PYTEST_XDIST_WORKER_COUNT"]))
_FIGURES = re.compile(r"^[A-Z][A-Z_]+ \w+=")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show the lines of figures that tests print (`KILL lost=0 …`), also of tests that passed."""
    reports = terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
    lines = [line for report in reports for line in report.capstdout.splitlines() if _FIGURES.match(line)]
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
async def servers() -> AsyncIterator[Servers]:
    """Real Postgres (platform and warehouse) and Kafka."""
    async with running_servers() as running:
        yield running


@pytest.fixture(scope="session")
async def template(servers: Servers) -> AsyncIterator[str]:
    """Name of the migrated template database."""
    async with template_database(servers) as name:
        yield name


@pytest.fixture(scope="module")
async def platform(servers: Servers, template: str) -> AsyncIterator[Platform]:
    """An installation of the module's own."""
    async with fresh_platform(servers, template) as fresh:
        yield fresh


@pytest.fixture(scope="module")
async def stack(platform: Platform, servers: Servers) -> AsyncIterator["Stack"]:
    """query_executor behind its gateway, and a customer's database."""
    from tests.integration.query_harness import query_stack

    async with query_stack(platform, servers) as running:
        yield running


@pytest.fixture
async def shop(stack: "Stack") -> "Shop":
    """A tenant of its own with an app and a secret."""
    from tests.integration.query_harness import new_shop

    return await new_shop(stack)
