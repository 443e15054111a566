"""A real Superset, synced: what its charts, saved queries and SQL Lab runs use, and what a deleted chart leaves."""

import asyncio
import secrets
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from cli.client import Gateway, GatewayError
from cli.demo.report import report_console, show_products
from cli.demo.run import NoDemoWarehouse, describe_products, ensure_tenant, register, show_test, show_usage
from cli.demo.warehouse import DemoWarehouse
from cli.settings import OperatorSettings
from cli.tokens import NoSigningSecret, development_token
from deploy.local.errors import LocalStackError
from deploy.local.infrastructure import log_of
from deploy.local.settings import LocalSettings, setting_of
from deploy.local.superset import ADMIN, SUPERSET, SupersetInstallation, SupersetServer
from deploy.local.superset_api import SupersetApi, SupersetRefused, superset_api
from deploy.local.superset_content import Content, fill

_SHOWN = ("status", "resources_scraped", "rows_published", "rows_upserted", "rows_rejected", "references_retired")


def _server(local: LocalSettings, console: Console) -> SupersetServer:
    root = local.state_dir / SUPERSET
    installation = SupersetInstallation(root, lambda text: console.print(f"    {text}"))
    log = log_of(local.state_dir, SUPERSET)
    home = root / f"demo-{secrets.token_hex(4)}"  # every run begins with the prepared state
    return SupersetServer(SUPERSET, log, local.superset_port, home, installation, setting_of("superset_port"))


async def _fill(console: Console, api: SupersetApi, warehouse: DemoWarehouse) -> Content:
    await warehouse.prepare()
    address = warehouse.url().replace("postgresql://", "postgresql+psycopg2://", 1)
    content = await fill(api, address, secrets.token_urlsafe(12))
    console.print(f"[bold]2[/] {len(content.charts)} charts, 2 dashboards, a saved query, {content.runs} SQL Lab runs")
    return content


async def _sync(console: Console, gateway: Gateway, connector: Mapping[str, Any]) -> None:
    job = await gateway.post(f"/connectors/{connector['id']}/bi-sync")
    console.print("    " + "  ".join(f"{name}={job[name]}" for name in _SHOWN))
    for warning in job["warnings"]:
        console.print(f"    [yellow]![/] {warning}")


async def _follow(console: Console, gateway: Gateway, server: SupersetServer, api: SupersetApi, gone: int) -> None:
    account = {"username": ADMIN, "password": server.installation.admin_password}
    connector = await register(gateway, "Shop Superset", {"type": SUPERSET, "base_url": server.url, **account})
    console.print("[bold]3[/] Registered it as a connector and tested it:")
    await show_test(console, gateway, connector)
    await describe_products(gateway)
    console.print("[bold]4[/] Synced:")
    await _sync(console, gateway, connector)
    await show_usage(console, gateway)
    await api.delete_chart(gone)
    console.print("\n[bold]6[/] A chart was deleted there; synced again:")
    await _sync(console, gateway, connector)
    await gateway.post("/spaces/shop/usage/aggregate")
    show_products(console, (await gateway.get("/spaces/shop/usage"))["items"])


async def run_superset_demo(settings: OperatorSettings, console: Console) -> None:
    """Start a Superset of its own, fill it, sync it twice, stop it. The stack must be up."""
    if settings.warehouse_url is None:
        raise NoDemoWarehouse
    warehouse = DemoWarehouse(settings.warehouse_url.get_secret_value(), database="superset_shop")
    server = _server(LocalSettings(), console)
    console.print("[bold]1[/] Superset 6.1 over a shop of its own")
    await server.start()
    try:
        async with superset_api(server.url, ADMIN, server.installation.admin_password) as api:
            content = await _fill(console, api, warehouse)
            tenant = await ensure_tenant(settings, "Superset demo", "superset-demo")
            token = development_token(settings, tenant, ("staff",), username="demo")
            async with Gateway(settings.gateway_url, token) as gateway:
                await _follow(console, gateway, server, api, content.orders)
    finally:
        await server.stop()
    console.print("\nSuperset is stopped, the stack goes on running; `make down` stops it.")


def main() -> int:
    """Run the demo; one line and 1 for what a user can mend."""
    try:
        asyncio.run(run_superset_demo(OperatorSettings(), report_console()))
    except (LocalStackError, SupersetRefused, GatewayError, NoDemoWarehouse, NoSigningSecret, OSError) as error:
        print(f"tidemark: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
