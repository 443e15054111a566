"""The demo of saved queries against a stack that is started for it: every engine answers, every attack is refused."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr
from rich.console import Console

from cli.settings import OperatorSettings
from deploy.local import query_demo
from deploy.local.settings import PROJECT, LocalSettings
from tests.support.platform import JWT_SECRET, Platform
from tests.support.processes import Running, running_services
from tests.support.servers import Servers

pytestmark = pytest.mark.real


@pytest.fixture
async def running(platform: Platform, tmp_path: Path) -> AsyncIterator[Running]:
    async with running_services(platform, tmp_path, ("query_executor",)) as services:
        yield services


async def test_the_demo(running: Running, servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure of any statement of it raises."""
    local = LocalSettings(state_dir=tmp_path, artifacts_dir=PROJECT / ".local" / "artifacts")
    monkeypatch.setattr(query_demo, "LocalSettings", lambda: local)
    settings = OperatorSettings(
        gateway_url=running.gateway_url,
        jwt_secret=SecretStr(JWT_SECRET),
        warehouse_url=SecretStr(servers.warehouse),
    )
    said = io.StringIO()
    try:
        async with asyncio.timeout(600):
            await query_demo.run_query_demo(settings, Console(file=said, width=120))
    finally:
        admin = await asyncpg.connect(servers.warehouse)
        await admin.execute("DROP DATABASE IF EXISTS query_shop WITH (FORCE)")
        await admin.close()
    text = said.getvalue()
    assert "Revenue by status" in text
    assert "customer 1" in text
    assert "statements refused" in text
    skipped = [line.strip() for line in text.splitlines() if "skipped" in line]
    print(f"QUERYDEMO engines={3 + len(query_demo.OPENINGS) - len(skipped)} skipped={len(skipped)}")
