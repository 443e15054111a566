"""Fixtures of the tests that need real servers: one stack a run, a fresh database and topic prefix a module."""

from collections.abc import AsyncIterator

import pytest

from tests.support.platform import Platform, fresh_platform, template_database
from tests.support.servers import Servers, running_servers


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
