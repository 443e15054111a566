"""Fixtures of the tests that need real servers: one stack a run, a fresh database and topic prefix a module."""

import re
from collections.abc import AsyncIterator

import pytest

from tests.support.examples import load_profile
from tests.support.platform import Platform, fresh_platform, template_database
from tests.support.servers import Servers, running_servers

load_profile()
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
