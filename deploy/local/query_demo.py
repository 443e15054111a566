"""Saved queries on real servers: the demo warehouse, a MariaDB, an OpenSearch, and the tenant's own schema."""

import asyncio
import secrets
import shutil
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from rich.console import Console

from cli.client import Gateway, GatewayError
from cli.demo.queries import QueryDemo
from cli.demo.report import report_console
from cli.demo.run import NoDemoWarehouse, ensure_tenant
from cli.demo.warehouse import DemoWarehouse
from cli.demo.workload import USERS
from cli.settings import OperatorSettings
from cli.tokens import NoSigningSecret, development_token
from deploy.local.artifacts import ArtifactStore
from deploy.local.clickhouse_shim import PASSWORD, clickhouse_shim
from deploy.local.errors import LocalStackError
from deploy.local.infrastructure import log_of
from deploy.local.mariadb import MariaDb
from deploy.local.opensearch import OpenSearchNode
from deploy.local.ports import LOOPBACK, free_port
from deploy.local.process import ManagedProcess
from deploy.local.query_samples import CLICKHOUSE_SALES, DATABASE, READER, fill_mariadb, fill_opensearch
from deploy.local.settings import LocalSettings

_HOME = "query-demo"
Value = Mapping[str, Any]
# Starts a server with data in it and gives the value of a secret that opens it.
Opening = Callable[[LocalSettings, AsyncExitStack], Awaitable[Value]]


class DemoFailed(Exception):
    """Something was not answered, or not refused, as it must be."""

    def __init__(self, failures: int) -> None:
        super().__init__(f"{failures} of the demo's statements went other than they must")


async def _started(server: ManagedProcess, servers: AsyncExitStack) -> None:
    servers.push_async_callback(server.stop)
    await server.start()


async def _mariadb(local: LocalSettings, servers: AsyncExitStack) -> Value:
    home, password, reader = local.state_dir / _HOME, secrets.token_urlsafe(12), secrets.token_urlsafe(12)
    log, port, store = log_of(local.state_dir, "mariadb"), free_port(), ArtifactStore(local.artifacts_dir)
    server = MariaDb("mariadb", log, port, home, password, store)
    await _started(server, servers)
    await fill_mariadb(server, reader)
    return {"host": LOOPBACK, "port": port, "database": DATABASE, "username": READER, "password": reader}


async def _opensearch(local: LocalSettings, servers: AsyncExitStack) -> Value:
    log, port, store = log_of(local.state_dir, "opensearch"), free_port(), ArtifactStore(local.artifacts_dir)
    node = OpenSearchNode("opensearch", log, port, local.state_dir / _HOME, store)
    await _started(node, servers)
    await fill_opensearch(node)
    return {"host": f"http://{LOOPBACK}", "port": port, "index": "logs-*"}


async def _clickhouse(local: LocalSettings, servers: AsyncExitStack) -> Value:
    """In this process: chDB behind ClickHouse's HTTP interface."""
    home = local.state_dir / _HOME / f"chdb-{secrets.token_hex(4)}"
    servers.callback(shutil.rmtree, home, ignore_errors=True)
    try:
        shim = await servers.enter_async_context(clickhouse_shim(home))
    except ImportError:
        raise NotHere("chdb (half a gigabyte) is not installed; `make test-real` brings it") from None
    for statement in CLICKHOUSE_SALES:
        await asyncio.to_thread(shim.ask, "admin", {}, statement)
    account = {"username": "admin", "password": PASSWORD}
    return {"host": LOOPBACK, "port": shim.port, "database": DATABASE, "secure": False, **account}


class NotHere(LocalStackError):
    """A server that cannot be had on this machine; the text says why."""


OPENINGS: Mapping[str, Opening] = {"mysql": _mariadb, "elasticsearch": _opensearch, "clickhouse": _clickhouse}


async def _opened(
    console: Console, local: LocalSettings, servers: AsyncExitStack, engine: str, opening: Opening
) -> tuple[str, Value | None]:
    """What cannot be had here is said and left out."""
    started = time.monotonic()
    try:
        value = await opening(local, servers)
    except (LocalStackError, OSError) as error:
        console.print(f"    [yellow]![/] {engine} skipped: {error}")
        return engine, None
    console.print(f"    [green]✓[/] {engine}: a server of its own in {time.monotonic() - started:.1f} s")
    return engine, value


@asynccontextmanager
async def servers_of(console: Console, local: LocalSettings) -> AsyncIterator[dict[str, Value]]:
    """The values of secrets of the servers that could be started; they are stopped at the end."""
    async with AsyncExitStack() as servers:
        found = await asyncio.gather(*(_opened(console, local, servers, *each) for each in OPENINGS.items()))
        yield {engine: value for engine, value in found if value is not None}


def _warehouse_secret(warehouse: DemoWarehouse) -> Value:
    """Redshift's driver is tried against Postgres, whose dialect is Redshift's parent."""
    known = {"host": warehouse.host, "port": warehouse.port, "database": warehouse.database}
    return known | {"username": USERS[0], "password": warehouse.password}


async def run_query_demo(settings: OperatorSettings, console: Console) -> None:
    """Start the servers, save and execute queries, try attacks. The stack must be up."""
    if settings.warehouse_url is None:
        raise NoDemoWarehouse
    warehouse = DemoWarehouse(settings.warehouse_url.get_secret_value(), database="query_shop")
    console.print("[bold]1[/] Servers with sample data")
    async with servers_of(console, LocalSettings()) as found:
        await warehouse.prepare()
        tenant = await ensure_tenant(settings, "Demo", "demo")
        token = development_token(settings, tenant, ("staff",), username="demo")
        async with Gateway(settings.gateway_url, token) as gateway:
            postgres = _warehouse_secret(warehouse)
            demo = QueryDemo(console, gateway, {"postgres": postgres, "redshift": postgres, **found})
            await demo.prepare()
            console.print("[bold]2[/] An app with a secret for each, tested:")
            await demo.test_secrets()
            console.print("[bold]3[/] Its queries answer:")
            await demo.run_samples()
            console.print("[bold]4[/] What is refused, and why:")
            await demo.try_attacks()
    console.print("\nThe extra servers are stopped, the stack goes on running; `make down` stops it.")
    if demo.failures:
        raise DemoFailed(demo.failures)


def main() -> int:
    """Run the demo; one line and 1 for what a user can mend."""
    known = (LocalStackError, GatewayError, NoDemoWarehouse, NoSigningSecret, DemoFailed, OSError)
    try:
        asyncio.run(run_query_demo(OperatorSettings(), report_console()))
    except known as error:
        print(f"tidemark: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
