"""Servers that need more than Kafka and Postgres: made once, kept under `.local/`, skipped visibly where that fails."""

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import pytest

from deploy.local.artifacts import ArtifactStore
from deploy.local.errors import LocalStackError, PreparationFailed
from deploy.local.mariadb import MariaDb
from deploy.local.opensearch import OpenSearchNode
from deploy.local.ports import free_port
from deploy.local.query_samples import fill_mariadb, fill_opensearch
from deploy.local.settings import PROJECT
from deploy.local.superset import ADMIN, SUPERSET, SupersetInstallation, SupersetServer
from deploy.local.superset_api import SupersetApi, superset_api
from deploy.local.superset_content import Content, fill
from deploy.setup.bootstrap import with_database
from tests.support.servers import Servers

_SHOP = PROJECT / "cli" / "demo" / "shop.sql"


@dataclass(frozen=True, slots=True)
class RealSuperset:
    """A running Superset over a shop of its own."""

    url: str
    api: SupersetApi
    content: Content
    database: str
    password: str = field(repr=False)
    seconds: dict[str, float] = field(default_factory=dict)


@asynccontextmanager
async def _shop(admin_url: str) -> AsyncIterator[str]:
    """The URL of a fresh database with the demo's tables."""
    name = f"superset_{uuid4().hex[:8]}"
    admin = await asyncpg.connect(admin_url)
    try:
        await admin.execute(f"CREATE DATABASE {name}")
        inside = await asyncpg.connect(with_database(admin_url, name))
        await inside.execute(_SHOP.read_text())
        await inside.close()
        yield with_database(admin_url, name)
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()


def _for_sqlalchemy(url: str) -> str:
    return urlunsplit(urlsplit(url)._replace(scheme="postgresql+psycopg2"))


def _installation() -> SupersetInstallation:
    root = Path(os.environ.get("TEST_SUPERSET_DIR", PROJECT / ".local" / "superset"))
    return SupersetInstallation(root)


@pytest.fixture(scope="session")
async def superset(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealSuperset]:
    """Superset 6.1 with charts, dashboards, a saved query, virtual datasets and SQL Lab runs."""
    installation, folder = _installation(), tmp_path_factory.mktemp("superset")
    server = SupersetServer(
        SUPERSET, folder / "superset.log", free_port(), folder / "home", installation, "the test's own port"
    )
    try:
        await asyncio.to_thread(installation.command)
    except PreparationFailed as error:
        pytest.skip(f"no Superset here: {error}")
    started = time.monotonic()
    await server.start()
    seconds = installation.seconds | {"start": time.monotonic() - started - installation.seconds.get("prepare", 0.0)}
    try:
        async with (
            _shop(servers.warehouse) as shop,
            superset_api(server.url, ADMIN, installation.admin_password) as api,
        ):
            content = await fill(api, _for_sqlalchemy(shop), secrets.token_urlsafe(12))
            database = urlsplit(shop).path.strip("/")
            yield RealSuperset(server.url, api, content, database, installation.admin_password, seconds)
    finally:
        await server.stop()


READER_PASSWORD = "canary-reader-5517"


def _artifacts() -> ArtifactStore:
    return ArtifactStore(PROJECT / ".local" / "artifacts")


@pytest.fixture(scope="session")
async def mariadb(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MariaDb]:
    """MariaDB 11.4 with the shop's tables."""
    folder, password = tmp_path_factory.mktemp("mariadb"), secrets.token_urlsafe(12)
    server = MariaDb("mariadb", folder / "mariadb.log", free_port(), folder, password, _artifacts())
    try:
        await server.start()
    except LocalStackError as error:
        pytest.skip(f"no MariaDB here: {error}")
    try:
        await fill_mariadb(server, READER_PASSWORD)
        yield server
    finally:
        await server.stop()


@pytest.fixture(scope="session")
async def opensearch(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenSearchNode]:
    """OpenSearch 2.19 with the shop's sales."""
    folder = tmp_path_factory.mktemp("opensearch")
    node = OpenSearchNode("opensearch", folder / "opensearch.log", free_port(), folder, _artifacts())
    try:
        await node.start()
    except LocalStackError as error:
        pytest.skip(f"no OpenSearch here: {error}")
    try:
        await fill_opensearch(node)
        yield node
    finally:
        await node.stop()
